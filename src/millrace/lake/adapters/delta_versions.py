"""Opened versions of Delta tables, remembered."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path

from deltalake import DeltaTable  # noqa: TID253 - this is its adapter

from millrace.lake.types import Location, Version

_MOST = 64
_LOG_FILE = ".json"
_DIGITS = 20

# Location, version, and which file made it: a dropped table's place may be taken by another one.
_Key = tuple[Location, int, int, int]


class OpenedVersions:
    """Versions of tables on a local path, each opened once. Thread-safe; what it gives out must not be written with."""

    def __init__(self) -> None:
        self._tables: OrderedDict[_Key, DeltaTable] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, location: Location, version: Version | None) -> DeltaTable:
        """The version, or the newest one. Raises what delta-rs raises for a table or version that is not there."""
        key = _key(location, version)
        if key is None:
            return DeltaTable(location, version=version)
        with self._lock:
            if key in self._tables:
                self._tables.move_to_end(key)
                return self._tables[key]
        table = DeltaTable(location, version=key[1])
        with self._lock:
            self._tables[key] = table
            while len(self._tables) > _MOST:
                self._tables.popitem(last=False)
        return table


def _key(location: Location, version: Version | None) -> _Key | None:
    """What identifies a version; None where it has no log file of its own (an object store, a cleaned-up log)."""
    if "://" in location:
        return None
    log = Path(location) / "_delta_log"
    try:
        number = _newest(log) if version is None else int(version)
        if number is None:
            return None
        made = (log / f"{number:0{_DIGITS}d}{_LOG_FILE}").stat()
    except OSError:
        return None
    return location, number, made.st_ino, made.st_mtime_ns


def _newest(log: Path) -> int | None:
    names = (entry.name for entry in os.scandir(log))
    numbers = [name.removesuffix(_LOG_FILE) for name in names if name.endswith(_LOG_FILE)]
    return max((int(number) for number in numbers if len(number) == _DIGITS and number.isdecimal()), default=None)
