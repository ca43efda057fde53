"""Late labels onto the predictions that were made for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

from millrace.core.clock import utc
from millrace.core.errors import InvalidInput
from millrace.core.names import TableName
from millrace.lake.lake import Lake
from millrace.serving.labels.label_columns import Key, KeyLabels, LabelValue, labels_by_key

if TYPE_CHECKING:
    import pyarrow as pa

# Request, row and time of the prediction; its label; the label's time.
Match: TypeAlias = tuple[str, int, datetime, LabelValue, datetime | None]


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
    as doubles (true is 1), or as texts where the predictions are texts. One commit, or none where nothing matches; calling
    it again with the same labels changes nothing.

    `labels` are those that are known at `as_of`: the caller leaves out what is not. Predictions and labels with a time
    after `as_of` are left alone. The `keys` are named alike in both tables.

    Raises:
        InvalidInput: a missing column, a key of another type, labels that are no numbers, or two different labels of one
            key and time.
        NotFound: no such predictions table, or it has no such key column.
    """
    import pyarrow.compute as pc

    kind = label_type(lake, predictions_table)
    known = labels_by_key(labels, keys, label_column, label_time, kind=kind, as_of=utc(as_of))
    where = pc.field("actual_label").is_null() & in_period(known, tolerance, utc(as_of))
    open_rows = lake.read(predictions_table, columns=["request_id", "row", "timestamp", *keys], where=where)
    check_keys(keys, open_rows.schema, labels.schema)
    matches: list[Match] = []
    for request, row, at, *key in rows_of(open_rows, ["request_id", "row", "timestamp", *keys]):
        found = known[tuple(key)].newest(at, tolerance) if tuple(key) in known else None
        if found is not None:
            matches.append((request, row, at, found[1], found[0]))
    return store_labels(lake, predictions_table, matches)


def label_type(lake: Lake, predictions_table: str | TableName) -> pa.DataType:
    """What a predictions table keeps labels as: doubles or texts. Raises NotFound without such a table."""
    return lake.schema(predictions_table).field("actual_label").type


def in_period(known: Mapping[Key, KeyLabels], tolerance: timedelta, as_of: datetime) -> pa.compute.Expression:
    """Only predictions that some label can be for: whole files of other days are not read."""
    import pyarrow as pa
    import pyarrow.compute as pc

    moments = [at for found in known.values() for at in (found.times[0], found.times[-1])] or [as_of]
    first, last = min(moments), min(max(moments) + tolerance, as_of)
    time = pa.timestamp("us", "UTC")
    return (pc.field("timestamp") >= pa.scalar(first, time)) & (pc.field("timestamp") <= pa.scalar(last, time))


def check_keys(keys: Iterable[str], predictions: pa.Schema, labels: pa.Schema) -> None:
    """Raise InvalidInput where a key is of another type in the labels than in the predictions."""
    import pyarrow.types as kinds

    alike = (kinds.is_integer, lambda kind: kinds.is_string(kind) or kinds.is_large_string(kind), kinds.is_decimal)
    for key in keys:
        one, other = predictions.field(key).type, labels.field(key).type
        if one != other and not any(is_kind(one) and is_kind(other) for is_kind in alike):
            raise InvalidInput(
                f"key '{key}' is {one} in the predictions and {other} in the labels", hint="cast the labels' key first"
            )


def rows_of(table: pa.Table, columns: Sequence[str]) -> Iterable[tuple[Any, ...]]:
    """The rows of a table as plain values, in the order of the columns."""
    return zip(*(table.column(name).to_pylist() for name in columns), strict=True)


def store_labels(lake: Lake, name: str | TableName, matches: Sequence[Match]) -> int:
    """Write labels onto their predictions, in one commit; how many.

    A prediction that got a label since it was read keeps that one, and is counted all the same.
    """
    import pyarrow as pa

    if not matches:
        return 0
    time = pa.timestamp("us", "UTC")
    identity = [("request_id", pa.string()), ("row", pa.int32()), ("timestamp", time)]
    schema = pa.schema([*identity, ("actual_label", label_type(lake, name)), ("label_time", time)])
    columns = [pa.array(values, field.type) for values, field in zip(zip(*matches, strict=True), schema, strict=True)]
    keys = ["request_id", "row", "timestamp"]
    # The time says nothing more of which row it is, but by it the merge leaves files of other days unread.
    lake.merge(name, pa.Table.from_arrays(columns, schema=schema), keys, "labels", unless="actual_label")
    return len(matches)
