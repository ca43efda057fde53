"""A feature table's Parquet files as parts (row groups), each read only as far as it is needed."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq

from millrace.core.errors import InvalidState
from millrace.features.types import FeatureSource

_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_REMEMBERED = 512
_BATCH_BYTES = 32 << 20


class Footers:
    """Footers of Parquet files that were read before. Thread-safe."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, int, int], pq.FileMetaData] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, path: str, filesystem: pyarrow.fs.FileSystem) -> pq.FileMetaData:
        """The file's footer. A local file is looked at again each time: it may have been replaced."""
        key = (path, 0, 0)
        if isinstance(filesystem, pyarrow.fs.LocalFileSystem):
            found = Path(path).stat()
            key = (path, found.st_size, found.st_mtime_ns)
        with self._lock:
            footer = self._known.get(key)
            if footer is not None:
                self._known.move_to_end(key)
                return footer
        with pq.ParquetFile(path, filesystem=filesystem) as file:
            footer = file.metadata
        with self._lock:
            self._known[key] = footer
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        return footer


@dataclass(frozen=True, slots=True)
class Part:
    """One row group of one file.

    Attributes:
        source: the table; columns come in the types of its schema.
        group: the row group's number in its file.
        first: number of its first row, counted over all parts of the table.
        rows: how many.
        folders: values of partition columns as text; None is null.
    """

    source: FeatureSource
    path: str
    filesystem: pyarrow.fs.FileSystem
    footer: pq.FileMetaData
    group: int
    first: int
    rows: int
    folders: dict[str, str | None]

    def read(self, names: Sequence[str]) -> pa.Table:
        """These columns, each in one chunk; null where the file is older than the column."""
        with pq.ParquetFile(
            self.path, filesystem=self.filesystem, metadata=self.footer, coerce_int96_timestamp_unit="us"
        ) as file:
            stored = [name for name in names if name not in self.folders and name in file.schema_arrow.names]
            found = file.read_row_group(self.group, columns=stored, use_threads=False) if stored else None
        return pa.table([self._column(name, found) for name in names], names=list(names))

    def batches(self, names: Sequence[str]) -> list[list[str]]:
        """The columns in groups that take at most some ten megabytes when read, or one column where that takes more."""
        sizes = self._sizes()
        batches: list[list[str]] = [[]]
        filled = 0
        for name in names:
            size = sizes.get(name, 0)
            if batches[-1] and filled + size > _BATCH_BYTES:
                batches.append([])
                filled = 0
            batches[-1].append(name)
            filled += size
        return batches

    def bounds(self, name: str) -> tuple[int | datetime | date, int | datetime | date] | None:
        """Least and greatest value of a column of whole numbers or times, where the file says them."""
        if name in self.folders:
            return None
        group = self.footer.row_group(self.group)
        for place in range(group.num_columns):
            column = group.column(place)
            if column.path_in_schema == name:
                return _bounds(column.statistics)
        return None

    def _sizes(self) -> dict[str, int]:
        group = self.footer.row_group(self.group)
        sizes: dict[str, int] = {}
        for place in range(group.num_columns):
            column = group.column(place)
            top = column.path_in_schema.partition(".")[0]
            for name in {top, column.path_in_schema}:
                sizes[name] = sizes.get(name, 0) + column.total_uncompressed_size
        return sizes

    def _column(self, name: str, found: pa.Table | None) -> pa.Array:
        kind = self.source.schema.field(name).type
        if name in self.folders:
            return pa.repeat(_from_text(self.folders[name], kind), self.rows)
        if found is None or name not in found.column_names:
            return pa.nulls(self.rows, kind)
        column = found.column(name)
        whole = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
        if isinstance(whole, pa.ChunkedArray):  # an empty column has no chunk
            whole = pa.concat_arrays(whole.chunks) if whole.num_chunks else pa.array([], kind)
        return whole if whole.type == kind else whole.cast(kind)


def list_parts(source: FeatureSource, footers: Footers) -> Iterator[Part]:
    """All parts of a table, numbered through.

    Raises:
        InvalidState: a file is gone or damaged.
    """
    first = 0
    for uri in source.files:
        filesystem, path = _place(uri)
        try:
            footer = footers.of(path, filesystem)
        except (OSError, pa.ArrowException) as error:
            raise unreadable(source) from error
        folders = _folders(uri, source)
        for group in range(footer.num_row_groups):
            rows = footer.row_group(group).num_rows
            if rows:
                yield Part(source, path, filesystem, footer, group, first, rows, folders)
            first += rows


def unreadable(source: FeatureSource) -> InvalidState:
    """What to say where a file of the table can't be read."""
    return InvalidState(
        f"the files of {source.table} can't be read",
        hint="they may have been removed by a vacuum; choose a newer version",
        table=str(source.table),
    )


def _place(uri: str) -> tuple[pyarrow.fs.FileSystem, str]:
    if "://" not in uri:
        return pyarrow.fs.LocalFileSystem(), uri
    filesystem, path = pyarrow.fs.FileSystem.from_uri(uri)
    return filesystem, path


def _folders(uri: str, source: FeatureSource) -> dict[str, str | None]:
    """Partition values from the folder names below the table's (`region=EU/`), without their escapes."""
    values: dict[str, str | None] = {}
    for folder in uri.removeprefix(str(source.location)).split("/")[:-1]:
        name, sign, text = folder.partition("=")
        if sign and unquote(name) in source.schema.names:
            values[unquote(name)] = None if text in ("", _NO_VALUE) else unquote(text)
    return values


def _from_text(text: str | None, kind: pa.DataType) -> pa.Scalar:
    if text is not None and pa.types.is_timestamp(kind):
        # Arrow takes a text without zone for a time with one only when it is told so.
        return pa.scalar(text.removesuffix("Z"), pa.string()).cast(pa.timestamp("us")).cast(pa.int64()).cast(kind)
    return pa.scalar(text, pa.string()).cast(kind)


def _bounds(statistics: pq.Statistics | None) -> tuple[int | datetime | date, int | datetime | date] | None:
    if statistics is None or not statistics.has_min_max:
        return None
    try:
        least, greatest = statistics.min, statistics.max
    except (ValueError, OverflowError):  # a time that Python can't say
        return None
    known = (int, datetime, date)
    return (least, greatest) if isinstance(least, known) and isinstance(greatest, known) else None
