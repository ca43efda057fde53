"""How rows are matched by key in a Delta merge: the condition, and which partitions it can touch."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds

from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean
from millrace.lake.columns import new_columns

# A condition with more values takes longer to work through than it saves.
_MOST_PARTITIONS = 500
_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


def same_key(rows: pa.Table, keys: Sequence[str], partitions: Sequence[str] = ()) -> str:
    """The SQL condition under which a row of the table (`old`) is one of `rows` (`new`).

    Partition columns among the keys are also named with their values: a merge then opens those partitions only, and
    does not collide with one that writes to others at the same moment.
    """
    named = [_within(rows.column(name), name) for name in partitions if name in keys]
    return " AND ".join([*(_equal(rows, key) for key in keys), *(condition for condition in named if condition)])


def refuse_unfit_partitions(rows: pa.Table, partitions: Sequence[str]) -> None:
    """Raise InvalidInput for what a partition column can't hold: text that Delta takes for null, bytes, and negative decimals.

    Bytes would come back as others. Of a negative decimal delta-rs writes a text that it can't read again, and with it no
    row of the table.
    """
    for name in partitions:
        column = rows.column(name) if name in rows.column_names else None
        if column is None:
            continue
        if kinds.is_decimal(column.type) and pc.any(pc.less(column, pa.scalar(Decimal(0), column.type))).as_py():
            raise InvalidInput(
                f"partition column '{name}' has a negative decimal, which can't be kept as a partition",
                hint="don't partition by this column, or partition by a whole number or text made of it",
                column=name,
            )
        if kinds.is_binary(column.type) or kinds.is_large_binary(column.type):
            raise InvalidInput(
                f"partition column '{name}' is {column.type}, which can't be kept as a partition",
                hint="don't partition by this column, or partition by text made of it",
                column=name,
            )
        if kinds.is_string(column.type) and pc.any(pc.equal(column, _NULL_PARTITION)).as_py():
            raise InvalidInput(
                f"partition column '{name}' has the text {_NULL_PARTITION}, which stands for null in a partition",
                hint="give these rows another value, or don't partition by this column",
                column=name,
            )
        if kinds.is_string(column.type) and pc.any(pc.equal(column, "")).as_py():
            raise InvalidInput(
                f"partition column '{name}' has an empty text, which a partition can't be",
                hint="give these rows another value, or don't partition by this column",
                column=name,
            )


def refuse_unknown(rows: pa.Table, table: pa.Schema) -> None:
    """Raise InvalidInput where rows of keys name no column, or one that the table does not have."""
    unknown = new_columns(rows, table)
    if unknown or not rows.column_names:
        what = f"there is no column '{unknown[0]}'" if unknown else "no key columns were given"
        raise InvalidInput(what, hint=did_you_mean(unknown[0], table.names) if unknown else "name the rows by a key")


def refuse_missing(table: pa.Schema, given: pa.Schema) -> None:
    """Raise InvalidInput where a column that has no nulls is not given."""
    missing = [field.name for field in table if not field.nullable and field.name not in given.names]
    if missing:
        raise InvalidInput(f"column '{missing[0]}' is missing", hint="the table has no nulls in it: give its values")


def has_no(column: str) -> str:
    """The SQL condition that a row of the table (`old`) has no value in a column."""
    return f"old.{_quoted(column)} IS NULL"


def _equal(rows: pa.Table, key: str) -> str:
    # A hash join needs plain equality, and null-safe equality matters only where the new rows have a null key.
    null_safe = rows.column(key).null_count > 0
    return f"(old.{_quoted(key)} {'IS NOT DISTINCT FROM' if null_safe else '='} new.{_quoted(key)})"


def _within(column: pa.ChunkedArray, name: str) -> str | None:
    values = column.unique().to_pylist()
    literals = [_literal(value, column.type) for value in values]
    known = [literal for literal in literals if literal is not None]
    if not known or len(known) < len(values) or len(values) > _MOST_PARTITIONS:
        return None
    return f"old.{_quoted(name)} IN ({', '.join(known)})"


def _literal(value: object, kind: pa.DataType) -> str | None:
    """A value in SQL; None for null, and for types whose text form is not certain."""
    if value is None:
        return None
    if kinds.is_string(kind):
        return "'" + str(value).replace("'", "''") + "'"
    if kinds.is_integer(kind):
        return str(value)
    if kinds.is_boolean(kind):
        return "true" if value else "false"
    return f"DATE '{value}'" if kinds.is_date(kind) else None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
