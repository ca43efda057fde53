"""A source as of a time: only what could be known then."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from millrace.core.clock import epoch_us, utc
from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean
from millrace.lake.types import TableDefinition, TableEntry
from millrace.pipeline.declare import Source

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame

_DAY = timedelta(days=1)


def check(source: Source, schema: pa.Schema) -> None:
    """Refuse a source whose columns are not there or can't be times.

    Raises:
        InvalidInput: a named column is missing, or not a timestamp or date.
    """
    import pyarrow as pa

    for column in filter(None, (source.event_time, source.valid_to)):
        if column not in schema.names:
            raise InvalidInput(
                f"source {source.name} has no column '{column}'", hint=did_you_mean(column, schema.names), column=column
            )
        kind = schema.field(column).type
        if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
            raise InvalidInput(
                f"column '{column}' of source {source.name} is {kind}, not a time",
                hint="import it as a timestamp or a date",
                column=column,
            )


def implied(entry: TableEntry) -> Source:
    """The rule for a table that feature code reads by its name alone: what the catalog knows of it.

    A table with a timeseries column holds events: it is cut by that, after its `available_after`. Of any other nothing is known, so it is
    read whole, with a warning that the training record keeps.
    """
    time = entry.definition.timeseries_column
    return Source(str(entry.name), event_time=time) if time else Source(str(entry.name), history="none")


def warning(source: Source, *, is_implied: bool = False) -> str | None:
    """What a training record must say of a source without history; None for the others."""
    if source.history != "none":
        return None
    if is_implied:
        return (
            f"{source.name} is read by its name, and has no timeseries column: its rows are read as they are now, whatever"
            " time is asked for; declare it as a Source with an event_time"
        )
    return f"{source.name} keeps no history: its rows are read as they are now, whatever time is asked for"


def cut(frame: DataFrame, source: Source, as_of: datetime, schema: pa.Schema, definition: TableDefinition) -> DataFrame:
    """The rows that were available at `as_of`, inclusive; a DATE stands for the end of its day unless the table says start."""
    if source.history == "none" or source.event_time is None:
        return frame
    bound = _bound(source, as_of, definition)
    seen = frame.filter(_at_or_before(source.event_time, bound, schema, definition))
    if source.history == "snapshot":
        return _newest_copy(seen, source.event_time)
    if source.history == "scd2" and source.valid_to is not None:
        # That a row has ended is learned with its successor, and as late.
        ended = _at_or_before(source.valid_to, bound, schema, definition)
        return seen.filter(_column(source.valid_to).isNull() | ~ended)
    return seen


def count_seen(times: pa.ChunkedArray, source: Source, as_of: datetime, definition: TableDefinition) -> int:
    """How many rows with these event times (timestamps or dates) were available at `as_of`, by the rule of `cut`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    bound = _bound(source, as_of, definition)
    if pa.types.is_date(times.type):
        last = pa.scalar(_last_day(bound, definition), pa.date32())
    else:
        times, last = times.cast(pa.timestamp("us")), pa.scalar(bound.replace(tzinfo=None), pa.timestamp("us"))
    return int(pc.sum(pc.less_equal(times, last)).as_py() or 0)


def earliest(table: pa.Table, column: str) -> datetime | None:
    """The first event time in a column of timestamps or dates; None without rows."""
    import pyarrow as pa
    import pyarrow.compute as pc

    value = pc.min(table.column(column).cast(pa.timestamp("us"))).as_py()
    return None if value is None else utc(value)


def _newest_copy(frame: DataFrame, column: str) -> DataFrame:
    from pyspark.sql import functions as F  # noqa: N812 - the name that everybody uses

    newest = frame.agg(F.max(column).alias("__newest"))
    return frame.join(newest, frame[column] == newest["__newest"]).drop("__newest")


def _at_or_before(column: str, bound: datetime, schema: pa.Schema, definition: TableDefinition) -> Column:
    import pyarrow as pa
    from pyspark.sql import functions as F  # noqa: N812 - the name that everybody uses

    if pa.types.is_date(schema.field(column).type):
        return _column(column) <= F.lit(_last_day(bound, definition))
    return _column(column) <= F.timestamp_micros(F.lit(epoch_us(bound)))


def _bound(source: Source, as_of: datetime, definition: TableDefinition) -> datetime:
    return as_of - max(source.available_after, definition.available_after)


def _last_day(bound: datetime, definition: TableDefinition) -> date:
    # Day D ends at D+1 00:00, so D is seen from then: D <= bound's day - 1.
    return bound.date() if definition.date_stands_for == "start" else (bound - _DAY).date()


def _column(name: str) -> Column:
    from pyspark.sql import functions as F  # noqa: N812 - the name that everybody uses

    return F.col(f"`{name}`")
