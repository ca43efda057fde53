"""Writing rows of a monitor's tables: all rows of some windows at once, in the place of what was there, in one commit."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa

from millrace.core.clock import iso
from millrace.core.names import TableName
from millrace.lake.lake import Lake
from millrace.lake.types import TableDefinition
from millrace.monitoring.sql import quoted
from millrace.monitoring.windows import Granularity

_DEFINITION = TableDefinition(description="Metrics of a monitor", role="metrics")


@dataclass(slots=True)
class Windows:
    """Windows whose rows are all written anew, by model version and granularity.

    Attributes:
        anew: versions of which no stored row holds any more.
    """

    starts: dict[tuple[str, str], set[datetime]] = field(default_factory=dict)
    anew: AbstractSet[str] = frozenset()

    def add(self, version: str, granularity: Granularity, numbers: Iterable[int]) -> None:
        """More windows."""
        starts = self.starts.setdefault((version, str(granularity)), set())
        starts |= {granularity.start(number) for number in numbers}

    def predicate(self, model_id_col: str) -> str | None:
        """SQL for the rows in whose place new ones come; None where there are no windows."""
        parts = [f"{quoted(model_id_col)} = {_text(version)}" for version in sorted(self.anew)]
        for (version, granularity), starts in sorted(self.starts.items()):
            if version not in self.anew and starts:
                times = ", ".join(_text(iso(start)) for start in sorted(starts))
                of = f"{quoted(model_id_col)} = {_text(version)} AND granularity = {_text(granularity)}"
                parts.append(f"({of} AND window_start IN ({times}))")
        return " OR ".join(parts) or None


def write(lake: Lake, name: TableName, rows: pa.Table, windows: Windows, model_id_col: str) -> None:
    """Put rows in the place of all that is stored of the windows; one commit, or none without windows. The table is made where it is missing."""
    lake.ensure(name, rows.schema, _DEFINITION)
    where = windows.predicate(model_id_col)
    if where is None:
        return
    if lake.rows(name):
        # Not a merge by key: that takes twice the time, and leaves rows that nothing replaces.
        lake.overwrite(name, rows, "monitor refresh", where=where)
    else:
        lake.append(name, rows, "monitor refresh")


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
