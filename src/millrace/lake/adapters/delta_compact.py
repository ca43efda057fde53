"""Many small commits leave many small files, and reading opens each: now and then they are made into fewer.

delta-rs takes files together by their size on the disk, and reads 8192 rows of them at once, several times over. Rows that are
wide and compress well then take gigabytes: what may come together is bounded here by what it takes in memory.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet
from deltalake import DeltaTable  # noqa: TID253 - this is its adapter
from deltalake.exceptions import CommitFailedError  # noqa: TID253 - this is its adapter

from millrace.lake.adapters.delta_files import MANY_FILES, delta_errors, filesystem_of, schema_of
from millrace.lake.adapters.delta_log import commit_properties
from millrace.lake.adapters.delta_statistics import writer_properties
from millrace.lake.types import CommitInfo, Location

_FULL_BYTES = 64 << 20  # files that are larger are good as they are
_LOADED_BYTES = 64 << 20  # what the rows of one new file take in memory, at most
_SAMPLED_ROWS = 64


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    size: int

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0]


class Compactions:
    """Compacts tables after commits. Thread-safe: at worst a table is looked at twice."""

    def __init__(self) -> None:
        self._left: dict[Location, int] = {}

    def after(self, table: DeltaTable, location: Location, commit: CommitInfo) -> None:
        """Make fewer files of many, where a partition has many small ones; the table is then at that version.

        Where another writer is first nothing is changed: the next commit tries again.
        """
        small = _small_files(table)
        # What stays as it is, because together it is too much, is not looked at again after each commit.
        if _most_in_a_folder(small) < max(MANY_FILES, self._left.get(location, 0) * 3 // 2):
            return
        target = _target_bytes(small, location)
        if _most_in_a_folder([file for file in small if file.size <= target // 2]) > 1:
            try:
                _compact(table, location, commit, target)
            except CommitFailedError:
                table.update_incremental()
                return
        self._left[location] = _most_in_a_folder(_small_files(table))


def _compact(table: DeltaTable, location: Location, commit: CommitInfo, target_bytes: int) -> None:
    about = commit_properties(replace(commit, why="compact", transaction=None))
    files = writer_properties(schema_of(table), compression="ZSTD")
    with delta_errors(location):
        table.optimize.compact(
            target_size=target_bytes, max_concurrent_tasks=1, writer_properties=files, commit_properties=about
        )


def _small_files(table: DeltaTable) -> list[_File]:
    actions = pa.table(table.get_add_actions())
    files = map(_File, actions.column("path").to_pylist(), actions.column("size_bytes").to_pylist())
    return [file for file in files if file.size < _FULL_BYTES]


def _most_in_a_folder(files: list[_File]) -> int:
    return max(Counter(file.folder for file in files).values(), default=0)


def _target_bytes(files: list[_File], location: Location) -> int:
    """How large a new file may become on the disk, so that the rows of none take more than they may in memory."""
    filesystem, root = filesystem_of(location)
    packed = min(file.size / _loaded_bytes(f"{root}/{unquote(file.path)}", filesystem) for file in files)
    return max(1, min(_FULL_BYTES, int(packed * _LOADED_BYTES)))


def _loaded_bytes(path: str, filesystem: pyarrow.fs.FileSystem) -> int:
    """About what a file's rows take in memory.

    Its footer tells that of columns that are written plainly. Of those written as dictionaries a few rows tell.
    """
    with pyarrow.parquet.ParquetFile(path, filesystem=filesystem) as file:
        about = file.metadata
        written: int = sum(about.row_group(place).total_byte_size for place in range(about.num_row_groups))
        sample = next(file.iter_batches(_SAMPLED_ROWS, use_threads=False), None)
    each = sample.nbytes / sample.num_rows if sample else 0
    return max(1, written, int(each * about.num_rows))
