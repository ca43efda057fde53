"""Label rows as they could be known at a time, checked."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean
from millrace.lake.types import TableVersion
from millrace.pipeline.declare import Label
from millrace.pipeline.port import Services
from millrace.pipeline.split import take

if TYPE_CHECKING:
    import pyarrow as pa


def read_known(services: Services, label: Label, pinned: TableVersion, as_of: datetime) -> pa.Table:
    """Keys, time and label (as 0 and 1, int64) of all labels known at `as_of`, ordered by time and keys.

    Rows whose label or time is missing (null, NaN) are left out.

    Raises:
        InvalidInput: a column is missing or of a wrong type, or the label is not binary.
    """
    schema = services.lake.schema(pinned.name, pinned.version)
    columns = [*label.keys, label.time, label.column]
    for column in columns:
        if column not in schema.names:
            raise InvalidInput(
                f"label table {label.name} has no column '{column}'",
                hint=did_you_mean(column, schema.names),
                column=column,
            )
    rows = services.lake.read(pinned.name, pinned.version, columns)
    rows = _with_time(rows, label)
    rows = take(rows, label.time, None, as_of - label.known_after)
    rows = rows.sort_by([(label.time, "ascending"), *((key, "ascending") for key in label.keys)])
    return _with_binary(rows, label)


def _with_time(rows: pa.Table, label: Label) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    index = rows.column_names.index(label.time)
    kind = rows.schema.field(label.time).type
    us = pa.timestamp("us", "UTC")
    if pa.types.is_date(kind):  # a date stands for the end of its day
        ends = pc.add(rows.column(label.time).cast(pa.timestamp("us")), pa.scalar(86_400_000_000, pa.duration("us")))
        return rows.set_column(index, label.time, ends.cast(us))
    if not pa.types.is_timestamp(kind):
        raise InvalidInput(
            f"column '{label.time}' of {label.name} is {kind}, not a time", hint="name the column with the label's time"
        )
    return rows.set_column(index, label.time, rows.column(label.time).cast(us))


def _with_binary(rows: pa.Table, label: Label) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    values = rows.column(label.column)
    if not (pa.types.is_boolean(values.type) or pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        raise InvalidInput(
            f"label '{label.column}' of {label.name} is {values.type}", hint="labels are 0 and 1, or true and false"
        )
    known = pc.is_valid(values)
    if pa.types.is_floating(values.type):
        known = pc.and_kleene(known, pc.invert(pc.is_nan(values)))
    rows = rows.filter(known)
    found = pc.unique(rows.column(label.column)).to_pylist()
    if not set(found) <= {0, 1}:
        raise InvalidInput(
            f"label '{label.column}' of {label.name} has the values {sorted(found)[:5]}",
            hint="labels are 0 and 1, or true and false",
        )
    coded = rows.column(label.column).cast(pa.int64())
    return rows.set_column(rows.column_names.index(label.column), label.column, coded)
