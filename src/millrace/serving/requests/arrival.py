"""Bodies as they arrive: whole, within a size, and within a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from millrace.serving.models.turns import Limits
from millrace.serving.requests.admission import Refused

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

_LOOKS = 10  # at who is late, in the time that a body may take


class Gone(Exception):
    """The client went away before its request was whole."""


class Arrivals:
    """Receives bodies. Used by one event loop.

    One timer looks after all that wait: a timer for each request would cost more than reading it.
    """

    def __init__(self, limits: Limits) -> None:
        self._most_bytes, self._patience_s = limits.body_bytes, limits.body_s
        self._until: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def body(self, declared: bytes, receive: Receive) -> bytes | None:
        """The body; None where it is over the limit. `declared` is its Content-Length, or empty.

        Raises:
            Refused: it did not arrive in time: 408.
            Gone: the client went away.
        """
        size = declared.strip()  # what is around a header's value is no part of it
        if size and (not size.isdigit() or int(size) > self._most_bytes):
            return None
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None  # noqa: S101 - a server answers each request in a task
        self._until[task] = loop.time() + self._patience_s
        if self._timer is None:
            self._timer = loop.call_later(self._patience_s / _LOOKS, self._look, loop)
        try:
            return await self._whole(receive)
        except asyncio.CancelledError:
            if task not in self._late:
                raise
            task.uncancel()
            raise Refused(408, "BAD_REQUEST", "the body did not arrive in time", [(b"connection", b"close")]) from None
        finally:
            del self._until[task]
            self._late.discard(task)

    async def _whole(self, receive: Receive) -> bytes | None:
        message = await receive()
        body: bytes = message.get("body", b"")
        if message.get("more_body", False):
            parts, size = [body], len(body)
            while message.get("more_body", False) and size <= self._most_bytes:
                message = await receive()
                parts.append(message.get("body", b""))
                size += len(parts[-1])
            body = b"".join(parts)
        if message["type"] != "http.request":
            raise Gone
        return body if len(body) <= self._most_bytes else None

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for task, until in self._until.items():
            if until <= now and task not in self._late:
                self._late.add(task)
                task.cancel()
        self._timer = loop.call_later(self._patience_s / _LOOKS, self._look, loop) if self._until else None
