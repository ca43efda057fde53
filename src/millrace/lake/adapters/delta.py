"""Tables as Delta tables, written and read with delta-rs.

A table's rows are read with pyarrow over its Parquet files through pyarrow's own file systems: delta-rs's Python file
handler can abort the interpreter at exit. Row order is not part of a table: sort what has to be in order.
"""

from __future__ import annotations

import secrets
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.fs
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake  # noqa: TID253 - this is its adapter
from deltalake.exceptions import (  # noqa: TID253 - this is its adapter
    CommitFailedError,
    DeltaError,
    TableNotFoundError,
)

from millrace.core.clock import epoch_us, from_epoch_us
from millrace.core.errors import AlreadyExists, Conflict, InvalidInput, InvalidState, NotFound
from millrace.core.names import did_you_mean
from millrace.lake.adapters.delta_versions import OpenedVersions
from millrace.lake.columns import conform, new_columns, refuse_duplicate_keys, storable, storable_schema
from millrace.lake.types import CommitInfo, Location, TableDefinition, Version, VersionInfo

# As-of reads need the whole log, and training records need the files of old versions: neither is ever cut by itself.
_KEEP = {
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 3650 days",
    # Opening a table replays its log from the last checkpoint: every 10 commits makes that, and each write, several times faster.
    "delta.checkpointInterval": "10",
}
_ATTEMPTS = 60
# delta-rs takes these in a path for URL syntax.
_UNREADABLE = "%[]^|"
_LONGEST_WAIT_S = 0.5
_MANY_FILES = 32


