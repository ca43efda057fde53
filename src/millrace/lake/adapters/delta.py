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
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.fs
from deltalake import DeltaTable, write_deltalake  # noqa: TID253 - this is its adapter
from deltalake.exceptions import CommitFailedError  # noqa: TID253 - this is its adapter

from millrace.core.errors import AlreadyExists, Conflict, InvalidInput, NotFound
from millrace.core.names import did_you_mean
from millrace.lake.adapters.delta_changes import dataset_of_files, file_changes
from millrace.lake.adapters.delta_compact import Compactions
from millrace.lake.adapters.delta_files import (
    dataset_of,
    delta_errors,
    filesystem_of,
    has_rows,
    partitions_of,
    refuse_hidden_rows,
    refuse_unnamed_partitions,
    refuse_unreadable,
    rows_of,
    schema_of,
)
from millrace.lake.adapters.delta_keys import has_no, refuse_missing, refuse_unfit_partitions, refuse_unknown, same_key
from millrace.lake.adapters.delta_log import already_there, commit_properties, version_info
from millrace.lake.adapters.delta_statistics import statistics_columns, writer_properties
from millrace.lake.adapters.delta_stream import batches_of
from millrace.lake.adapters.delta_versions import OpenedVersions
from millrace.lake.columns import conform, new_columns, refuse_duplicate_keys, storable, storable_schema
from millrace.lake.types import CommitInfo, FileChanges, Location, TableDefinition, Version, VersionInfo

# As-of reads need the whole log, and training records need the files of old versions: neither is ever cut by itself.
_KEEP = {
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 3650 days",
    # Opening a table replays its log from the last checkpoint: every 10 commits makes that, and each write, several times faster.
    "delta.checkpointInterval": "10",
}
_ATTEMPTS = 60
_LONGEST_WAIT_S = 0.5
_BATCH_ROWS = 16_384  # pyarrow reads ahead sixteen times what it takes for one, unless told otherwise


