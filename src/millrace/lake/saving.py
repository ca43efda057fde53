"""A frame saved under a name by a session: what Spark's save modes mean for tables of the lake."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from millrace.core.errors import AlreadyExists, InvalidInput
from millrace.core.names import TableName, did_you_mean
from millrace.lake.lake import Lake
from millrace.lake.types import TableDefinition, TableEntry, TableVersion

if TYPE_CHECKING:
    import pyarrow as pa

SaveMode = Literal["error", "ignore", "append", "overwrite", "insert", "refill", "replace"]
_WHY = "saved by a Spark session"


def save_rows(
    lake: Lake,
    name: TableName,
    rows: Callable[[], pa.Table],
    mode: SaveMode,
    *,
    partitions: Sequence[str] = (),
    description: str = "",
) -> TableVersion | None:
    """Write rows to a table, which is made and entered in the catalog where it is missing; None where nothing was to be done.

    Args:
        lake: where.
        name: the table.
        rows: computes the rows; called only where they are needed.
        mode: `error` refuses an existing table, `ignore` leaves it as it is, `append` adds rows by column names,
            `overwrite` replaces rows and columns; of a table that must be there, `insert` adds rows, `refill` replaces the
            rows, and `replace` rows and columns. Numbers are turned into the table's own kinds where its columns stay, if
            nothing of them is lost.
        partitions: partition columns of a new table; an existing one has to have the same.
        description: of a new table.

    Raises:
        AlreadyExists: the table is there, and the mode is `error`.
        NotFound: the table is not there, and the mode is `insert` or `replace`.
        InvalidInput: it is a feature table, or one that millrace keeps, or has other partition columns.
    """
    found = lake.catalog.find(name)
    if found is None and mode in {"insert", "refill", "replace"}:
        lake.entry(name)  # says what is missing
    if found is not None and mode == "ignore":
        return None
    if found is not None and mode == "error":
        raise AlreadyExists(
            f"table {name} exists", hint="use mode('append') or mode('overwrite'), or another name", table=str(name)
        )
    if found is not None:
        _check_writable(found, partitions)
    if found is not None:
        return _change(lake, found, rows(), mode)
    made = rows()
    _check_partitions(name, made, partitions)
    definition = TableDefinition(description, partition_columns=tuple(partitions))
    lake.create(name, made.schema, definition, rows=made)
    return lake.pin(name)


def check_own(entry: TableEntry, what: str) -> None:
    """Refuse a change by a session to a table that has rules of its own.

    Raises:
        InvalidInput: it is a feature table, or one that millrace keeps.
    """
    if entry.definition.primary_keys:
        raise InvalidInput(
            f"{entry.name} has primary keys, which {what} would not check",
            hint="use FeatureEngineeringClient: write_table, delete_rows, drop_table",
            table=str(entry.name),
        )
    if entry.definition.role != "table":
        raise InvalidInput(
            f"{entry.name} is kept by millrace ({entry.definition.role})",
            hint="save your rows in a table of your own",
            table=str(entry.name),
        )


def _check_writable(entry: TableEntry, partitions: Sequence[str]) -> None:
    check_own(entry, "a session's write")
    if partitions and tuple(partitions) != tuple(entry.definition.partition_columns):
        raise InvalidInput(
            f"{entry.name} is partitioned by {_listed(entry.definition.partition_columns)}, not by {_listed(partitions)}",
            hint="leave partitionBy out, or drop the table first",
            table=str(entry.name),
        )


def _change(lake: Lake, entry: TableEntry, rows: pa.Table, mode: SaveMode) -> TableVersion:
    if mode not in {"overwrite", "replace"}:
        rows = _assigned(rows, lake.schema(entry.name), str(entry.name))
    if mode not in {"overwrite", "replace", "refill"}:
        return lake.append(entry.name, rows, _WHY)
    if mode == "refill":
        rows = _completed(rows, lake.schema(entry.name))
    _check_partitions(entry.name, rows, entry.definition.partition_columns)
    return lake.overwrite(entry.name, rows, _WHY)


def _assigned(rows: pa.Table, schema: pa.Schema, table: str) -> pa.Table:
    """Numbers and columns of nothing but nulls as the kinds that the table stores, as Spark assigns them; all else as it is."""
    import pyarrow as pa

    for index, column in enumerate(rows.schema):
        kind = schema.field(column.name).type if column.name in schema.names else column.type
        if kind == column.type or not (pa.types.is_null(column.type) or (_is_number(kind) and _is_number(column.type))):
            continue
        try:
            values = rows.column(index).cast(kind)
        except pa.ArrowInvalid as error:
            raise InvalidInput(
                f"table {table}: values of '{column.name}' ({column.type}) don't fit into {kind}: {error}",
                hint="cast or round them yourself",
                column=column.name,
            ) from error
        rows = rows.set_column(index, pa.field(column.name, kind), values)
    return rows


def _completed(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """All columns of the table, null where the rows lack them."""
    import pyarrow as pa

    for column in schema:
        if column.name not in rows.column_names:
            rows = rows.append_column(column, pa.nulls(rows.num_rows, column.type))
    return rows.select(schema.names)


def _is_number(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _check_partitions(name: TableName, rows: pa.Table, partitions: Sequence[str]) -> None:
    for column in partitions:
        if column not in rows.column_names:
            raise InvalidInput(
                f"{name} is partitioned by '{column}', which the rows lack",
                hint=did_you_mean(column, rows.column_names),
                column=column,
            )
    if partitions and len(set(partitions)) == rows.num_columns:
        raise InvalidInput(
            f"{name} is partitioned by all of its columns", hint="leave one in the files, or drop the table first"
        )


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(columns) or "nothing"
