"""Feature tables: made with keys, written by merging on them, so that a row is one key at one time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import pyarrow as pa

from millrace.core.errors import AlreadyExists, InvalidInput
from millrace.core.names import TableName, did_you_mean
from millrace.features.table_definition import check_definition, check_freshness
from millrace.features.table_rows import check_identity, check_key_types
from millrace.lake.columns import conform, storable_schema
from millrace.lake.lake import Lake
from millrace.lake.types import DateStandsFor, TableDefinition, TableEntry, TableVersion

__all__ = [
    "DeletedRows",
    "check_identity",
    "create_feature_table",
    "delete_feature_rows",
    "identity_columns",
    "update_feature_table",
    "write_feature_rows",
]


@dataclass(frozen=True, slots=True)
class DeletedRows:
    """What a deletion did: the table's version after it, and how many rows are gone."""

    table: TableVersion
    rows: int


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
    freshness: timedelta | None = None,
    description: str = "",
    tags: Mapping[str, str] | None = None,
    owner: str | None = None,
    role: str = "features",
    rows: pa.Table | None = None,
) -> TableEntry:
    """Make a feature table: empty, or with its first rows in the same commit.

    Args:
        lake: where to make it.
        name: one to three levels.
        schema: all columns, keys and time included.
        primary_keys: whole numbers, text, booleans, dates, times, decimals or bytes; the timeseries column may be
            named among them and does not count as one.
        timeseries_column: a timestamp or a date; with it a row is one key at one time.
        available_after: how long after its event time a row can be seen.
        date_stands_for: which end of its day a DATE event time means.
        partition_columns: Delta partition columns: whole numbers, text, booleans or dates. Where they are keys, writers
            of different partitions do not wait for each other.
        freshness: how old the newest available row may be before the table counts as late; None: nobody says.
        description: for people.
        tags: free key and value.
        owner: who answers for the table; None is who makes it.
        role: what the table is for: `features` or `labels`.
        rows: the first rows; they are there when the table is, or there is no table.

    Raises:
        AlreadyExists: a table of that name exists.
        InvalidInput: a key or the time is missing in the schema or can't be one; duplicates or nulls in the rows' keys.
    """
    named = (primary_keys,) if isinstance(primary_keys, str) else tuple(primary_keys)
    definition = TableDefinition(
        description=description,
        tags=dict(tags or {}),
        primary_keys=tuple(key for key in named if key != timeseries_column),
        timeseries_column=timeseries_column,
        available_after=available_after,
        date_stands_for=date_stands_for,
        partition_columns=tuple(partition_columns),
        freshness=freshness,
        role=role,
    )
    name = TableName.parse(name)
    if lake.exists(name):
        raise AlreadyExists(f"table {name} exists", hint="choose another name, or drop it first", table=str(name))
    check_definition(definition, schema)
    if rows is not None:
        identity = identity_columns(definition)
        check_identity(rows, identity, str(name))
        check_key_types(rows, schema, identity, str(name))
        rows = conform(rows, storable_schema(schema))
    return lake.create(name, schema if rows is None else rows.schema, definition, rows=rows, owner=owner)


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
    entry = _feature_table(lake, name)
    identity = identity_columns(entry.definition)
    check_identity(rows, identity, str(entry.name))
    check_key_types(rows, lake.schema(entry.name), identity, str(entry.name))
    if not len(rows):
        return lake.pin(entry.name)
    return lake.merge(entry.name, rows, identity, why)


def delete_feature_rows(lake: Lake, name: str | TableName, keys: pa.Table, why: str = "delete by key") -> DeletedRows:
    """Remove the rows of the given keys: all of a key's times, or, where the keys come with times, those rows alone.

    One atomic commit, however many keys; keys that are not there, or twice in the list, do no harm. Earlier versions
    keep the rows, as training records need them.

    Args:
        lake: where the table is.
        name: the feature table.
        keys: the primary keys, under their names and of their types; with the timeseries column or without it.
        why: for the table's history.

    Raises:
        NotFound: no such table.
        InvalidInput: a key column is missing, null or of another type, or there is a column that is no key.
    """
    entry = _feature_table(lake, name)
    table, allowed = str(entry.name), identity_columns(entry.definition)
    for column in keys.column_names:
        if column not in allowed:
            raise InvalidInput(
                f"'{column}' is not a key of {table}",
                hint=f"give {', '.join(entry.definition.primary_keys)}"
                + (f", and {entry.definition.timeseries_column} for single rows" if len(allowed) > 1 else ""),
                column=column,
            )
    given = [column for column in allowed if column in keys.column_names]
    _check_deleted(keys, entry.definition, table)
    check_key_types(keys, lake.schema(entry.name), given, table)
    version, rows = lake.delete_keys(entry.name, keys.select(given), why)
    return DeletedRows(version, rows)


def update_feature_table(
    lake: Lake,
    name: str | TableName,
    *,
    description: str | None = None,
    owner: str | None = None,
    freshness: timedelta | None = None,
) -> TableEntry:
    """Change what may change without changing an answer: description, owner, the freshness that is expected.

    Keys, time and availability stay as they are: training sets of before were made by them.

    Raises:
        NotFound: no such table.
        InvalidInput: a freshness that is not positive.
    """
    entry = _feature_table(lake, name)
    check_freshness(freshness)
    changes: dict[str, object] = {}
    if description is not None:
        changes["description"] = description
    if freshness is not None:
        changes["freshness"] = freshness
    if changes:
        entry = lake.describe(entry.name, **changes)
    return entry if owner is None else lake.hand_over(entry.name, owner)


def identity_columns(definition: TableDefinition) -> tuple[str, ...]:
    """Primary keys and the timeseries column: what is unique in a table."""
    time = definition.timeseries_column
    return definition.primary_keys if time is None else (*definition.primary_keys, time)


def _feature_table(lake: Lake, name: str | TableName) -> TableEntry:
    entry = lake.entry(name)
    if not entry.definition.primary_keys:
        raise InvalidInput(
            f"table {entry.name} is not a feature table: it has no primary keys",
            hint="append to it, or create a feature table",
            table=str(entry.name),
        )
    return entry


def _check_deleted(keys: pa.Table, definition: TableDefinition, table: str) -> None:
    for column in definition.primary_keys:
        if column not in keys.column_names:
            raise InvalidInput(
                f"the keys for {table} have no column '{column}'",
                hint=did_you_mean(column, keys.column_names),
                column=column,
            )
    for column in keys.column_names:
        if keys.column(column).null_count:
            raise InvalidInput(
                f"'{column}' is null in {keys.column(column).null_count} of {len(keys)} keys for {table}",
                hint="leave them out: no row has a null key",
                column=column,
            )
