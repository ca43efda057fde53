"""Processes and processors of this machine."""

from __future__ import annotations

import os
from pathlib import Path


def is_alive(pid: int) -> bool:
    """Whether a process of that number runs, whoever's it is.

    One that has ended does not, though its number is taken until somebody waits for it: in a container that may be never.
    """
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # no such one, or no such number
        return False
    except PermissionError:
        pass
    return not _has_ended(pid)


def _has_ended(pid: int) -> bool:
    """proc(5): the state comes after the name, which may hold anything, a bracket too. Unknown where there is no /proc."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return stat.rpartition(b")")[2].split()[0] in {b"Z", b"X"}


def usable_processors() -> int:
    """How many processors this process may use: fewer than the machine has where it is held to some."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