class DeltaTableStore:
    """Delta tables on a local path or on an object store that both delta-rs and pyarrow know. Thread-safe.

    Versions that were opened for reading are remembered: they never change, and replaying a log takes milliseconds.
    """

    def __init__(self) -> None:
        self._opened = OpenedVersions()

    def create(self, location: Location, schema: pa.Schema, definition: TableDefinition, commit: CommitInfo) -> Version:
        """Make an empty table; where the same one is already there (an interrupted create), do nothing.

        Raises:
            AlreadyExists: another table is there, with other columns and with data.
        """
        stored = storable_schema(schema)
        _refuse_unreadable(location)
        existing = self._existing(location)
        if existing is not None and _schema(existing) != stored:
            if existing.version() > 0:
                raise AlreadyExists(
                    f"{location} holds another table", hint="move it away, or choose another name", location=location
                )
            self.remove(location)  # nothing was ever written to it: an interrupted create with other columns
            existing = None
        if existing is None:
            self._make(location, stored, definition, commit)
        return self.version(location)

    def append(self, location: Location, rows: pa.Table, commit: CommitInfo) -> Version:
        """Add rows; new columns are added to the schema; a changed type raises InvalidInput. No rows: no commit."""

        def write(table: DeltaTable) -> None:
            schema = _schema(table)
            fitting, added = conform(rows, schema), new_columns(rows, schema)
            if fitting.num_rows or added:
                write_deltalake(
                    table,
                    fitting,
                    mode="append",
                    schema_mode="merge" if added else None,
                    commit_properties=_properties(commit),
                )

        return self._commit(location, commit, write)

    def overwrite(self, location: Location, rows: pa.Table, commit: CommitInfo) -> Version:
        """Replace all rows, and the schema with them."""
        stored = storable(rows)

        def write(table: DeltaTable) -> None:
            write_deltalake(
                table, stored, mode="overwrite", schema_mode="overwrite", commit_properties=_properties(commit)
            )

        return self._commit(location, commit, write)

    def merge(self, location: Location, rows: pa.Table, keys: Sequence[str], commit: CommitInfo) -> Version:
        """Upsert by the key columns (null equals null). Columns that the rows lack keep their values, null in new rows.

        Raises:
            InvalidInput: two of the rows have the same key; a changed type.
        """
        refuse_duplicate_keys(rows, keys)

        def write(table: DeltaTable) -> None:
            schema = _schema(table)
            fitting, added = conform(rows, schema, fill=False), new_columns(rows, schema)
            _refuse_missing(schema, fitting.schema)
            if not fitting.num_rows:
                return
            table.merge(
                fitting,
                _same_key(fitting, keys),
                source_alias="new",
                target_alias="old",
                merge_schema=bool(added),
                commit_properties=_properties(commit),
            ).when_matched_update_all().when_not_matched_insert_all().execute()

        return self._commit(location, commit, write)

    def delete(self, location: Location, predicate: str, commit: CommitInfo) -> Version:
        """Remove the rows for which the SQL predicate holds."""
        return self._commit(
            location, commit, lambda table: table.delete(predicate, commit_properties=_properties(commit))
        )

    def schema(self, location: Location, version: Version | None = None) -> pa.Schema:
        """Columns and types of a version."""
        return _schema(self._open(location, version))

    def version(self, location: Location) -> Version:
        """The newest version."""
        return Version(self._open(location).version())

    def history(self, location: Location) -> Sequence[VersionInfo]:
        """All versions that the log still knows, oldest first."""
        with _delta_errors(location):
            return [_version_info(entry) for entry in reversed(self._open(location).history())]

    def read(
        self,
        location: Location,
        version: Version | None = None,
        columns: Sequence[str] | None = None,
        where: object = None,
    ) -> pa.Table:
        """The rows of a version (None: the newest), in no order; `where` is a pyarrow compute expression."""
        table = self._open(location, version)
        known = _schema(table).names
        unknown = [name for name in columns or () if name not in known]
        if unknown:
            raise NotFound(f"there is no column '{unknown[0]}'", hint=did_you_mean(unknown[0], known))
        return _dataset(table, location).to_table(columns=list(columns) if columns is not None else None, filter=where)

    def files(self, location: Location, version: Version | None = None) -> Sequence[str]:
        """Paths of a version's Parquet files. Partition columns are not in the files but in their paths, Hive style.

        Raises:
            InvalidState: the table has deletion vectors or mapped columns, so that its files alone do not say its rows.
        """
        table = self._open(location, version)
        _refuse_hidden_rows(table, location)
        if "://" in location:
            return sorted(table.file_uris())
        # delta-rs gives local paths with a space or an umlaut URL-encoded; the log's paths are encoded once.
        paths = pa.table(table.get_add_actions()).column("path").to_pylist()
        return sorted(str(Path(location).absolute() / unquote(path)) for path in paths)

    def rows(self, location: Location, version: Version | None = None) -> int:
        """Row count: from the log's statistics, counted where a file has none."""
        table = self._open(location, version)
        _refuse_hidden_rows(table, location)
        counts = pa.table(table.get_add_actions()).column("num_records")
        if counts.null_count:
            return int(_dataset(table, location).count_rows())
        return int(pc.sum(counts).as_py() or 0)

    def size_bytes(self, location: Location) -> int:
        """Bytes of the newest version's files."""
        sizes = pa.table(self._open(location).get_add_actions()).column("size_bytes")
        return int(pc.sum(sizes).as_py() or 0)

    def remove(self, location: Location) -> None:
        """Delete the files; nothing where there are none. On a local path the table is gone at once, then its files."""
        filesystem, path = _filesystem(location)
        if not isinstance(filesystem, pyarrow.fs.LocalFileSystem):
            if filesystem.get_file_info(path).type is not pyarrow.fs.FileType.NotFound:
                filesystem.delete_dir(path)
            return
        grave = Path(path).with_name(f".dropped-{uuid.uuid4().hex}")
        if Path(path).is_dir():
            Path(path).rename(grave)
            shutil.rmtree(grave)

    def _open(self, location: Location, version: Version | None = None) -> DeltaTable:
        """A version, for reading only."""
        with _delta_errors(location, version):
            return self._opened.get(location, version)

    def _open_to_write(self, location: Location) -> DeltaTable:
        """The newest version, as an object of its own: writing changes it."""
        with _delta_errors(location):
            return DeltaTable(location)

    def _existing(self, location: Location) -> DeltaTable | None:
        return self._open(location) if DeltaTable.is_deltatable(location) else None

    def _make(self, location: Location, schema: pa.Schema, definition: TableDefinition, commit: CommitInfo) -> None:
        try:
            with _delta_errors(location):
                DeltaTable.create(
                    location,
                    schema,
                    partition_by=list(definition.partition_columns) or None,
                    configuration=_KEEP,
                    # Tried again, it would put a second definition on top of the one that another process just made.
                    commit_properties=_properties(commit, retries=0),
                )
        except (CommitFailedError, InvalidInput):
            if self._existing(location) is None:
                raise

    def _commit(self, location: Location, commit: CommitInfo, write: Callable[[DeltaTable], object]) -> Version:
        # Two writers at once: the later one fails, whatever it wrote. It looks at the table again and writes again.
        for attempt in range(_ATTEMPTS):
            table = self._open_to_write(location)
            if _already_there(table, commit):
                break
            try:
                with _delta_errors(location):
                    write(table)
                break
            except CommitFailedError:
                time.sleep(_wait_s(attempt))
        else:
            raise Conflict(
                f"{location} is being changed by others: gave up after {_ATTEMPTS} attempts",
                hint="try again when the other writers are done",
                location=location,
            )
        _compact(table, location, commit)
        return Version(table.version())


def _compact(table: DeltaTable, location: Location, commit: CommitInfo) -> None:
    """Many small commits leave many small files, and reading opens each: now and then they are made into one."""
    if table.metadata().partition_columns or len(pa.table(table.get_add_actions())) < _MANY_FILES:
        return
    try:
        with _delta_errors(location):
            table.optimize.compact(commit_properties=_properties(replace(commit, why="compact", transaction=None)))
    except CommitFailedError:  # another writer was first: the next commit compacts
        table.update_incremental()


