"""What may wait for others, a store elsewhere, somebody's functions or another process: beside the event loop, and not without a limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context

from millrace.serving.models.thread import WatchedThreads
from millrace.serving.models.turns import Busy


class Bulkhead:
    """The threads of one endpoint, and those who wait for one. Used by one event loop.

    What stalls has these threads and no more, however long it does: who gives up waiting does not end what a thread
    does, which is free again when that has come to its end.

    Attributes:
        threads: what they run in.

    Args:
        name: what the threads' names begin with.
        threads: how many.
        most_waiting: how many may wait for one.
    """

    def __init__(self, name: str, threads: int, most_waiting: int) -> None:
        self._most_waiting = most_waiting
        self.threads = WatchedThreads(threads, name)
        self._free = asyncio.Semaphore(threads)
        self._waiting = 0

    @property
    def are_waited_for(self) -> bool:
        """Whether somebody who has not given up waits for a thread to be free."""
        return self._waiting > 0

    async def take(self, step: Callable[[], None]) -> None:
        """Take a step of a request in a thread, as soon as one is free. Raises as the step does.

        Raises:
            Busy: too many requests wait already.
        """
        if self._free.locked() and self._waiting >= self._most_waiting:
            raise Busy
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        running = asyncio.get_running_loop().run_in_executor(self.threads, copy_context().run, step)
        running.add_done_callback(lambda _: self._free.release())
        await asyncio.shield(running)