class DeltaTableStore:
    """Delta tables on a local path or on an object store that both delta-rs and pyarrow know. Thread-safe.

    Versions that were opened for reading are remembered: they never change, and replaying a log takes milliseconds.
    """

    def __init__(self) -> None:
        self._opened, self._compactions = OpenedVersions(), Compactions()

    def create(
        self,
        location: Location,
        schema: pa.Schema,
        definition: TableDefinition,
        commit: CommitInfo,
        rows: pa.Table | None = None,
    ) -> Version:
        """Make a table: empty, or with its first rows in the same commit.

        An empty one that is already there with these columns (an interrupted create) is left as it is.

        Raises:
            AlreadyExists: another table is there: with other columns, or with rows of its own.
        """
        stored = storable_schema(schema)
        refuse_unreadable(location)
        existing = self._existing(location)
        if existing is not None and (rows is not None or schema_of(existing) != stored):
            if rows is not None or existing.version() > 0 or has_rows(existing):
                raise _taken(location)
            self.remove(location)  # nothing was ever written to it: an interrupted create
            existing = None
        if existing is None:
            self._make(location, stored, definition, commit, None if rows is None else storable(rows))
        if rows is None and has_rows(self._open(location, Version(0))):
            raise _taken(location)
        return self.version(location)

    def append(self, location: Location, rows: pa.Table, commit: CommitInfo) -> Version:
        """Add rows; new columns are added to the schema; a changed type raises InvalidInput. No rows: no commit."""

        def write(table: DeltaTable) -> None:
            schema = schema_of(table)
            fitting, added = conform(rows, schema), new_columns(rows, schema)
            refuse_unfit_partitions(fitting, partitions_of(table))
            if fitting.num_rows or added:
                write_deltalake(
                    table,
                    fitting,
                    mode="append",
                    schema_mode="merge" if added else None,
                    writer_properties=writer_properties(schema, fitting.schema),
                    commit_properties=commit_properties(commit),
                )

        return self._commit(location, commit, write)

    def overwrite(self, location: Location, rows: pa.Table, commit: CommitInfo, where: str | None = None) -> Version:
        """Replace all rows and the schema with them; or, within the schema, those for which `where` holds."""
        stored = storable(rows)

        def write(table: DeltaTable) -> None:
            fitting = stored if where is None else conform(rows, schema_of(table))
            refuse_unfit_partitions(fitting, partitions_of(table))
            write_deltalake(
                table,
                fitting,
                mode="overwrite",
                schema_mode="overwrite" if where is None else None,
                predicate=where,
                writer_properties=writer_properties(fitting.schema),
                commit_properties=commit_properties(commit),
            )

        return self._commit(location, commit, write)

    def merge(
        self,
        location: Location,
        rows: pa.Table,
        keys: Sequence[str],
        commit: CommitInfo,
        unless: str | None = None,
    ) -> Version:
        """Upsert by the key columns (null equals null). Columns that the rows lack keep their values, null in new rows.

        Rows that have a value in the column `unless` stay as they are, also where another writer gives it at this moment.

        Raises:
            InvalidInput: two of the rows have the same key; a changed type.
        """
        refuse_duplicate_keys(rows, keys)

        def write(table: DeltaTable) -> None:
            schema = schema_of(table)
            fitting, added = conform(rows, schema, fill=False), new_columns(rows, schema)
            refuse_missing(schema, fitting.schema)
            refuse_unfit_partitions(fitting, partitions_of(table))
            if not fitting.num_rows:
                return
            table.merge(
                fitting,
                same_key(fitting, keys, partitions_of(table)),
                source_alias="new",
                target_alias="old",
                merge_schema=bool(added),
                writer_properties=writer_properties(schema, fitting.schema),
                commit_properties=commit_properties(commit),
            ).when_matched_update_all(
                None if unless is None else has_no(unless)
            ).when_not_matched_insert_all().execute()

        return self._commit(location, commit, write)

    def delete(self, location: Location, predicate: str, commit: CommitInfo) -> Version:
        """Remove the rows for which the SQL predicate holds."""

        def write(table: DeltaTable) -> None:
            table.delete(predicate, writer_properties(schema_of(table)), commit_properties=commit_properties(commit))

        return self._commit(location, commit, write)

    def delete_keys(self, location: Location, keys: pa.Table, commit: CommitInfo) -> tuple[Version, int]:
        """Remove the rows that agree with a row of `keys` in all its columns; and how many they were.

        No rows: no commit. Keys may be there more than once, and a null key is the key of a null.

        Raises:
            InvalidInput: a column of another type, or one that the table does not have.
        """
        deleted = 0

        def write(table: DeltaTable) -> None:
            nonlocal deleted
            schema = schema_of(table)
            refuse_unknown(keys, schema)
            names = keys.column_names
            fitting = conform(keys, schema, fill=False).group_by(names).aggregate([]).select(names)
            if not fitting.num_rows:
                return
            done = (
                table.merge(
                    fitting,
                    same_key(fitting, names, partitions_of(table)),
                    source_alias="new",
                    target_alias="old",
                    writer_properties=writer_properties(schema),
                    commit_properties=commit_properties(commit),
                )
                .when_matched_delete()
                .execute()
            )
            deleted = int(done["num_target_rows_deleted"])

        return self._commit(location, commit, write), deleted

    def schema(self, location: Location, version: Version | None = None) -> pa.Schema:
        """Columns and types of a version."""
        return schema_of(self._open(location, version))

    def version(self, location: Location) -> Version:
        """The newest version."""
        return Version(self._open(location).version())

    def history(self, location: Location) -> Sequence[VersionInfo]:
        """All versions that the log still knows, oldest first."""
        with delta_errors(location):
            return [version_info(entry) for entry in reversed(self._open(location).history())]

    def read(
        self,
        location: Location,
        version: Version | None = None,
        columns: Sequence[str] | None = None,
        where: object = None,
    ) -> pa.Table:
        """The rows of a version (None: the newest), in no order; `where` is a pyarrow compute expression."""
        return rows_of(self._dataset(location, version, columns or ()), columns, where)

    def batches(
        self,
        location: Location,
        columns: Sequence[str],
        where: object = None,
        *,
        version: Version | None = None,
        files: Sequence[str] | None = None,
        batch_rows: int = _BATCH_ROWS,
    ) -> Iterator[pa.RecordBatch]:
        """The rows of a version, or of some files, some at a time; `where` must not compare texts, which a merge leaves in another form."""
        dataset = self._dataset(location, version, columns)
        if files is not None:
            partitions = partitions_of(self._open(location, version))
            dataset = dataset_of_files(location, files, dataset.schema, partitions)
        yield from batches_of(dataset, columns, where, batch_rows, is_local="://" not in location)

    def changes(self, location: Location, since: Version, until: Version) -> FileChanges | None:
        """The files with what changed; None where that can't be told."""
        try:
            before, after = schema_of(self._open(location, since)), schema_of(self._open(location, until))
        except NotFound:
            return None
        refuse_hidden_rows(self._open(location, until), location)
        if since > until or any(
            name in before.names and before.field(name).type != after.field(name).type for name in after.names
        ):
            return None
        return file_changes(location, since, until)

    def files(self, location: Location, version: Version | None = None) -> Sequence[str]:
        """Paths of a version's Parquet files. Partition columns are not in the files but in their paths, Hive style.

        Raises:
            InvalidState: the table has deletion vectors or mapped columns, or folders without its partition values, so that
                its files alone do not say its rows.
        """
        table = self._open(location, version)
        refuse_hidden_rows(table, location)
        # delta-rs gives local paths with a space or an umlaut URL-encoded; the log's paths are encoded once.
        paths = [unquote(path) for path in pa.table(table.get_add_actions()).column("path").to_pylist()]
        refuse_unnamed_partitions(table, paths, location)
        if "://" in location:
            return sorted(table.file_uris())
        return sorted(str(Path(location).absolute() / path) for path in paths)

    def rows(self, location: Location, version: Version | None = None) -> int:
        """Row count: from the log's statistics, counted where a file has none."""
        table = self._open(location, version)
        refuse_hidden_rows(table, location)
        counts = pa.table(table.get_add_actions()).column("num_records")
        if counts.null_count:
            return int(dataset_of(table, location).count_rows())
        return int(pc.sum(counts).as_py() or 0)

    def size_bytes(self, location: Location) -> int:
        """Bytes of the newest version's files."""
        sizes = pa.table(self._open(location).get_add_actions()).column("size_bytes")
        return int(pc.sum(sizes).as_py() or 0)

    def remove(self, location: Location) -> None:
        """Delete the files; nothing where there are none. On a local path the table is gone at once, then its files."""
        filesystem, path = filesystem_of(location)
        if not isinstance(filesystem, pyarrow.fs.LocalFileSystem):
            if filesystem.get_file_info(path).type is not pyarrow.fs.FileType.NotFound:
                filesystem.delete_dir(path)
            return
        grave = Path(path).with_name(f".dropped-{uuid.uuid4().hex}")
        if Path(path).is_dir():
            Path(path).rename(grave)
            shutil.rmtree(grave)

    def _dataset(self, location: Location, version: Version | None, columns: Sequence[str]) -> pyarrow.dataset.Dataset:
        """A version, refused where it lacks one of the columns."""
        table = self._open(location, version)
        known = schema_of(table).names
        unknown = [name for name in columns if name not in known]
        if unknown:
            raise NotFound(f"there is no column '{unknown[0]}'", hint=did_you_mean(unknown[0], known))
        return dataset_of(table, location)

    def _open(self, location: Location, version: Version | None = None) -> DeltaTable:
        """A version, for reading only."""
        with delta_errors(location, version):
            return self._opened.get(location, version)

    def _open_to_write(self, location: Location) -> DeltaTable:
        """The newest version, as an object of its own: writing changes it."""
        with delta_errors(location):
            return DeltaTable(location)

    def _existing(self, location: Location) -> DeltaTable | None:
        return self._open(location) if DeltaTable.is_deltatable(location) else None

    def _make(
        self,
        location: Location,
        schema: pa.Schema,
        definition: TableDefinition,
        commit: CommitInfo,
        rows: pa.Table | None = None,
    ) -> None:
        # Tried again, it would put a second definition on top of the one that another process just made.
        once, partitions = commit_properties(commit, retries=0), list(definition.partition_columns) or None
        settings = {**_KEEP, "delta.dataSkippingStatsColumns": statistics_columns(schema)}
        refuse_unfit_partitions(schema.empty_table() if rows is None else rows, definition.partition_columns)
        try:
            with delta_errors(location):
                if rows is None:
                    DeltaTable.create(
                        location, schema, partition_by=partitions, configuration=settings, commit_properties=once
                    )
                else:
                    write_deltalake(
                        location,
                        rows,
                        mode="error",
                        writer_properties=writer_properties(schema),
                        partition_by=partitions,
                        configuration=settings,
                        commit_properties=once,
                    )
        except (CommitFailedError, InvalidInput):
            if self._existing(location) is None:
                raise
            if rows is not None:
                raise _taken(location) from None

    def _commit(self, location: Location, commit: CommitInfo, write: Callable[[DeltaTable], object]) -> Version:
        # Two writers at once: the later one fails, whatever it wrote. It looks at the table again and writes again.
        for attempt in range(_ATTEMPTS):
            table = self._open_to_write(location)
            if already_there(table, commit):
                break
            try:
                with delta_errors(location):
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
        self._compactions.after(table, location, commit)
        return Version(table.version())


def _wait_s(attempt: int) -> float:
    longest = min(_LONGEST_WAIT_S, 0.01 * 2.0 ** min(attempt, 10))
    return longest * (1 + secrets.randbelow(1000)) / 1000


def _taken(location: Location) -> AlreadyExists:
    return AlreadyExists(
        f"{location} holds another table", hint="move it away, or choose another name", location=location
    )
