"""Rows of a metric table on their way into it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import pyarrow as pa

from millrace.monitoring.tables.schemas import as_table
from millrace.monitoring.tables.statistics import Row

_AT_ONCE = 4096


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
