"""Processes that others started, for tests that kill them. Linux only."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def children(pid: int) -> list[int]:
    """Those that it started itself."""
    found: list[int] = []
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (thread / "children").read_text().split())
    return found


def descendants(pid: int) -> list[int]:
    """Those, and those that they started in turn."""
    return [each for child in children(pid) for each in (child, *descendants(child))]
