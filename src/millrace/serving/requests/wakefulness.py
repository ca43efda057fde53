"""A worker stays awake for a moment after an answer, for the next question."""

from __future__ import annotations

import asyncio
import os
import time

# About as long as a processor that has gone to sleep takes to answer. Who waits for as long as it takes to be woken spends at
# most twice what was needed, whenever the next question comes (Karlin et al., "Competitive snoopy caching", 1988).
_MOMENT_S = 0.0001


class Wakefulness:
    """Keeps an event loop from going to sleep. Where there is one processor it is left to those who ask."""

    def __init__(self) -> None:
        self._may_stay = (os.cpu_count() or 1) > 1
        self._until_s, self._is_turning = 0.0, False

    def stay(self) -> None:
        """For a moment from now on."""
        self._until_s = time.perf_counter() + _MOMENT_S
        if not self._is_turning and self._may_stay:
            self._turn()

    def _turn(self) -> None:
        self._is_turning = time.perf_counter() < self._until_s
        if self._is_turning:
            asyncio.get_running_loop().call_soon(self._turn)
