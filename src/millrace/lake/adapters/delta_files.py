"""A Delta table's Parquet files, as pyarrow reads them; and delta-rs's errors, as ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.dataset
import pyarrow.fs
from deltalake import DeltaTable  # noqa: TID253 - this is its adapter
from deltalake.exceptions import (  # noqa: TID253 - this is its adapter
    CommitFailedError,
    DeltaError,
    TableNotFoundError,
)

from millrace.core.errors import InvalidInput, InvalidState, NotFound
from millrace.lake.types import Location, Version

MANY_FILES = 32
# delta-rs takes these in a path for URL syntax.
_UNREADABLE = "%[]^|"


def schema_of(table: DeltaTable) -> pa.Schema:
    """Columns and types of the version that is open."""
    return pa.schema(table.schema().to_arrow())


def partitions_of(table: DeltaTable) -> list[str]:
    """Names of the columns that it is partitioned by."""
    return list(table.metadata().partition_columns)


def has_rows(table: DeltaTable) -> bool:
    """Whether the version that is open has a file."""
    return len(pa.table(table.get_add_actions())) > 0


def dataset_of(table: DeltaTable, location: Location) -> pyarrow.dataset.Dataset:
    """The rows of the version that is open."""
    refuse_hidden_rows(table, location)
    filesystem, path = filesystem_of(location)
    rooted = pyarrow.fs.SubTreeFileSystem(path, filesystem)
    actions = pa.table(table.get_add_actions())
    if actions.num_rows > MANY_FILES or partitions_of(table):
        return table.to_pyarrow_dataset(
            filesystem=rooted
        )  # skips files by their statistics, which takes a while to set up
    files = [unquote(name) for name in actions.column("path").to_pylist()]
    return pyarrow.dataset.dataset(files, schema=schema_of(table), format="parquet", filesystem=rooted)


def rows_of(dataset: pyarrow.dataset.Dataset, columns: Sequence[str] | None, where: object) -> pa.Table:
    """The rows for which a pyarrow compute expression holds (None: all)."""
    names = dataset.schema.names if columns is None else list(columns)
    try:
        return dataset.to_table(columns=names, filter=where)
    except pa.ArrowNotImplementedError:
        # A merge writes text as views, which pyarrow can't compare in a file; in memory it is what the schema says.
        return dataset.to_table().filter(where).select(names)


def filesystem_of(location: Location) -> tuple[pyarrow.fs.FileSystem, str]:
    """Pyarrow's file system of a location, and the path in it."""
    if "://" in location:
        filesystem, path = pyarrow.fs.FileSystem.from_uri(location)
        return filesystem, path
    return pyarrow.fs.LocalFileSystem(), str(Path(location).absolute())


def refuse_hidden_rows(table: DeltaTable, location: Location) -> None:
    """Raise InvalidState for a table whose files alone do not say its rows."""
    features = set(table.protocol().reader_features or ())
    mapped = table.metadata().configuration.get("delta.columnMapping.mode", "none") != "none"
    if mapped or features & {"deletionVectors", "columnMapping"}:
        raise InvalidState(
            f"{location} uses {'column mapping' if mapped else 'deletion vectors'}, which can't be read here",
            hint="rewrite it without that table feature (purge deletion vectors, copy mapped columns to a new table)",
            location=location,
        )


def refuse_unnamed_partitions(table: DeltaTable, paths: Sequence[str], location: Location) -> None:
    """Raise InvalidState where the folders of files do not say the values of all partition columns: they would read as null."""
    columns = set(table.metadata().partition_columns)
    for folder in {path.rpartition("/")[0] for path in paths} if columns else ():
        missing = columns - {unquote(part.partition("=")[0]) for part in folder.split("/") if "=" in part}
        if missing:
            name = min(missing)
            raise InvalidState(
                f"the folders of {location} do not say the values of its partition column '{name}'",
                hint="copy its rows to a new table, under another column name where that has a '=' or '%'",
                location=location,
                column=name,
            )


def refuse_unreadable(location: Location) -> None:
    """Raise InvalidInput for a path that delta-rs would misread."""
    bad = next((character for character in _UNREADABLE if "://" not in location and character in location), None)
    if bad:
        raise InvalidInput(
            f"no table can be kept under {location}: its path has a '{bad}'",
            hint="choose a home whose path has none of " + " ".join(_UNREADABLE),
            location=location,
        )


@contextmanager
def delta_errors(location: Location, version: Version | None = None) -> Iterator[None]:
    """Raise ours for delta-rs's errors; a lost race stays CommitFailedError, for the caller to try again."""
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
