"""What the lake needs from the world: a catalog, a store of tables, and an engine that runs feature code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from millrace.core.names import TableName
from millrace.lake.types import CommitInfo, FileChanges, Location, TableDefinition, TableEntry, Version, VersionInfo

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession


class Catalog(Protocol):
    """Which tables there are. Thread- and process-safe; what returned is durable.

    Raises (all methods): NotFound for an unknown name, with the nearest known name as hint; AlreadyExists from `add`.
    """

    def add(self, entry: TableEntry) -> None: ...

    def get(self, name: TableName) -> TableEntry: ...

    def find(self, name: TableName) -> TableEntry | None: ...

    def list(self, catalog: str | None = None, schema: str | None = None) -> Sequence[TableEntry]:
        """All entries, sorted by name."""
        ...

    def update(self, entry: TableEntry) -> None:
        """Replace the entry with the same id."""
        ...

    def remove(self, name: TableName) -> None: ...


class TableStore(Protocol):
    """Delta tables by location. Process-safe: each write is one atomic commit, reloaded and retried on conflict.

    Frames are Arrow tables. Timestamps are stored as microseconds UTC; naive ones are UTC; nanoseconds that would lose
    precision raise InvalidInput. A missing location raises NotFound.
    """

    def create(
        self,
        location: Location,
        schema: pa.Schema,
        definition: TableDefinition,
        commit: CommitInfo,
        rows: pa.Table | None = None,
    ) -> Version:
        """Make a table: empty, or with its first rows in the same commit, so that it is there with them or not at all.

        Where an empty one with these columns is already there (an interrupted create), nothing is done; another table
        raises AlreadyExists and is not touched.
        """
        ...

    def append(self, location: Location, rows: pa.Table, commit: CommitInfo) -> Version:
        """Add rows; columns that the table does not have are added to its schema. A changed type raises InvalidInput."""
        ...

    def overwrite(self, location: Location, rows: pa.Table, commit: CommitInfo, where: str | None = None) -> Version:
        """Replace all rows, and the schema with them.

        With `where`, a SQL predicate, only the rows for which it holds; it must hold for the new rows, and the schema stays.
        """
        ...

    def merge(
        self,
        location: Location,
        rows: pa.Table,
        keys: Sequence[str],
        commit: CommitInfo,
        unless: str | None = None,
    ) -> Version:
        """Upsert by the key columns (a null key equals a null key); unknown columns are added to the schema.

        Columns that the rows lack keep their values, and are null in new rows. Two rows with one key raise InvalidInput.
        Rows that have a value in the column `unless` stay as they are, also where another writer gives it at this moment.
        """
        ...

    def delete(self, location: Location, predicate: str, commit: CommitInfo) -> Version:
        """Remove the rows for which the SQL predicate holds."""
        ...

    def delete_keys(self, location: Location, keys: pa.Table, commit: CommitInfo) -> tuple[Version, int]:
        """Remove, in one commit, the rows that agree with a row of `keys` in all its columns; and how many they were.

        Where there are none, there is no commit. A key may be given twice. Unknown columns raise InvalidInput.
        """
        ...

    def schema(self, location: Location, version: Version | None = None) -> pa.Schema: ...

    def version(self, location: Location) -> Version:
        """The newest version."""
        ...

    def history(self, location: Location) -> Sequence[VersionInfo]:
        """All versions that the log still knows, oldest first."""
        ...

    def read(
        self,
        location: Location,
        version: Version | None = None,
        columns: Sequence[str] | None = None,
        where: object = None,
    ) -> pa.Table:
        """The rows of a version (None: the newest); `where` is a pyarrow compute expression that is pushed down.

        Their order is not part of a table: sort what has to be in order.
        """
        ...

    def batches(
        self,
        location: Location,
        columns: Sequence[str],
        where: object = None,
        *,
        version: Version | None = None,
        files: Sequence[str] | None = None,
        batch_rows: int = ...,
    ) -> Iterator[pa.RecordBatch]:
        """The rows of a version (None: the newest), some at a time: a table may be larger than memory.

        As `read`, but that `where` must not compare texts, which may be stored in several forms. With `files`, paths that
        `changes` told, the rows of just those, as the version would read them.
        """
        ...

    def changes(self, location: Location, since: Version, until: Version) -> FileChanges | None:
        """The files that hold what changed after one version, up to another, told without reading rows.

        What merely moved to other files (a compaction) is not among them. None where that can't be told: an old commit
        or file is gone, a column's type changed, or `since` is the newer one.
        """
        ...

    def files(self, location: Location, version: Version | None = None) -> Sequence[str]:
        """Paths of the Parquet files of a version, for engines that read them.

        Partition columns are in the paths, Hive style and as text, and not in the files. Old files lack new columns
        (read them by name). A table whose files alone do not say its rows (deletion vectors) raises InvalidState.
        """
        ...

    def rows(self, location: Location, version: Version | None = None) -> int:
        """Row count from the log's statistics."""
        ...

    def size_bytes(self, location: Location) -> int:
        """Bytes of the newest version's files."""
        ...

    def remove(self, location: Location) -> None:
        """Delete the files; nothing where there are none."""
        ...


class SqlReader(Protocol):
    """Reads the lake by SQL (DuckDB's dialect), and nothing else: no write, no file, no setting. Thread-safe."""

    def read(
        self, sql: str, now: datetime, limit: int = 10_000, *, parameters: Mapping[str, str] | None = None
    ) -> pa.Table:
        """The first rows of a SELECT over tables by name, at their newest versions; `now()` and `current_date` mean `now`.

        `:name` in it stands for the parameter of that name, bound as a text literal would be, never pasted. None: `:` means nothing.

        Raises:
            InvalidInput: it is not one SELECT, names what is not there, or can't be computed; the hint names the nearest table. A
                `:name` has no parameter, or a parameter no `:name`.
            InvalidState: it took too long, or a table's files can't be read.
        """
        ...


class SparkEngine(Protocol):
    """Runs PySpark. Thread-safe, with one session for all threads; `session` starts the engine on first use."""

    def session(self) -> SparkSession:
        """The session of this engine; the same one each time until `close`, or until somebody stops it."""
        ...

    def read(self, location: Location, version: Version) -> DataFrame:
        """A lazy frame over one version of a Delta table."""
        ...

    def at(
        self, now: object, tables: Mapping[TableName, DataFrame], cut: Callable[[TableName], DataFrame] | None = None
    ) -> AbstractContextManager[SparkSession]:
        """The session with `current_date` and `current_timestamp` meaning `now` (an aware datetime), and the frames readable by their names.

        Any other name is asked of `cut` (None: there is none), once; it raises NotFound for what is no table. In this thread
        nothing else can be read (no path, no frame, no view that was made outside), and nothing be written: InvalidInput.
        An engine whose clock can't be set refuses those functions.

        Frames are lazy: what is to be computed at that time has to be computed before this ends. One thread at a time.
        """
        ...

    def close(self) -> None:
        """Stop the session, then the server (in that order: the other way the interpreter never exits). Idempotent."""
        ...
