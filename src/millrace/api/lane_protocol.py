"""A connection of a worker: uvicorn's, with a short way for the requests that a lane takes."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle
from uvicorn.server import ServerState

from millrace.access.types import Caller
from millrace.api.connections import Connection
from millrace.api.guard import Guard
from millrace.api.heads import Heads, Opening
from millrace.serving.requests.desk import Response
from millrace.serving.requests.lane import Lane, Visitor

_BODY_S = 0.1  # longer than a busy loop's turn, in which it comes
_JSON = b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b"


class Way:
    """The short way: the lane, and who may use it.

    Attributes:
        heads: what requests begin with.
    """

    def __init__(self, lane: Lane, guard: Guard) -> None:
        self._lane, self._guard = lane, guard
        self.heads = Heads(lane.most_bytes)

    def admits(self, opening: Opening) -> bool:
        """Whether the lane would take such a request: it is not answered before its body is there."""
        caller = self._caller(opening)
        return caller is not None and self._lane.admits(opening.head, caller)

    def takes(self, opening: Opening, body: bytes, visitor: Visitor) -> bool:
        """Whether the lane takes a request."""
        caller = self._caller(opening)
        return caller is not None and self._lane.takes(opening.head, caller, body, visitor)

    def _caller(self, opening: Opening) -> Caller | None:
        """What is sent with the same head as before is sent by the same caller, as long as that one counts."""
        badge = opening.badge
        if badge is None or not self._guard.counts(badge):
            asks, token = (opening.head.sent.get(name, b"") for name in (b"host", b"authorization"))
            badge = opening.badge = self._guard.badge(asks, token)
        return None if badge is None else badge.caller


class LaneProtocol(Connection):
    """Asks the lane first what came, and lets uvicorn read only what the lane does not take.

    Most clients send a body by itself, after the headers: a short one is waited for, for a moment. What the lane does not take is
    read as if nothing had been held back. A request of the lane looks like any other to uvicorn, which so keeps requests behind
    it waiting, closes idle connections and shuts down.

    Args:
        way: shared by all connections of a worker.
        config, server_state, app_state, _loop: uvicorn's.
    """

    def __init__(
        self,
        way: Way,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._way = way
        self._crossing = _Crossing(self)
        self._held = b""  # a request that is not whole
        self._patience: asyncio.TimerHandle | None = None  # for the rest of it
        self._is_reading = False  # uvicorn, in the middle of a request
        self._rested_s = 0.0  # since when nothing is asked

    def data_received(self, data: bytes) -> None:
        """uvicorn's, for what the lane does not take, or what is not whole in a moment."""
        sent = self._held + data
        opening = self._way.heads.opening(sent) if self._may_pass() else None
        if opening is None:
            self._read(sent)
        elif len(sent) < opening.whole and self._way.admits(opening):
            self._hold(sent)
        elif len(sent) >= opening.whole and self._passes(opening, sent[opening.size : opening.whole]):
            self._forget()
            if len(sent) > opening.whole:  # who comes behind another waits for it, as uvicorn does it
                super().data_received(sent[opening.whole :])
        else:
            self._read(sent)

    def connection_lost(self, exc: Exception | None) -> None:
        """uvicorn's; a request that never became whole goes the usual way, which tells that."""
        self._wait_no_more()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # uvicorn forgets it where the connection was reset

    def shutdown(self) -> None:
        """uvicorn's; a connection with half a request is not idle."""
        self._wait_no_more()
        super().shutdown()

    def on_message_begin(self) -> None:
        """Uvicorn's."""
        self._is_reading = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """uvicorn's; behind an upgrade there is nothing for the lane."""
        self._is_reading = self.parser.should_upgrade()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Uvicorn's."""
        self._rested_s = self.loop.time()
        super().on_response_complete()

    def on_crossing_complete(self) -> None:
        """The same for a request of the lane; most need no timer of their own."""
        if self.pipeline or self.timeout_keep_alive_task is None or self.transport.is_closing():
            self.on_response_complete()
        else:
            self.server_state.total_requests += 1
            self._rested_s = self.loop.time()

    def timeout_keep_alive_handler(self) -> None:
        """uvicorn's, where nothing was asked since the timer was set."""
        rested_s = self.loop.time() - self._rested_s if self.cycle.response_complete and not self._held else 0.0
        if rested_s >= self.timeout_keep_alive:
            super().timeout_keep_alive_handler()
        else:
            left_s = self.timeout_keep_alive - rested_s
            self.timeout_keep_alive_task = self.loop.call_later(left_s, self.timeout_keep_alive_handler)

    def _may_pass(self) -> bool:
        before: RequestResponseCycle | None = self.cycle
        return (
            not self._is_reading
            and (before is None or before.response_complete)
            and self.limit_concurrency is None
            and not self.flow.write_paused  # who does not read answers gets no more of them
            and not self.transport.is_closing()
        )

    def _passes(self, opening: Opening, body: bytes) -> bool:
        if not self._way.takes(opening, body, self._crossing):
            return False
        self.head_has_come()
        self._crossing.response_complete = False
        looks_like_uvicorns: Any = self._crossing
        self.cycle = looks_like_uvicorns
        return True

    def _hold(self, sent: bytes) -> None:
        self._held = sent
        self.head_has_come()
        if self._patience is None:
            self._patience = self.loop.call_later(_BODY_S, self._wait_no_more)

    def _wait_no_more(self) -> None:
        """What is held back goes the usual way, as it is."""
        if self._held:
            self._read(self._held)

    def _read(self, sent: bytes) -> None:
        self._forget()
        if self.parser is not None:
            super().data_received(sent)

    def _forget(self) -> None:
        """Hold nothing back any more."""
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        self._held = b""


class _Crossing:
    """A connection's request in the lane; looks like uvicorn's `RequestResponseCycle`, as far as its connection looks at that.

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
        content.append(_JSON % (len(response.body), response.body))
        connection.transport.write(b"".join(content))
        if not self.keep_alive:
            connection.transport.close()
        connection.on_crossing_complete()


class _Nobody:
    """An event that nobody waits for."""

    def set(self) -> None:
        """Nothing happens."""


_NOBODY_WAITS = _Nobody()
