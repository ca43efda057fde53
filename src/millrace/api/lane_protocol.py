"""A connection of a worker: uvicorn's, with a short way for the requests that a lane takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeAlias
from urllib.parse import unquote

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from millrace.access.types import Caller
from millrace.serving.requests.desk import Response
from millrace.serving.requests.lane import Lane, Whole

_Asked: TypeAlias = tuple[str, bytes]  # a path, unquoted, and a query string
_HOT = (b"/invocations", b"/infer")
_LONGEST_URL = 1024
_BODY_S = 0.1  # longer than a busy loop's turn, in which it comes
_JSON = b"content-type: application/json\r\ncontent-length: %d\r\n"


class LaneProtocol(HttpToolsProtocol):
    """Holds back what uvicorn would start for a request until it is whole, and then asks the lane first.

    Most clients send a body by itself, after the headers: a short one is waited for, for a moment. What the lane does not take goes on
    as if nothing had been held back. A request of the lane looks like any other to uvicorn, which so keeps requests behind it waiting,
    closes idle connections and shuts down.

    Args:
        lane: answers requests.
        caller: who sends requests with such a Host and Authorization header; None for whom the lane has nothing.
        config, server_state, app_state, _loop: uvicorn's.
    """

    def __init__(
        self,
        lane: Lane,
        caller: Callable[[bytes, bytes], Caller | None],
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._lane, self._caller = lane, caller
        self._held: list[bytes] | None = None  # the body of a request that is held back
        self._patience: asyncio.TimerHandle | None = None  # for the rest of it
        self._asked: _Asked | None = None

    def data_received(self, data: bytes) -> None:
        """uvicorn's; what is not whole in a moment goes the usual way."""
        super().data_received(data)
        if self._held is None:
            return
        if self.transport.is_closing() or not self._is_worth_waiting():
            self._wait_no_more()
        elif self._patience is None:
            self._patience = self.loop.call_later(_BODY_S, self._wait_no_more)

    def connection_lost(self, exc: Exception | None) -> None:
        """uvicorn's; a request that never became whole goes the usual way, which tells that."""
        self._wait_no_more()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """uvicorn's; a connection with half a request is not idle."""
        self._wait_no_more()
        super().shutdown()

    def on_message_begin(self) -> None:
        """A request begins."""
        self.url, self.headers, self.expect_100_continue = b"", [], False

    def on_headers_complete(self) -> None:
        """Hold it back, if the lane might take it."""
        if self._may_pass():
            self._held = []
        else:
            self._begin()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self._held is None:
            super().on_body(body)
        else:
            self._held.append(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._held is None or not self._passes(self._held):
            self._wait_no_more()
            super().on_message_complete()
        else:
            self._forget()

    def _may_pass(self) -> bool:
        before: RequestResponseCycle | None = self.cycle
        self._asked = _asked(self.url) if len(self.url) <= _LONGEST_URL else None
        return (
            self._asked is not None
            and (before is None or before.response_complete)
            and self.parser.get_method() == b"POST"
            and not self.expect_100_continue
            and not self.parser.should_upgrade()
            and self.parser.get_http_version() == "1.1"
            and self.parser.should_keep_alive()
            and self.limit_concurrency is None
            and not self.flow.write_paused  # who does not read answers gets no more of them
        )

    def _passes(self, held: list[bytes]) -> bool:
        sent = dict(self.headers)
        caller = self._caller(sent.get(b"host", b""), sent.get(b"authorization", b""))
        # Which of two headers of one name counts is for the usual way to say.
        if caller is None or self._asked is None or len(sent) < len(self.headers):
            return False
        path, query = self._asked
        crossing = _Crossing(self)
        body = held[0] if len(held) == 1 else b"".join(held)
        if not self._lane.takes(Whole(path, query, sent, caller, body), crossing):
            return False
        looks_like_uvicorns: Any = crossing
        self.cycle = looks_like_uvicorns
        return True

    def _is_worth_waiting(self) -> bool:
        """Whether the rest of the body is short enough for the lane, which needs a length for that."""
        length = dict(self.headers).get(b"content-length", b"")
        return length.isdigit() and int(length) <= self._lane.most_bytes

    def _wait_no_more(self) -> None:
        """What is held back goes the usual way, as it is."""
        held = self._forget()
        if held is not None and self.parser is not None:
            self._begin()
            for piece in held:
                super().on_body(piece)

    def _forget(self) -> list[bytes] | None:
        """Hold nothing back any more; what was."""
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        held, self._held = self._held, None
        return held

    def _begin(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers += headers
        super().on_headers_complete()


@lru_cache(maxsize=256)
def _asked(url: bytes) -> _Asked | None:
    """What a URL asks for that the lane might take; None for others, and for those in which uvicorn may see something else."""
    path, _, query = url.partition(b"?")
    if not path.endswith(_HOT) or path[:1] != b"/" or b"#" in url or not url.isascii():
        return None
    return unquote(path.decode("ascii")), query


class _Crossing:
    """A request in the lane; looks like uvicorn's `RequestResponseCycle`, as far as its connection looks at that.

    Attributes:
        keep_alive: False once the server shuts down: the answer closes the connection then.
    """

    __slots__ = ("_connection", "disconnected", "keep_alive", "message_event", "response_complete")

    def __init__(self, connection: LaneProtocol) -> None:
        self._connection = connection
        self.response_complete = self.disconnected = False
        self.keep_alive = True
        self.message_event = _NOBODY_WAITS

    def respond(self, response: Response) -> None:
        """Send the answer."""
        if self.disconnected or self._connection.transport.is_closing():
            return
        self.response_complete = True
        connection = self._connection
        content = [STATUS_LINE[response.status]]
        for name, value in (*connection.server_state.default_headers, *response.headers):
            content += (name, b": ", value, b"\r\n")
        if not self.keep_alive:
            content.append(b"connection: close\r\n")
        content += (_JSON % len(response.body), b"\r\n", response.body)
        connection.transport.write(b"".join(content))
        if not self.keep_alive:
            connection.transport.close()
        connection.on_response_complete()


class _Nobody:
    """An event that nobody waits for."""

    def set(self) -> None:
        """Nothing happens."""


_NOBODY_WAITS = _Nobody()
