"""Late labels onto the predictions that were made for them."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from millrace.core.clock import utc
from millrace.core.errors import InvalidInput
from millrace.core.names import TableName, did_you_mean
from millrace.lake.lake import Lake

if TYPE_CHECKING:
    import pyarrow as pa

# Request, row and time of the prediction; its label; the label's time.
_Match = tuple[str, int, datetime, float, datetime | None]


def join_labels(
    lake: Lake,
    predictions_table: str | TableName,
    labels: pa.Table,
    *,
    keys: Sequence[str],
    label_column: str,
    label_time: str,
    tolerance: timedelta,
    as_of: datetime,
) -> int:
    """Give each prediction without a label the newest label of its key that is not after it; how many got one.

    A label counts for a prediction at `t` where `t - tolerance <= label_time <= t`, both inclusive. A date as
    `label_time` stands for the end of its day. Rows with a null key, time or label count for nothing. Labels are stored
    as doubles (true is 1). One commit, or none where nothing matches; calling it again with the same labels changes
    nothing.

    `labels` are those that are known at `as_of`: the caller leaves out what is not. Predictions and labels with a time
    after `as_of` are left alone. The `keys` are named alike in both tables.

    Raises:
        InvalidInput: a missing column, a key of another type, labels that are no numbers, or two different labels of one
            key and time.
        NotFound: no such predictions table, or it has no such key column.
    """
    known = _label_index(labels, keys, label_column, label_time, utc(as_of))
    moments = [at for times, _ in known.values() for at in (times[0], times[-1])] or [utc(as_of)]
    # Only predictions that some label can be for: whole files of other days are not read.
    period = (min(moments), min(max(moments) + tolerance, utc(as_of)))
    open_rows = _unlabelled(lake, predictions_table, labels, keys, period)
    matches: list[_Match] = []
    for request, row, at, *key in _rows(open_rows, ["request_id", "row", "timestamp", *keys]):
        times, values = known.get(tuple(key), ((), ()))
        place = bisect_right(times, at) - 1
        if place >= 0 and at - times[place] <= tolerance:
            matches.append((request, row, at, values[place], times[place]))
    return _store(lake, predictions_table, matches)


def label_requests(
    lake: Lake, predictions_table: str | TableName, labels: pa.Table, *, label_column: str, as_of: datetime
) -> int:
    """Give predictions their labels by `request_id` (and `row`, 0 where the labels have no such column); how many got one.

    Predictions that have a label keep it. `label_time` stays null: these labels say nothing of time.

    Raises:
        InvalidInput: a missing column, labels that are no numbers, or a request and row named twice.
        NotFound: no such predictions table.
    """
    _check_columns(labels, ["request_id", label_column])
    rows = labels.column("row").to_pylist() if "row" in labels.column_names else [0] * labels.num_rows
    given = list(zip(labels.column("request_id").to_pylist(), rows, strict=True))
    if len(set(given)) < len(given):
        raise InvalidInput("a request and row is there more than once", hint="give one label for each")
    known = dict(zip(given, _numbers(labels, label_column), strict=True))
    matches: list[_Match] = []
    open_rows = _unlabelled(lake, predictions_table, labels, (), (None, utc(as_of)))
    for request, row, at in _rows(open_rows, ["request_id", "row", "timestamp"]):
        value = known.get((request, row))
        if value is not None:
            matches.append((request, row, at, value, None))
    return _store(lake, predictions_table, matches)


def _label_index(
    labels: pa.Table, keys: Sequence[str], label_column: str, label_time: str, as_of: datetime
) -> dict[tuple[object, ...], tuple[list[datetime], list[float]]]:
    """Key to (times ascending, labels)."""
    _check_columns(labels, [*keys, label_column, label_time])
    by_key: defaultdict[tuple[object, ...], dict[datetime, float]] = defaultdict(dict)
    columns = [labels.column(key).to_pylist() for key in keys]
    times, values = _moments(labels, label_time), _numbers(labels, label_column)
    for at, value, *key in zip(times, values, *columns, strict=True):
        if at is None or value is None or at > as_of or None in key:
            continue
        if by_key[tuple(key)].setdefault(at, value) != value:
            raise InvalidInput(
                "two different labels have the same key and time", hint=f"keep one for each ({', '.join(keys)})"
            )
    index = {}
    for group, found in by_key.items():
        ordered = sorted(found.items())
        index[group] = ([at for at, _ in ordered], [value for _, value in ordered])
    return index


def _unlabelled(
    lake: Lake, name: str | TableName, labels: pa.Table, keys: Sequence[str], period: tuple[datetime | None, datetime]
) -> pa.Table:
    """The predictions without a label from the first to the second time, both inclusive."""
    import pyarrow as pa
    import pyarrow.compute as pc

    first, last = period
    where = pc.field("actual_label").is_null() & (pc.field("timestamp") <= pa.scalar(last, pa.timestamp("us", "UTC")))
    if first is not None:
        where &= pc.field("timestamp") >= pa.scalar(first, pa.timestamp("us", "UTC"))
    rows = lake.read(name, columns=["request_id", "row", "timestamp", *keys], where=where)
    for key in keys:
        _check_comparable(key, rows.schema.field(key).type, labels.schema.field(key).type)
    return rows


def _check_comparable(key: str, one: pa.DataType, other: pa.DataType) -> None:
    import pyarrow.types as kinds

    alike = (kinds.is_integer, lambda kind: kinds.is_string(kind) or kinds.is_large_string(kind), kinds.is_decimal)
    if one != other and not any(is_kind(one) and is_kind(other) for is_kind in alike):
        raise InvalidInput(
            f"key '{key}' is {one} in the predictions and {other} in the labels", hint="cast the labels' key first"
        )


def _check_columns(labels: pa.Table, names: Iterable[str]) -> None:
    for name in names:
        if name not in labels.column_names:
            raise InvalidInput(f"the labels have no column '{name}'", hint=did_you_mean(name, labels.column_names))


def _moments(labels: pa.Table, name: str) -> list[datetime | None]:
    import pyarrow as pa
    import pyarrow.types as kinds

    column = labels.column(name)
    if kinds.is_date(column.type):
        days = column.to_pylist()
        return [
            None if day is None else utc(datetime(day.year, day.month, day.day)) + timedelta(days=1)  # noqa: DTZ001
            for day in days
        ]
    if not kinds.is_timestamp(column.type):
        raise InvalidInput(f"label time '{name}' is {column.type}", hint="give a timestamp or a date")
    return [None if at is None else utc(at) for at in column.cast(pa.timestamp("us", "UTC")).to_pylist()]


def _numbers(labels: pa.Table, name: str) -> list[float | None]:
    import pyarrow.types as kinds

    kind = labels.schema.field(name).type
    if not (kinds.is_boolean(kind) or kinds.is_integer(kind) or kinds.is_floating(kind) or kinds.is_decimal(kind)):
        raise InvalidInput(f"label '{name}' is {kind}", hint="give a number or a boolean")
    return [None if value is None or value != value else float(value) for value in labels.column(name).to_pylist()]  # noqa: PLR0124 - NaN


def _rows(table: pa.Table, columns: Sequence[str]) -> Iterable[tuple[Any, ...]]:
    return zip(*(table.column(name).to_pylist() for name in columns), strict=True)


def _store(lake: Lake, name: str | TableName, matches: Sequence[_Match]) -> int:
    import pyarrow as pa

    if not matches:
        return 0
    time = pa.timestamp("us", "UTC")
    identity = [("request_id", pa.string()), ("row", pa.int32()), ("timestamp", time)]
    schema = pa.schema([*identity, ("actual_label", pa.float64()), ("label_time", time)])
    columns = [pa.array(values, field.type) for values, field in zip(zip(*matches, strict=True), schema, strict=True)]
    # The time says nothing more of which row it is, but by it the merge leaves files of other days unread.
    lake.merge(name, pa.Table.from_arrays(columns, schema=schema), ["request_id", "row", "timestamp"], "labels")
    return len(matches)
