"""A connection of a server: uvicorn's, but not kept for who never comes to say what is wanted."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

# How long who has connected, or has begun a request, may take to its whole head; and how long that may be.
HEAD_S, HEAD_BYTES = 60.0, 1 << 20


class Connection(HttpToolsProtocol):
    """Closes itself where no whole head of a request comes in time: whoever reaches the port could hold all files of a process.

    uvicorn closes connections that are idle behind an answer. It has no timer before the first answer, and stops the
    one behind an answer at the first byte that comes then.

    Args:
        config, server_state, app_state, _loop: uvicorn's.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._is_in_head, self._more_bytes = False, 0
        self._no_head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """uvicorn's; the time for the first head begins."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Uvicorn's."""
        self.head_has_come()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """uvicorn's; where that leaves the connection without a head and without a timer, the time for the head begins."""
        super().data_received(data)
        if self.transport.is_closing():
            return
        self._more_bytes += len(data)
        if self._more_bytes > HEAD_BYTES:
            self._refuse()
            return
        if self._no_head is None and (self._is_in_head or self._is_left()):
            self._await_head()

    def on_message_begin(self) -> None:
        """Uvicorn's."""
        self._is_in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Uvicorn's."""
        self._is_in_head, self._more_bytes = False, 0
        self.head_has_come()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """uvicorn's; a body has limits of its own. What follows one in chunks has not."""
        self._more_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """uvicorn's; what comes next is another request."""
        self._more_bytes = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """uvicorn's; who began another request meanwhile has the whole time for its head from now on."""
        super().on_response_complete()
        if self._is_in_head and not self.transport.is_closing():
            self.head_has_come()
            self._await_head()

    def _unsupported_upgrade_warning(self) -> None:
        """uvicorn's, but silent, since anyone may send such requests: it is answered as any other, and is the last one.

        The parser takes what follows its head for the next request, its own body too.
        """
        self.cycle.keep_alive = False

    def head_has_come(self) -> None:
        """The head of a request is whole, or none is waited for any more."""
        if self._no_head is not None:
            self._no_head.cancel()
            self._no_head = None

    def _refuse(self) -> None:
        """Too much that is neither a head nor a body; nothing may be written into another request's answer."""
        if self._is_answering():
            self.transport.close()
        else:
            self.send_400_response("The head of the request, or what follows its body, is too long.")

    def _is_left(self) -> bool:
        """Whether nothing is answered, and uvicorn has no timer: what came is no request, or what follows one."""
        return self.timeout_keep_alive_task is None and not self._is_answering()

    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None before the first head
        return cycle is not None and not cycle.response_complete

    def _await_head(self) -> None:
        self._no_head = self.loop.call_later(HEAD_S, self._give_up)

    def _give_up(self) -> None:
        self._no_head = None
        if not self._is_answering():
            self.transport.close()
