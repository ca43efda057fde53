"""Whether anybody still needs a process that is there on demand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

_LOOK_S = 1.0


class Attendance:
    """An ASGI application around another that knows since when nobody has asked it anything.

    Args:
        app: what answers.
        at_rest: whether there is nothing else to do; called in a thread, and only when nobody has asked for a while.
        after_s: how long nobody has to have asked.
    """

    def __init__(self, app: ASGIApp, at_rest: Callable[[], bool], after_s: float) -> None:
        self._app, self._at_rest, self._after_s = app, at_rest, after_s
        self._asking, self._last_s, self._nobody = 0, time.monotonic(), asyncio.Event()
        self._nobody.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        self._asking += 1
        self._nobody.clear()
        try:
            await self._app(scope, receive, send)
        finally:
            self._asking -= 1
            self._last_s = time.monotonic()
            if not self._asking:
                self._nobody.set()

    async def over(self) -> None:
        """Return when nobody needs the process any more."""
        while True:
            if self._is_quiet() and await asyncio.to_thread(self._at_rest) and self._is_quiet():
                return
            await asyncio.sleep(_LOOK_S)

    async def answered(self) -> None:
        """Return when no request is being answered."""
        await self._nobody.wait()

    def _is_quiet(self) -> bool:
        return not self._asking and time.monotonic() - self._last_s >= self._after_s
