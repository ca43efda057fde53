"""The catalog of tables in the workspace database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Engine, Row, Select, and_, delete, select, update
from sqlalchemy.exc import IntegrityError

from millrace.core.clock import epoch_us, from_epoch_us
from millrace.core.errors import AlreadyExists, NotFound
from millrace.core.names import TableName, did_you_mean
from millrace.database.schema import tables
from millrace.database.writes import insert_new
from millrace.lake.types import Location, TableDefinition, TableEntry, TableId

_MICROSECOND = timedelta(microseconds=1)


class SqlCatalog:
    """A `Catalog` in the `tables` table."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, entry: TableEntry) -> None:
        """Enter a new table."""
        with self._engine.begin() as connection:
            if insert_new(connection, tables, _row(entry)) is None:
                raise _taken(entry.name)

    def get(self, name: TableName) -> TableEntry:
        """The entry of that name."""
        entry = self.find(name)
        if entry is None:
            raise self._unknown(name)
        return entry

    def find(self, name: TableName) -> TableEntry | None:
        """The entry of that name, or None."""
        found = self._entries(select(tables).where(_named(name)))
        return found[0] if found else None

    def list(self, catalog: str | None = None, schema: str | None = None) -> Sequence[TableEntry]:
        """All entries, sorted by name."""
        query = select(tables)
        if catalog is not None:
            query = query.where(tables.c.catalog == catalog)
        if schema is not None:
            query = query.where(tables.c.schema == schema)
        # Sorted here: databases disagree on where an underscore comes.
        return sorted(self._entries(query), key=lambda entry: entry.name)

    def update(self, entry: TableEntry) -> None:
        """Replace the entry with the same id."""
        try:
            with self._engine.begin() as connection:
                changed = connection.execute(update(tables).where(tables.c.id == entry.id).values(_row(entry)))
        except IntegrityError as error:
            raise _taken(entry.name) from error
        if not changed.rowcount:
            raise self._unknown(entry.name)

    def remove(self, name: TableName) -> None:
        """Forget the table of that name."""
        with self._engine.begin() as connection:
            removed = connection.execute(delete(tables).where(_named(name)))
        if not removed.rowcount:
            raise self._unknown(name)

    def _entries(self, query: Select[Any]) -> Sequence[TableEntry]:
        with self._engine.connect().execution_options(read_only=True) as connection:
            return [_entry(row) for row in connection.execute(query)]

    def _unknown(self, name: TableName) -> NotFound:
        known = [str(entry.name) for entry in self.list()]
        hint = did_you_mean(str(name), known) if known else f"import it first: millrace table import {name} FILE"
        return NotFound(f"table {name} does not exist", hint=hint, table=str(name))


def _named(name: TableName) -> ColumnElement[bool]:
    return and_(tables.c.catalog == name.catalog, tables.c.schema == name.schema, tables.c.name == name.table)


def _taken(name: TableName) -> AlreadyExists:
    return AlreadyExists(f"table {name} exists", hint="choose another name, or drop it first", table=str(name))


def _row(entry: TableEntry) -> Mapping[str, object]:
    return {
        "id": entry.id,
        "catalog": entry.name.catalog,
        "schema": entry.name.schema,
        "name": entry.name.table,
        "location": entry.location,
        "owner": entry.owner,
        "created_us": epoch_us(entry.created_at),
        "updated_us": epoch_us(entry.updated_at),
        "definition": _definition_document(entry.definition),
    }


def _entry(row: Row[Any]) -> TableEntry:
    return TableEntry(
        id=TableId(row.id),
        name=TableName(row.catalog, row.schema, row.name),
        location=Location(row.location),
        owner=row.owner,
        created_at=from_epoch_us(row.created_us),
        updated_at=from_epoch_us(row.updated_us),
        definition=_definition(row.definition),
    )


def _definition_document(definition: TableDefinition) -> Mapping[str, object]:
    return {
        "description": definition.description,
        "tags": dict(definition.tags),
        "primary_keys": list(definition.primary_keys),
        "timeseries_column": definition.timeseries_column,
        "available_after_us": definition.available_after // _MICROSECOND,
        "date_stands_for": definition.date_stands_for,
        "partition_columns": list(definition.partition_columns),
        "freshness_us": None if definition.freshness is None else definition.freshness // _MICROSECOND,
        "role": definition.role,
        "properties": dict(definition.properties),
    }


def _definition(document: Mapping[str, Any]) -> TableDefinition:
    return TableDefinition(
        description=document["description"],
        tags=document["tags"],
        primary_keys=tuple(document["primary_keys"]),
        timeseries_column=document["timeseries_column"],
        available_after=document["available_after_us"] * _MICROSECOND,
        date_stands_for=document["date_stands_for"],
        partition_columns=tuple(document["partition_columns"]),
        freshness=_duration(document.get("freshness_us")),  # homes of the first version have none
        role=document["role"],
        properties=document["properties"],
    )


def _duration(microseconds: int | None) -> timedelta | None:
    return None if microseconds is None else microseconds * _MICROSECOND
