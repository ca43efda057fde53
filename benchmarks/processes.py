"""Processes as Linux tells of them: who came of whom, their processor time, their memory."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_KB = 1024


@dataclass(frozen=True)
class Memory:
    """MB of some processes together. `rss` counts shared pages once for each of them, `pss` once."""

    rss: float
    pss: float
    processes: int


def descendants(pid: int) -> list[int]:
    """All that came of a process, without itself."""
    found: list[int] = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # it ended meanwhile
            for child in map(int, children.read_text().split()):
                found += [child, *descendants(child)]
    return found


def command(pid: int) -> str:
    """A process's command line; empty where it ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    return ""


def cpu_s(pids: Iterable[int]) -> float:
    """Processor time so far, with that of children that have ended, in steps of a hundredth of a second."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            # The name in brackets may hold anything; utime, stime, cutime and cstime are fields 14 to 17.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(int(field) for field in fields[11:15])
    return total / _TICKS


def busy_share(seconds: float) -> float:
    """The share of all processors' time that was worked in the next seconds, by whomever; from 0 to 1."""
    before = _machine()
    time.sleep(seconds)
    busy, total = (after - was for after, was in zip(_machine(), before, strict=True))
    return busy / max(total, 1)


def _machine() -> tuple[int, int]:
    """Busy and all ticks of all processors."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)  # idle, and waiting for a disk


def memory(pids: Iterable[int]) -> Memory:
    """What they hold now."""
    rss = pss = count = 0
    for pid in pids:
        with suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            told = {line.split()[0]: int(line.split()[1]) for line in lines[1:]}
            rss, pss, count = rss + told["Rss:"], pss + told["Pss:"], count + 1
    return Memory(rss / _KB, pss / _KB, count)


def peak_mb() -> float:
    """The most memory that this process has held. What `getrusage` tells includes its parent's, from before the program was loaded."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / _KB


def kill(pid: int, number: int) -> None:
    """Send a signal; nothing where it ended already."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
