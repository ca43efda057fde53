"""How far a run is, as lines of text on standard error: for logs, and where nobody looks at a terminal."""

from __future__ import annotations

import sys
import time
from typing import Final

MARKS: Final = {
    "done": "ok",
    "skipped": "--",
    "refused": "no",
    "waiting": "~~",
    "failed": "!!",
    "interrupted": "!!",
    "running": "..",
}
_QUIET_S = 10.0  # a line about a running stage at most this often


class PlainLines:
    """One line when a stage ends, and now and then one while it runs."""

    def __init__(self) -> None:
        self._told = 0.0

    def stage(self, name: str, status: str, detail: str = "", seconds: float | None = None) -> None:
        """A line for a stage that ended; from time to time one for what a running one says."""
        if status == "running" and not detail:
            self._told = time.monotonic()
        elif status != "running" or self._is_time():
            took = "" if seconds is None else f" {seconds:.1f} s"
            _write(f"[{MARKS.get(status, status)}] {name}{took}{': ' if detail else ''}{detail}")

    def advance(self, name: str, done: int, total: int) -> None:
        """A line about a long stage, from time to time."""
        if self._is_time():
            _write(f"[..] {name} {done} of {total}")

    def _is_time(self) -> bool:
        now = time.monotonic()
        if now - self._told <= _QUIET_S:
            return False
        self._told = now
        return True


def _write(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
