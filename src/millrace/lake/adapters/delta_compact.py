"""Small files of a Delta table, made into one now and then."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake.exceptions import CommitFailedError  # noqa: TID253 - this is its adapter

from millrace.lake.adapters.delta_files import MANY_FILES, delta_errors
from millrace.lake.adapters.delta_log import commit_properties
from millrace.lake.types import CommitInfo, Location

if TYPE_CHECKING:
    from deltalake import DeltaTable


def compact(table: DeltaTable, location: Location, commit: CommitInfo) -> None:
    """Many small commits leave many small files, and reading opens each: now and then those of a partition are made into one."""
    paths = pa.table(table.get_add_actions()).column("path").to_pylist()
    if len(paths) < MANY_FILES or max(Counter(path.rpartition("/")[0] for path in paths).values()) < MANY_FILES:
        return
    try:
        with delta_errors(location):
            table.optimize.compact(
                commit_properties=commit_properties(replace(commit, why="compact", transaction=None))
            )
    except CommitFailedError:  # another writer was first: the next commit compacts
        table.update_incremental()
