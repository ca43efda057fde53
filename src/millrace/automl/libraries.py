"""What a search imports beside its first fits, and what that tells of the machine."""

from __future__ import annotations

import threading
import time
from importlib import import_module

_NAMES = ("sklearn.base", "sklearn.ensemble", "sklearn.compose", "sklearn.model_selection", "sklearn.dummy", "optuna")
_SLOWEST, _LEAST_MEASURED_S = 10.0, 0.02


class Libraries:
    """Imports them in a thread, while the search waits for its processes, which import theirs."""

    def __init__(self) -> None:
        """Begin."""
        self._wall_s = self._computed_s = 0.0
        self._thread = threading.Thread(target=self._import, daemon=True)
        self._thread.start()

    @property
    def slowness(self) -> float:
        """How many times as long as on a machine of its own it took so far: from 1 to 10."""
        return min(max(self._wall_s / max(self._computed_s, _LEAST_MEASURED_S), 1.0), _SLOWEST)

    def wait(self) -> None:
        """Until all are there."""
        self._thread.join()

    def _import(self) -> None:
        begun, computed = time.monotonic(), time.thread_time()
        for name in _NAMES:
            import_module(name)
            self._wall_s, self._computed_s = time.monotonic() - begun, time.thread_time() - computed
