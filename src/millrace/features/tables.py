"""Feature tables: made with keys, written by merging on them, so that a row is one key at one time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from millrace.core.clock import iso
from millrace.core.errors import InvalidInput
from millrace.core.names import TableName, did_you_mean
from millrace.features.identity import is_time, key_column, key_family
from millrace.lake.lake import Lake
from millrace.lake.types import DateStandsFor, TableDefinition, TableEntry, TableVersion

_SHOWN = 5


def create_feature_table(
    lake: Lake,
    name: str | TableName,
    schema: pa.Schema,
    *,
    primary_keys: str | Sequence[str],
    timeseries_column: str | None = None,
    available_after: timedelta = timedelta(0),
    date_stands_for: DateStandsFor = "end",
    partition_columns: Sequence[str] = (),
    description: str = "",
    tags: Mapping[str, str] | None = None,
    role: str = "features",
) -> TableEntry:
    """Make an empty feature table.

    Args:
        lake: where to make it.
        name: one to three levels.
        schema: all columns, keys and time included.
        primary_keys: whole numbers, text, booleans, dates, times, decimals or bytes; the timeseries column may be
            named among them and does not count as one.
        timeseries_column: a timestamp or a date; with it a row is one key at one time.
        available_after: how long after its event time a row can be seen.
        date_stands_for: which end of its day a DATE event time means.
        partition_columns: Delta partition columns.
        description: for people.
        tags: free key and value.
        role: what the table is for: `features` or `labels`.

    Raises:
        AlreadyExists: a table of that name exists.
        InvalidInput: a key or the time is missing in the schema or can't be one.
    """
    named = (primary_keys,) if isinstance(primary_keys, str) else tuple(primary_keys)
    keys = tuple(key for key in named if key != timeseries_column)
    _check_definition(schema, keys, timeseries_column, partition_columns, available_after)
    definition = TableDefinition(
        description=description,
        tags=dict(tags or {}),
        primary_keys=keys,
        timeseries_column=timeseries_column,
        available_after=available_after,
        date_stands_for=date_stands_for,
        partition_columns=tuple(partition_columns),
        role=role,
    )
    return lake.create(name, schema, definition)


def write_feature_rows(
    lake: Lake, name: str | TableName, rows: pa.Table, why: str = "write", *, mode: str = "merge"
) -> TableVersion:
    """Upsert rows on keys and time. The same rows written twice are there once.

    New columns are added to the table. Columns that the rows lack keep their values, and are null in new rows.

    Raises:
        NotFound: no such table.
        InvalidInput: duplicates or nulls in keys or time, a column of another type, or a mode other than `merge`.
    """
    if mode != "merge":
        raise InvalidInput(
            f"feature tables are not written with mode '{mode}'",
            hint="use mode='merge'; to start afresh delete the rows, or drop and create the table",
            mode=mode,
        )
    entry = lake.entry(name)
    if not entry.definition.primary_keys:
        raise InvalidInput(
            f"table {entry.name} is not a feature table: it has no primary keys",
            hint="append to it, or create a feature table",
            table=str(entry.name),
        )
    identity = identity_columns(entry.definition)
    check_identity(rows, identity, str(entry.name))
    _check_key_types(rows, lake.schema(entry.name), identity, str(entry.name))
    if not len(rows):
        return lake.pin(entry.name)
    return lake.merge(entry.name, rows, identity, why)


def identity_columns(definition: TableDefinition) -> tuple[str, ...]:
    """Primary keys and the timeseries column: what is unique in a table."""
    time = definition.timeseries_column
    return definition.primary_keys if time is None else (*definition.primary_keys, time)


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
    counted = pa.table(compared).append_column("__row", pa.array(range(len(rows)), pa.int64()))
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


def _check_key_types(rows: pa.Table, schema: pa.Schema, identity: Sequence[str], table: str) -> None:
    for name in identity:
        given, stored = rows.schema.field(name).type, schema.field(name).type
        if key_family(given) != key_family(stored):
            raise InvalidInput(
                f"'{name}' is {given} in the rows and {stored} in {table}",
                hint=f"make it a {stored}",
                table=table,
                column=name,
            )


def _check_definition(
    schema: pa.Schema,
    keys: Sequence[str],
    time: str | None,
    partitions: Sequence[str],
    available_after: timedelta,
) -> None:
    if not keys:
        raise InvalidInput("a feature table needs a primary key", hint="name its key columns in primary_keys")
    if len(set(keys)) < len(keys):
        raise InvalidInput("primary_keys names a column twice", hint="name each column once")
    for name in (*keys, *partitions, *([] if time is None else [time])):
        if name not in schema.names:
            raise InvalidInput(f"the schema has no column '{name}'", hint=did_you_mean(name, schema.names), column=name)
    for name in keys:
        if key_family(schema.field(name).type) in (None, "null"):
            raise InvalidInput(
                f"'{name}' is {schema.field(name).type}, which can't be a key",
                hint="use whole numbers, text, booleans, dates, times, decimals or bytes",
                column=name,
            )
    if time is not None and not is_time(schema.field(time).type):
        raise InvalidInput(
            f"the timeseries column '{time}' is {schema.field(time).type}, not a time",
            hint="make it a timestamp or a date",
            column=time,
        )
    if available_after < timedelta(0) or (available_after and time is None):
        raise InvalidInput(
            "available_after needs a timeseries column and can't be negative",
            hint="give a positive timedelta and name the timeseries column",
        )
