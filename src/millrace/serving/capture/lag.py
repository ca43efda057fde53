"""How much of what was captured waits to be drained, and how long already."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from millrace.serving.capture.held import HELD
from millrace.serving.capture.segments import OPEN, SEALED

_WAITS = {OPEN, SEALED, HELD}


@dataclass(frozen=True, slots=True)
class CaptureLag:
    """Segments that are not yet in the inference tables: those that are being written, and what a table refuses, too.

    Attributes:
        written_at: when the oldest of them was last written to, by the machine's time; None where there is none.
    """

    segments: int
    size_bytes: int
    written_at: datetime | None


def is_waiting(root: Path) -> bool:
    """Whether a drain would find something."""
    return any(path.suffix in _WAITS for path in root.glob("*.*"))


def capture_lag(root: Path) -> CaptureLag:
    """What waits in a capture folder; nothing where there is no such folder."""
    sizes: list[int] = []
    times: list[float] = []
    for path in [path for path in root.glob("*.*") if path.suffix in _WAITS]:
        with suppress(FileNotFoundError):  # drained meanwhile
            found = path.stat()
            sizes.append(found.st_size)
            times.append(found.st_mtime)
    return CaptureLag(len(sizes), sum(sizes), datetime.fromtimestamp(min(times), UTC) if times else None)
