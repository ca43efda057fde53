"""Writing rows of the metric tables: in one commit a table, added where they are new, else in the place of what was there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from millrace.core.names import TableName
from millrace.lake.lake import Lake
from millrace.lake.types import TableDefinition
from millrace.monitoring.sql import quoted
from millrace.monitoring.tables.schemas import as_table, keys
from millrace.monitoring.tables.statistics import Row
from millrace.monitoring.types import MonitorSpec

_AT_ONCE = 4096
_DEFINITION = TableDefinition(description="Metrics of a monitor", role="metrics")


@dataclass(slots=True)
class Rows:
    """Rows of one table, kept as Arrow: as Python's objects many of them would take a lot of room."""

    schema: pa.Schema
    tables: list[pa.Table] = field(default_factory=list)
    waiting: list[Row] = field(default_factory=list)

    def add(self, rows: Iterable[Row]) -> None:
        """More rows."""
        self.waiting += rows
        if len(self.waiting) >= _AT_ONCE:
            self._flush()

    def all(self) -> pa.Table:
        """All rows that were added."""
        self._flush()
        return pa.concat_tables(self.tables)

    def _flush(self) -> None:
        self.tables.append(as_table(self.waiting, self.schema))
        self.waiting = []


def write(lake: Lake, spec: MonitorSpec, name: TableName, rows: pa.Table) -> None:
    """Put rows where rows with the same keys may be; one commit, or none without rows. The table is made where it is missing."""
    lake.ensure(name, rows.schema, _DEFINITION)
    if not rows.num_rows:
        return
    if _overlap(lake, spec, name, rows):
        lake.merge(name, rows, keys(rows.schema, spec), "monitor refresh")
    else:  # several times faster than merging
        lake.append(name, rows, "monitor refresh")


def remove(lake: Lake, name: TableName, gone: Sequence[Row]) -> None:
    """Take away the rows that agree with these in all their columns."""
    if gone and lake.exists(name) and lake.rows(name):
        schema = lake.schema(name)
        kept = pa.schema([schema.field(column) for column in gone[0]])
        lake.delete_keys(name, pa.Table.from_pylist(list(gone), schema=kept), "monitor refresh")


def forget(lake: Lake, spec: MonitorSpec, name: TableName, version: str) -> None:
    """Take away all rows of a model version: they came from another reference, or from other windows."""
    if lake.exists(name) and lake.rows(name):
        predicate = f"{quoted(spec.model_id_col)} = '" + version.replace("'", "''") + "'"
        lake.delete(name, predicate, "monitor refresh")


def _overlap(lake: Lake, spec: MonitorSpec, name: TableName, rows: pa.Table) -> bool:
    """Whether windows of these rows are in the table already."""
    ends = pc.min_max(rows.column("window_start"))
    at = pc.field("window_start")
    columns = ["window_start", "granularity", spec.model_id_col]
    there = lake.read(name, columns=columns, where=(at >= ends["min"]) & (at <= ends["max"]))
    return bool(_windows(there, columns) & _windows(rows, columns))


def _windows(rows: pa.Table, columns: Sequence[str]) -> set[tuple[object, ...]]:
    distinct = rows.select(list(columns)).group_by(list(columns)).aggregate([])
    return set(zip(*(distinct.column(name).to_pylist() for name in columns), strict=True))
