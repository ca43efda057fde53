"""How fresh a feature table is: the age of its newest row that can be seen, against what its owner expects."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from millrace.core.clock import epoch_us, from_epoch_us, utc
from millrace.core.names import TableName
from millrace.features.identity import MICROSECOND, event_us
from millrace.lake.lake import Lake
from millrace.lake.types import TableDefinition

Verdict = Literal["fresh", "late", "unknown"]

# Newest rows are looked for in the last week, then in the last year, then in all: files skip what is older.
_REACHES = (timedelta(days=7), timedelta(days=365), None)
_SLACK = timedelta(
    days=2
)  # a date counts to its end, and zones differ: the first look may be too wide, never too narrow
_UPKEEP = {"OPTIMIZE", "VACUUM START", "VACUUM END", "CREATE TABLE", "RESTORE"}


@dataclass(frozen=True, slots=True)
class Freshness:
    """A table's freshness at a time.

    Attributes:
        newest: event time of the newest row that is available (for a date, the end of its day, or what the table says);
            for a table without time, when rows were written last. None: there is no such row.
        age: from `newest` to the time of the question; None without one.
        expected: the age that the table's owner accepts; None where nobody said.
        verdict: `late` where the age is over it, or there is no row; `unknown` where nobody said.
    """

    newest: datetime | None
    age: timedelta | None
    expected: timedelta | None
    verdict: Verdict


def table_freshness(lake: Lake, name: str | TableName, now: datetime | None = None) -> Freshness:
    """The freshness of a table's newest version at a time of the Clock; None is now.

    Raises:
        NotFound: no such table.
    """
    entry = lake.entry(name)
    now = lake.clock.now() if now is None else utc(now)
    newest = _newest_row(lake, entry.name, now) if entry.definition.timeseries_column else _last_write(lake, entry.name)
    return judge(newest, now, entry.definition.freshness)


def judge(newest: datetime | None, now: datetime, expected: timedelta | None) -> Freshness:
    """The verdict on a newest event time."""
    age = None if newest is None else now - newest
    if expected is None:
        return Freshness(newest, age, None, "unknown")
    return Freshness(newest, age, expected, "fresh" if age is not None and age <= expected else "late")


def _newest_row(lake: Lake, name: TableName, now: datetime) -> datetime | None:
    definition, column = lake.entry(name).definition, str(lake.entry(name).definition.timeseries_column)
    kind = lake.schema(name).field(column).type
    for reach in _REACHES:
        since = None if reach is None else now - definition.available_after - reach - _SLACK
        where = None if since is None else pc.field(column) >= pa.scalar(since, pa.timestamp("us", "UTC")).cast(kind)
        found = _newest(lake.read(name, columns=[column], where=where).column(0), definition, now)
        if found is not None:
            return found
    return None


def _newest(times: pa.ChunkedArray, definition: TableDefinition, now: datetime) -> datetime | None:
    us = event_us(times, str(definition.timeseries_column), definition.date_stands_for)
    available = pc.less_equal(us, epoch_us(now) - definition.available_after // MICROSECOND)
    newest = pc.max(us.filter(available)).as_py()
    return None if newest is None else from_epoch_us(newest)


def _last_write(lake: Lake, name: TableName) -> datetime | None:
    written = [info.at for info in lake.history(name) if info.operation not in _UPKEEP and info.at is not None]
    return max(written, default=None)
