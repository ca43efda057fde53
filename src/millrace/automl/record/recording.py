"""Runs that are written while the model is there already."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from millrace.automl.record.messages import Recorded


class Recording:
    """The runs of a finished search, which a thread of their own waits for; the interpreter waits for it before it ends.

    What can't be written is raised for who waits for it, and told on standard error where nobody does.
    """

    def __init__(self, record: Callable[[], Recorded]) -> None:
        self._is_awaited, self._deciding = True, threading.Lock()
        beside = ThreadPoolExecutor(1)
        self._recorded = beside.submit(record)
        beside.shutdown(wait=False)
        self._recorded.add_done_callback(self._tell)

    @property
    def is_there(self) -> bool:
        """Whether all is written."""
        return self._recorded.done() and self._recorded.exception() is None

    def wait(self) -> Recorded:
        """Wait until all is there.

        Raises:
            MillraceError: what could not be written.
        """
        self._is_awaited = True
        return self._recorded.result()

    def wait_until(self, end: float) -> None:
        """Wait for it until that `time.monotonic()`, and then no more.

        Raises:
            MillraceError: what could not be written, where it is known by then.
        """
        try:
            wait([self._recorded], max(end - time.monotonic(), 0.0))
        finally:
            with self._deciding:  # an error is raised here or told there
                self._is_awaited = self._recorded.done()
        if self._is_awaited:
            self._recorded.result()

    def _tell(self, recorded: Future[Recorded]) -> None:
        error = recorded.exception()
        with self._deciding:
            is_told = error is not None and not self._is_awaited
        if is_told:
            sys.stderr.write(f"the search's runs could not be written: {error}\n")
