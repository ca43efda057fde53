"""`spark.catalog` over the workspace's tables."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from pyspark.errors import PySparkException  # noqa: TID253 - this is its adapter
from pyspark.sql.catalog import CatalogMetadata, Column, Database, Table  # noqa: TID253 - this is its adapter
from pyspark.sql.connect.catalog import Catalog  # noqa: TID253 - this is its adapter

from millrace.core.errors import InvalidInput, NotFound
from millrace.core.names import DEFAULT_CATALOG, DEFAULT_SCHEMA, did_you_mean
from millrace.lake.adapters.lake_writes import save
from millrace.lake.adapters.session_scope import current, refuse
from millrace.lake.saving import check_own
from millrace.lake.sql.tokens import name_parts
from millrace.lake.types import TableEntry


class LakeCatalog(Catalog):  # type: ignore[misc]  # pyspark is untyped
    """PySpark's catalog: tables, schemas and catalogs are the workspace's; temporary views and functions are the engine's."""

    def __init__(self, session: Any) -> None:
        super().__init__(session)
        self._session = session

    def currentCatalog(self) -> str:  # noqa: N802 - PySpark's name
        """The catalog that a name of two levels is in."""
        return DEFAULT_CATALOG

    def currentDatabase(self) -> str:  # noqa: N802 - PySpark's name
        """The schema that a name of one level is in."""
        return DEFAULT_SCHEMA

    def setCurrentCatalog(self, catalogName: str) -> None:  # noqa: N802, N803 - PySpark's name
        """Refused, but for the default."""
        if catalogName != DEFAULT_CATALOG:
            raise _fixed("catalog")

    def setCurrentDatabase(self, dbName: str) -> None:  # noqa: N802, N803 - PySpark's name
        """Refused, but for the default."""
        if dbName not in {DEFAULT_SCHEMA, f"{DEFAULT_CATALOG}.{DEFAULT_SCHEMA}"}:
            raise _fixed("schema")

    def listCatalogs(self, pattern: str | None = None) -> list[CatalogMetadata]:  # noqa: N802 - PySpark's name
        """The catalogs that have tables, and the default one."""
        names = sorted({DEFAULT_CATALOG, *(entry.name.catalog for entry in self._entries())})
        return [CatalogMetadata(name, None) for name in names if _fits(name, pattern)]

    def listDatabases(self, pattern: str | None = None) -> list[Database]:  # noqa: N802 - PySpark's name
        """The schemas that have tables, and the default one."""
        names = sorted({(DEFAULT_CATALOG, DEFAULT_SCHEMA), *((e.name.catalog, e.name.schema) for e in self._entries())})
        return [Database(schema, catalog, None, "") for catalog, schema in names if _fits(schema, pattern)]

    def databaseExists(self, dbName: str) -> bool:  # noqa: N802, N803 - PySpark's name
        """Whether a schema (`schema` or `catalog.schema`) has tables, or is the default one."""
        return _schema(dbName) in {(database.catalog, database.name) for database in self.listDatabases()}

    def getDatabase(self, dbName: str) -> Database:  # noqa: N802, N803 - PySpark's name
        """A schema.

        Raises:
            NotFound: no table is in it.
        """
        found = {(database.catalog, database.name): database for database in self.listDatabases()}
        if _schema(dbName) not in found:
            raise NotFound(f"schema {dbName} has no tables", hint=did_you_mean(dbName, [name for _, name in found]))
        return found[_schema(dbName)]

    def listTables(self, dbName: str | None = None, pattern: str | None = None) -> list[Table]:  # noqa: N802, N803 - PySpark's name
        """The tables of a schema (None: of all), and temporary views."""
        asked = None if dbName is None else _schema(dbName)
        entries = [e for e in self._entries() if asked is None or (e.name.catalog, e.name.schema) == asked]
        tables = [_table(entry) for entry in entries if _fits(entry.name.table, pattern)]
        return tables + [view for view in self._views() if _fits(view.name, pattern)]

    def getTable(self, tableName: str) -> Table:  # noqa: N802, N803 - PySpark's name
        """A table or temporary view."""
        entry = self._entry(tableName)
        return super().getTable(tableName) if entry is None else _table(entry)

    def tableExists(self, tableName: str, dbName: str | None = None) -> bool:  # noqa: N802, N803 - PySpark's name
        """Whether there is a table or temporary view of that name."""
        name = tableName if dbName is None else f"{dbName}.{tableName}"
        if self._entry(name) is not None:
            return True
        parts = name_parts(name) or ()
        if len(parts) == 1:
            return any(view.name.lower() == parts[0].lower() for view in self._views())
        with suppress(PySparkException):
            return current() is None and bool(super().tableExists(name))
        return False

    def listColumns(self, tableName: str, dbName: str | None = None) -> list[Column]:  # noqa: N802, N803 - PySpark's name
        """The columns of a table."""
        name = tableName if dbName is None else f"{dbName}.{tableName}"
        entry = self._entry(name)
        if entry is None:
            return list(super().listColumns(name))
        partitions = entry.definition.partition_columns
        return [
            Column(
                name=field.name,
                description=None,
                dataType=field.dataType.simpleString(),
                nullable=field.nullable,
                isPartition=field.name in partitions,
                isBucket=False,
                isCluster=False,
            )
            for field in self._session.table(name).schema
        ]

    def createTable(  # noqa: N802 - PySpark's name
        self,
        tableName: str,  # noqa: N803 - PySpark's name
        path: str | None = None,
        source: str | None = None,
        schema: Any = None,
        description: str | None = None,
        **options: str,
    ) -> Any:
        """Make an empty table of the workspace.

        Raises:
            InvalidInput: no schema, or a place or format of its own.
            AlreadyExists: a table of that name exists.
        """
        from pyspark.sql.pandas.types import to_arrow_schema

        if current() is not None:
            raise refuse("make a table", "return the frame")
        if path or source not in {None, "delta"} or options or schema is None:
            raise InvalidInput(
                f"{tableName} can't be made like this", hint="give schema= only: the workspace chooses the place"
            )
        save(
            self._session,
            tableName,
            to_arrow_schema(schema, timezone="UTC").empty_table(),
            "error",
            description=description or "",
        )
        return self._session.table(tableName)

    def dropTable(self, tableName: str, ifExists: bool = False, purge: bool = False) -> None:  # noqa: N802, N803, FBT001, FBT002 - PySpark's
        """Drop a table of the workspace that is no feature table."""
        if current() is not None:
            raise refuse("drop a table", "return the frame")
        entry = self._entry(tableName)
        if entry is None:
            super().dropTable(tableName, ifExists, purge)
            return
        check_own(entry, "dropTable")
        self._session.lake.drop(entry.name)

    def truncateTable(self, tableName: str) -> None:  # noqa: N802, N803 - PySpark's name
        """Remove all rows of a table."""
        self._session.sql(f"DELETE FROM {tableName}")

    def dropTempView(self, viewName: str) -> bool:  # noqa: N802, N803 - PySpark's name
        """Drop a temporary view; False where there is none, on every engine."""
        scope = current()
        if scope is not None and viewName.lower() not in scope.views:
            raise refuse(f"drop the view {viewName}", "it was made outside")
        self._session.outer_views.discard(viewName.lower())
        try:
            return bool(super().dropTempView(viewName))
        except PySparkException:  # Sail's answer to a view that it does not have
            if any(view.name.lower() == viewName.lower() for view in self._views()):
                raise
            return False

    def _entry(self, name: str) -> TableEntry | None:
        parts = name_parts(name)
        found: TableEntry | None = self._session.entry(parts) if parts else None
        return found

    def _entries(self) -> Sequence[TableEntry]:
        lake = self._session.lake
        return [] if lake is None else lake.catalog.list()

    def _views(self) -> list[Table]:
        return [table for table in super().listTables() if table.isTemporary]


def _table(entry: TableEntry) -> Table:
    name = entry.name
    return Table(name.table, name.catalog, [name.schema], entry.definition.description or None, "MANAGED", False)


def _schema(text: str) -> tuple[str, str]:
    parts = name_parts(text) or (text,)
    return (parts[0], parts[1]) if len(parts) > 1 else (DEFAULT_CATALOG, parts[0])


def _fits(name: str, pattern: str | None) -> bool:
    return pattern is None or any(fnmatch.fnmatchcase(name.lower(), one.strip().lower()) for one in pattern.split("|"))


def _fixed(what: str) -> InvalidInput:
    return InvalidInput(f"the current {what} can't be changed", hint="write it before the table's name")
