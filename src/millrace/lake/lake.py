"""The lake: tables by name, written with Clock time, read as of a version or a time."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from millrace.core.clock import Clock, iso, utc
from millrace.core.errors import AlreadyExists, Conflict, InvalidInput, NotFound
from millrace.core.names import TableName, did_you_mean
from millrace.core.principal import Principal
from millrace.lake.port import Catalog, TableStore
from millrace.lake.types import (
    CommitInfo,
    FileChanges,
    Location,
    TableDefinition,
    TableEntry,
    TableId,
    TableVersion,
    Version,
    VersionInfo,
)

if TYPE_CHECKING:
    import pyarrow as pa

_Write = Callable[[Location, CommitInfo], Version]


@dataclass(frozen=True, slots=True)
class Lake:
    """Tables of a workspace. All names may be given as text in one, two or three levels."""

    catalog: Catalog
    store: TableStore
    clock: Clock
    principal: Principal
    warehouse: str

    def create(
        self,
        name: str | TableName,
        schema: pa.Schema,
        definition: TableDefinition | None = None,
        *,
        rows: pa.Table | None = None,
        owner: str | None = None,
    ) -> TableEntry:
        """Make a table and enter it in the catalog: with its first rows, or not at all.

        Args:
            name: one to three levels.
            schema: all columns.
            definition: keys, time, rules.
            rows: its first rows, in the columns of the schema; None makes it empty.
            owner: who answers for it; None is who makes it.

        Raises:
            AlreadyExists: a table of that name is in the catalog.
            InvalidInput: a column that the definition names is not in the schema.
        """
        name, definition = TableName.parse(name), definition or TableDefinition()
        _refuse_unknown_columns(definition, schema)
        if self.catalog.find(name):
            raise AlreadyExists(f"table {name} exists", hint="choose another name, or drop it first", table=str(name))
        location = self._make(name, schema, definition, rows)
        now = self.clock.now()
        owner = owner or str(self.principal)
        entry = TableEntry(TableId(str(uuid.uuid4())), name, location, owner, now, now, definition)
        try:
            self.catalog.add(entry)
        except AlreadyExists:
            if rows is not None:
                self.store.remove(location)  # another was faster, and these rows are nobody's
            raise
        return entry

    def ensure(self, name: str | TableName, schema: pa.Schema, definition: TableDefinition | None = None) -> TableEntry:
        """The table of that name, made where it is missing."""
        name = TableName.parse(name)
        found = self.catalog.find(name)
        if found is not None:
            return found
        try:
            return self.create(name, schema, definition)
        except AlreadyExists:
            found = self.catalog.find(name)
            if found is None:
                raise
            return found  # somebody else made it between the look and the leap

    def append(
        self, name: str | TableName, rows: pa.Table, why: str = "append", transaction: tuple[str, int] | None = None
    ) -> TableVersion:
        """Add rows; with a transaction that the log already has, nothing happens."""
        return self._write(name, lambda at, commit: self.store.append(at, rows, commit), why, transaction)

    def merge(
        self,
        name: str | TableName,
        rows: pa.Table,
        keys: Sequence[str],
        why: str = "merge",
        unless: str | None = None,
    ) -> TableVersion:
        """Upsert rows by the key columns; those that have a value in the column `unless` already stay as they are."""
        return self._write(name, lambda at, commit: self.store.merge(at, rows, keys, commit, unless), why)

    def overwrite(
        self, name: str | TableName, rows: pa.Table, why: str = "overwrite", where: str | None = None
    ) -> TableVersion:
        """Replace all rows; or those for which a SQL predicate holds, which must hold for the new rows too."""
        return self._write(name, lambda at, commit: self.store.overwrite(at, rows, commit, where), why)

    def delete(self, name: str | TableName, predicate: str, why: str = "delete") -> TableVersion:
        """Remove the rows for which the SQL predicate holds."""
        return self._write(name, lambda at, commit: self.store.delete(at, predicate, commit), why)

    def delete_keys(
        self, name: str | TableName, keys: pa.Table, why: str = "delete by key"
    ) -> tuple[TableVersion, int]:
        """Remove, in one commit, the rows that agree with a row of `keys` in all its columns; and how many they were."""
        entry = self.entry(name)
        with _named(entry.name):
            version, deleted = self.store.delete_keys(entry.location, keys, self._commit(why))
        return TableVersion(entry.name, version), deleted

    def read(
        self,
        name: str | TableName,
        version: int | None = None,
        columns: Sequence[str] | None = None,
        where: object = None,
    ) -> pa.Table:
        """The rows of a version (None: the newest), in no order; `where` is a pyarrow compute expression."""
        entry = self.entry(name)
        with _named(entry.name):
            return self.store.read(entry.location, None if version is None else Version(version), columns, where)

    def batches(
        self,
        name: str | TableName,
        columns: Sequence[str],
        where: object = None,
        *,
        version: int | None = None,
        files: Sequence[str] | None = None,
        batch_rows: int = 16_384,
    ) -> Iterator[pa.RecordBatch]:
        """The rows of a version, or of files that `changes` told, in no order and some at a time; `where` as in `read`, but not on texts."""
        entry, pinned = self.entry(name), None if version is None else Version(version)
        with _named(entry.name):
            yield from self.store.batches(
                entry.location, columns, where, version=pinned, files=files, batch_rows=batch_rows
            )

    def changes(self, name: str | TableName, since: int, until: int) -> FileChanges | None:
        """The files that hold what changed after one version, up to another; None where that can't be told."""
        return self.store.changes(self.entry(name).location, Version(since), Version(until))

    def entry(self, name: str | TableName) -> TableEntry:
        """The catalog's entry.

        Raises:
            NotFound: no such table; the hint names the nearest one.
        """
        return self.catalog.get(TableName.parse(name))

    def exists(self, name: str | TableName) -> bool:
        """Whether the catalog has the table."""
        return self.catalog.find(TableName.parse(name)) is not None

    def schema(self, name: str | TableName, version: int | None = None) -> pa.Schema:
        """Columns and types of a version."""
        return self.store.schema(self.entry(name).location, None if version is None else Version(version))

    def history(self, name: str | TableName) -> Sequence[VersionInfo]:
        """All versions, oldest first."""
        return self.store.history(self.entry(name).location)

    def rows(self, name: str | TableName, version: int | None = None) -> int:
        """Row count of a version."""
        return self.store.rows(self.entry(name).location, None if version is None else Version(version))

    def pin(
        self, name: str | TableName, as_of: datetime | None = None, versions: Mapping[TableName, int] | None = None
    ) -> TableVersion:
        """The version to read: the one asked for, else the newest committed at or before `as_of` by the Clock, else the newest.

        Raises:
            NotFound: the table had no version yet at that time, or the version asked for does not exist.
        """
        name = TableName.parse(name)
        location = self.entry(name).location
        newest = self.store.version(location)
        asked = (versions or {}).get(name)
        if asked is not None:
            if not 0 <= asked <= newest:
                raise NotFound(
                    f"table {name} has no version {asked}",
                    hint=f"its versions are 0 to {newest}",
                    table=str(name),
                    version=asked,
                )
            return TableVersion(name, Version(asked))
        return TableVersion(name, newest if as_of is None else self._version_at(name, location, utc(as_of)))

    def describe(self, name: str | TableName, **changes: object) -> TableEntry:
        """Change parts of a table's definition (`tags=`, `description=`, `properties=`, ...)."""
        entry = self.entry(name)
        changed = replace(entry, definition=replace(entry.definition, **changes), updated_at=self.clock.now())  # type: ignore[arg-type]
        self.catalog.update(changed)
        return changed

    def hand_over(self, name: str | TableName, owner: str) -> TableEntry:
        """Let somebody else answer for the table."""
        changed = replace(self.entry(name), owner=owner, updated_at=self.clock.now())
        self.catalog.update(changed)
        return changed

    def drop(self, name: str | TableName) -> None:
        """Delete the table's files and take it out of the catalog; interrupted in between, it can be dropped again."""
        entry = self.entry(name)
        self.store.remove(entry.location)
        self.catalog.remove(entry.name)

    def _make(self, name: TableName, schema: pa.Schema, definition: TableDefinition, rows: pa.Table | None) -> Location:
        plain, commit = Location(f"{self.warehouse}/{name.catalog}/{name.schema}/{name.table}"), self._commit("create")
        try:
            self.store.create(plain, schema, definition, commit, rows)
        except AlreadyExists:
            # The place is taken, and not by a table of the catalog: somebody was killed between writing and entering
            # it, or is about to enter it. Either way it is not ours, and a place of one's own is always free.
            own = Location(f"{plain}-{uuid.uuid4().hex[:8]}")
            self.store.create(own, schema, definition, commit, rows)
            return own
        return plain

    def _write(
        self, name: str | TableName, write: _Write, why: str, transaction: tuple[str, int] | None = None
    ) -> TableVersion:
        entry = self.entry(name)
        with _named(entry.name):
            version = write(entry.location, self._commit(why, transaction))
        return TableVersion(entry.name, version)

    def _commit(self, why: str, transaction: tuple[str, int] | None = None) -> CommitInfo:
        return CommitInfo(self.clock.now(), self.principal, why, transaction)

    def _version_at(self, name: TableName, location: Location, as_of: datetime) -> Version:
        # A commit that millrace did not make has no Clock time: it counts as made with the one before it.
        seen: Version | None = None
        for info in self.store.history(location):
            if info.at is not None and info.at > as_of:
                break
            seen = info.version
        if seen is None:
            raise NotFound(
                f"table {name} had no version yet at {iso(as_of)}",
                hint=f"see `millrace table show {name}` for its versions",
                table=str(name),
            )
        return seen


@contextmanager
def _named(name: TableName) -> Iterator[None]:
    # The store knows locations only; who asked knows the name.
    try:
        yield
    except (InvalidInput, NotFound, Conflict) as error:
        raise type(error)(
            f"table {name}: {error.message}", error.hint, **{**error.facts, "table": str(name)}
        ) from error


def _refuse_unknown_columns(definition: TableDefinition, schema: pa.Schema) -> None:
    time = (definition.timeseries_column,) if definition.timeseries_column else ()
    for column in (*definition.primary_keys, *time, *definition.partition_columns):
        if column not in schema.names:
            raise InvalidInput(
                f"column '{column}' is not in the schema", hint=did_you_mean(column, schema.names), column=column
            )
