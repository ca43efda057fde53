"""Whether anybody still needs a process that is there on demand."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_LAST_S = 0.2
_log = logging.getLogger(__name__)


class Attendance:
    """Who asks a process something, and since when nobody has. Thread-safe.

    Args:
        at_rest: whether there is nothing else to do; called in a thread, and only when nobody has asked for a while.
        after_s: how long nobody has to have asked.
    """

    def __init__(self, at_rest: Callable[[], bool], after_s: float) -> None:
        self._at_rest, self._after_s = at_rest, after_s
        self._counting, self._asking, self._last_s = threading.Lock(), 0, time.monotonic()

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Somebody is being answered."""
        with self._counting:
            self._asking += 1
        try:
            yield
        finally:
            with self._counting:
                self._asking -= 1
                self._last_s = time.monotonic()

    async def is_over(self) -> bool:
        """Whether nobody needs the process: nobody asks, and nothing has to be done. Where that is not known it stays."""
        try:
            return self._is_quiet() and await asyncio.to_thread(self._at_rest) and self._is_quiet()
        except Exception:  # noqa: BLE001 - the boundary of the look: the database may be away, and comes back
            _log.exception("whether there is something to do is not known; it is looked again")
            return False

    async def is_over_behind_closed_doors(self) -> bool:
        """The same, when the door was closed a moment ago: whether really nobody was let in that needs the process."""
        await asyncio.sleep(_LAST_S)
        return await self.is_over()

    def _is_quiet(self) -> bool:
        return not self._asking and time.monotonic() - self._last_s >= self._after_s
