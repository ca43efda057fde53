"""The thread that slow models share, and for how long it has been in a call."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class ModelThread(ThreadPoolExecutor):
    """One thread, that knows since when it has been in its call. Calls that wait for it don't count."""

    def __init__(self) -> None:
        super().__init__(1, thread_name_prefix="predict")
        self._since_s: float | None = None
        self._id = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See `Executor.submit`."""
        return super().submit(self._timed, fn, *args, **kwargs)

    @property
    def lasts_s(self) -> float:
        """For how long the call has lasted that it is in; 0 where it is in none."""
        since_s = self._since_s
        return 0.0 if since_s is None else time.monotonic() - since_s

    @property
    def where(self) -> str:
        """Where in the program it is, as a traceback says it."""
        frame = sys._current_frames().get(self._id)  # noqa: SLF001 - there is no other way
        return "".join(traceback.format_stack(frame)) if frame else ""

    def _timed(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        self._id, self._since_s = threading.get_ident(), time.monotonic()
        try:
            return fn(*args, **kwargs)
        finally:
            self._since_s = None
