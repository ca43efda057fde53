"""Threads that foreign code runs in, and for how long it has kept them."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class WatchedThreads(ThreadPoolExecutor):
    """Threads that know since when each has been in its call. Calls that wait for one don't count.

    Args:
        most: how many threads.
        name: what their names begin with.
    """

    def __init__(self, most: int, name: str) -> None:
        super().__init__(most, thread_name_prefix=name)
        self._most = most
        self._since_s: dict[int, float] = {}

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See `Executor.submit`."""
        return super().submit(self._timed, fn, *args, **kwargs)

    @property
    def lasts_s(self) -> float:
        """For how long no thread has come back: how long the newest of their calls has lasted; 0 where a thread is free."""
        since_s = list(self._since_s.values())
        return time.monotonic() - max(since_s) if len(since_s) == self._most else 0.0

    @property
    def where(self) -> str:
        """Where in the program those are that are in a call, as tracebacks say it; each place once."""
        frames = sys._current_frames()  # noqa: SLF001 - there is no other way
        stacks = ["".join(traceback.format_stack(frames[each])) for each in list(self._since_s) if each in frames]
        return "\n".join(dict.fromkeys(stacks))

    def _timed(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        thread = threading.get_ident()
        self._since_s[thread] = time.monotonic()
        try:
            return fn(*args, **kwargs)
        finally:
            del self._since_s[thread]
