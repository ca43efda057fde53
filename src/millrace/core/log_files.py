"""Files that take what a process says."""

from __future__ import annotations

from pathlib import Path

_LONGEST_LOG = 4 << 20


def open_log(folder: Path, name: str) -> Path:
    """The log file of a process; one that has grown long is put aside as `NAME.log.1`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.log"
    if path.exists() and path.stat().st_size > _LONGEST_LOG:
        path.replace(path.with_suffix(".log.1"))
    return path