def _refuse_unreadable(location: Location) -> None:
    bad = next((character for character in _UNREADABLE if "://" not in location and character in location), None)
    if bad:
        raise InvalidInput(
            f"no table can be kept under {location}: its path has a '{bad}'",
            hint="choose a home whose path has none of " + " ".join(_UNREADABLE),
            location=location,
        )


def _wait_s(attempt: int) -> float:
    longest = min(_LONGEST_WAIT_S, 0.01 * 2.0 ** min(attempt, 10))
    return longest * (1 + secrets.randbelow(1000)) / 1000


def _already_there(table: DeltaTable, commit: CommitInfo) -> bool:
    if commit.transaction is None:
        return False
    seen = table.transaction_version(commit.transaction[0])
    return seen is not None and seen >= commit.transaction[1]


def _properties(commit: CommitInfo, retries: int | None = None) -> CommitProperties:
    about = {"millrace.at": str(epoch_us(commit.at)), "millrace.by": str(commit.by), "millrace.why": commit.why}
    transactions = None if commit.transaction is None else [Transaction(*commit.transaction)]
    return CommitProperties(custom_metadata=about, max_commit_retries=retries, app_transactions=transactions)


def _version_info(entry: dict[str, object]) -> VersionInfo:
    at, by = entry.get("millrace.at"), entry.get("millrace.by")
    return VersionInfo(
        version=Version(int(str(entry["version"]))),
        at=None if at is None else from_epoch_us(int(str(at))),
        operation=_operation(entry),
        by=None if by is None else str(by),
        why=str(entry.get("millrace.why", "")),
    )


def _operation(entry: dict[str, object]) -> str:
    # Delta calls both a write: only its parameters tell rows that were added from rows that were replaced.
    parameters = entry.get("operationParameters")
    mode = parameters.get("mode") if isinstance(parameters, dict) else None
    return "OVERWRITE" if str(mode).lower() == "overwrite" else str(entry.get("operation", ""))


def _schema(table: DeltaTable) -> pa.Schema:
    return pa.schema(table.schema().to_arrow())


def _dataset(table: DeltaTable, location: Location) -> pyarrow.dataset.Dataset:
    _refuse_hidden_rows(table, location)
    filesystem, path = _filesystem(location)
    rooted = pyarrow.fs.SubTreeFileSystem(path, filesystem)
    actions = pa.table(table.get_add_actions())
    if actions.num_rows > _MANY_FILES or table.metadata().partition_columns:
        return table.to_pyarrow_dataset(
            filesystem=rooted
        )  # skips files by their statistics, which takes a while to set up
    files = [unquote(name) for name in actions.column("path").to_pylist()]
    return pyarrow.dataset.dataset(files, schema=_schema(table), format="parquet", filesystem=rooted)


def _filesystem(location: Location) -> tuple[pyarrow.fs.FileSystem, str]:
    if "://" in location:
        filesystem, path = pyarrow.fs.FileSystem.from_uri(location)
        return filesystem, path
    return pyarrow.fs.LocalFileSystem(), str(Path(location).absolute())


def _same_key(rows: pa.Table, keys: Sequence[str]) -> str:
    # A hash join needs plain equality, and null-safe equality matters only where the new rows have a null key.
    return " AND ".join(
        f"(old.{_quoted(key)} {'IS NOT DISTINCT FROM' if rows.column(key).null_count else '='} new.{_quoted(key)})"
        for key in keys
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _refuse_missing(table: pa.Schema, given: pa.Schema) -> None:
    missing = [field.name for field in table if not field.nullable and field.name not in given.names]
    if missing:
        raise InvalidInput(f"column '{missing[0]}' is missing", hint="the table has no nulls in it: give its values")


def _refuse_hidden_rows(table: DeltaTable, location: Location) -> None:
    features = set(table.protocol().reader_features or ())
    mapped = table.metadata().configuration.get("delta.columnMapping.mode", "none") != "none"
    if mapped or features & {"deletionVectors", "columnMapping"}:
        raise InvalidState(
            f"{location} uses {'column mapping' if mapped else 'deletion vectors'}, which can't be read here",
            hint="rewrite it without that table feature (purge deletion vectors, copy mapped columns to a new table)",
            location=location,
        )


@contextmanager
def _delta_errors(location: Location, version: Version | None = None) -> Iterator[None]:
    try:
        yield
    except CommitFailedError:
        raise
    except TableNotFoundError as error:
        raise NotFound(
            f"there is no table at {location}", hint="was it moved or deleted?", location=location
        ) from error
    except DeltaError as error:
        if version is not None:
            raise NotFound(
                f"there is no version {version}",
                hint="it is newer than the newest, or its log is gone",
                location=location,
            ) from error
        raise InvalidInput(
            f"the storage refused: {error}", hint="the reason is the storage's own", location=location
        ) from error
