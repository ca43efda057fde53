"""Which files of a Delta table hold what changed between two versions, told by its log without reading a row."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.dataset
import pyarrow.fs

from millrace.lake.adapters.delta_files import filesystem_of
from millrace.lake.types import FileChanges, Location

_DIGITS = 20


def file_changes(location: Location, since: int, until: int) -> FileChanges | None:
    """What the commits after `since`, up to `until`, added and removed; None where a commit or a file is gone.

    What a compaction rewrote is left out: its commit says that no data changed.
    """
    filesystem, root = filesystem_of(location)
    added, removed = dict[str, None](), dict[str, None]()
    for version in range(since + 1, until + 1):
        try:
            with filesystem.open_input_stream(f"{root}/_delta_log/{version:0{_DIGITS}d}.json") as stream:
                actions = list(_changing(stream.read()))
        except FileNotFoundError:
            return None
        for kind, path in actions:
            (added if kind == "add" else removed)[path] = None
    if any("://" in path for path in (*added, *removed)):  # files of another table, which this one is a clone of
        return None
    # Added and removed again: rows that neither version has, unless a compaction took them along, and then that file is removed too.
    changes = FileChanges(tuple(path for path in added if path not in removed), tuple(removed))
    places = [f"{root}/{path}" for path in (*changes.added, *changes.removed)]
    gone = any(info.type is pyarrow.fs.FileType.NotFound for info in filesystem.get_file_info(places))
    return None if gone else changes


def dataset_of_files(
    location: Location, files: Sequence[str], schema: pa.Schema, partitions: Sequence[str]
) -> pyarrow.dataset.Dataset:
    """The rows of some of a table's files, in the table's schema; a column that a file lacks is null."""
    filesystem, root = filesystem_of(location)
    rooted = pyarrow.fs.SubTreeFileSystem(root, filesystem)
    fields = pa.schema([schema.field(name) for name in partitions])
    by_folder = pyarrow.dataset.partitioning(fields, flavor="hive") if partitions else None
    return pyarrow.dataset.dataset(
        list(files), schema=schema, format="parquet", filesystem=rooted, partitioning=by_folder
    )


def _changing(text: bytes) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        action: dict[str, Any] = json.loads(line) if line.strip() else {}
        for kind in ("add", "remove"):
            if kind in action and action[kind].get("dataChange", True):
                yield kind, unquote(action[kind]["path"])
