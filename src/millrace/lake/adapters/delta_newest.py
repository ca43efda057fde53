"""The newest version of a Delta table that changed rows, read from the names in its log: without Delta's library."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from millrace.core.names import TableName
from millrace.lake.port import Catalog
from millrace.lake.types import Location

_COMMIT = re.compile(r"(\d{20})\.json")
_MOST = 50
_ELSEWHERE_S = 30.0
_LONGEST = 64 << 20
# All that is written within one tick of the system's clock has the same time: the time of the folder tells of everything in it
# only when its tick is surely over.
_TICK_NS, _UNSURE = 50_000_000, -1


@dataclass
class DeltaNewest:
    """Newest versions of a lake's tables. Asking again costs a look at the folder of the log, where nothing was added to it.

    Args:
        catalog: where tables are.
        elsewhere: asks for the version of a table that is not on this file system.
    """

    catalog: Catalog
    elsewhere: Callable[[Location], int]
    _seen: dict[str, tuple[int, int]] = field(default_factory=dict, init=False)
    _asked: dict[str, tuple[float, int]] = field(default_factory=dict, init=False)

    def newest(self, table: str) -> int | None:
        """The newest version that changed rows; None where there is no such table."""
        entry = self.catalog.find(TableName.parse(table))
        if entry is None:
            return None
        if "://" in entry.location:
            return self._newest_elsewhere(entry.location)
        log = Path(entry.location) / "_delta_log"
        try:
            looked = time.time_ns()
            changed = log.stat().st_mtime_ns
            known = self._seen.get(entry.location)
            if known is None or known[0] != changed:
                found = _newest(log, known[1] if known else -1)
                settled = changed if looked - changed > _TICK_NS else _UNSURE
                known = (settled, max(found, known[1] if known else -1))
                self._seen[entry.location] = known
        except FileNotFoundError:
            self._seen.pop(entry.location, None)
            return None
        return known[1] if known[1] >= 0 else None

    def _newest_elsewhere(self, location: Location) -> int:
        """As it was half a minute ago at most: it is asked for over a network."""
        known = self._asked.get(location)
        if known is None or time.monotonic() - known[0] > _ELSEWHERE_S:
            known = self._asked[location] = (time.monotonic(), self.elsewhere(location))
        return known[1]


def _newest(log: Path, after: int) -> int:
    """The newest commit that changed rows, looked for among the last ones after a version; the last one where none did."""
    names = (_COMMIT.fullmatch(name) for name in os.listdir(log))  # noqa: PTH208 - names are enough
    commits = sorted((int(name[1]) for name in names if name and int(name[1]) > after), reverse=True)
    for commit in commits[:_MOST]:
        if _changes_rows(log / f"{commit:020}.json"):
            return commit
    return after if after >= 0 or not commits else commits[0]


def _changes_rows(path: Path) -> bool:
    """Whether a commit adds or removes rows; a compaction moves them only."""
    try:
        if path.stat().st_size > _LONGEST:
            return True
        with path.open("rb") as lines:
            for line in lines:
                action = orjson.loads(line)
                if any(action.get(kind, {}).get("dataChange") for kind in ("add", "remove")):
                    return True
    except (OSError, ValueError):
        return True  # gone from the log by now, or not of this form: better once too often
    return False
