"""Checks of the rows that go into a feature table: each is one key at one time, of the types that the table has."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.core.clock import iso
from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean
from millrace.features.identity import key_column, key_family
from millrace.lake.columns import whole_numbers

_SHOWN = 5


def check_identity(rows: pa.Table, identity: Sequence[str], table: str) -> None:
    """Refuse rows that lack a key column, have a null in one, or have the same key and time twice.

    Raises:
        InvalidInput: with up to 5 of the duplicate keys, and how many there are.
    """
    for column in identity:
        if column not in rows.column_names:
            raise InvalidInput(
                f"the rows for {table} have no column '{column}', which identifies a row",
                hint=did_you_mean(column, rows.column_names),
                column=column,
            )
        nulls = rows.column(column).null_count
        if nulls:
            raise InvalidInput(
                f"'{column}' is null in {nulls} of {len(rows)} rows for {table}",
                hint="drop these rows, or give them a value: a row is found by its key and time",
                column=column,
                rows=nulls,
            )
    _check_unique(rows, identity, table)


def _check_unique(rows: pa.Table, identity: Sequence[str], table: str) -> None:
    # In the form in which keys are compared, so that 1 as int32 and the same instant in two zones count as equal.
    compared = {name: key_column(rows.column(name), rows.schema.field(name).type, name) for name in identity}
    counted = pa.table(compared).append_column("__row", pa.array(np.arange(len(rows)), pa.int64()))
    groups = counted.group_by(list(identity)).aggregate([("__row", "count"), ("__row", "min")])
    double = groups.filter(pc.greater(groups.column("__row_count"), 1)).sort_by("__row_min")
    if not len(double):
        return
    shown = rows.select(list(identity)).take(double.column("__row_min").slice(0, _SHOWN))
    keys = [tuple(row.values()) for row in shown.to_pylist()]
    raise InvalidInput(
        f"{len(double)} keys come more than once in the rows for {table}: "
        + "; ".join(_shown(identity, key) for key in keys)
        + ("; ..." if len(double) > _SHOWN else ""),
        hint=f"keep one row for each {', '.join(identity)}",
        duplicates=len(double),
        keys=keys,
    )


def _shown(identity: Sequence[str], key: Sequence[object]) -> str:
    values = (iso(value) if isinstance(value, datetime) else value for value in key)
    return ", ".join(f"{name}={value}" for name, value in zip(identity, values, strict=True))


def check_key_types(rows: pa.Table, schema: pa.Schema, identity: Sequence[str], table: str) -> None:
    """Refuse a key or time of another kind than the table's: a key is never cast.

    Raises:
        InvalidInput: names the column and both types.
    """
    for name in identity:
        given, stored = rows.schema.field(name).type, schema.field(name).type
        if key_family(given) != key_family(stored):
            raise InvalidInput(
                f"'{name}' is {given} in the rows and {stored} in {table}",
                hint=f"cast it to {stored}{whole_numbers(given, stored)}",
                table=table,
                column=name,
            )
