"""The counting pass: Arrow rows into counts in the reference's cells, columns side by side on several threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from millrace.monitoring.counts.sums import Moments
from millrace.monitoring.reference.cells import Ints
from millrace.monitoring.reference.column import ColumnProfile
from millrace.monitoring.reference.tally import Groups, Tally

BATCH_ROWS = 65_536
_MOST_THREADS = 4
_ALONE = 20_000  # values that are counted sooner than another thread is asked
_READ_AHEAD = 1 << 20  # bytes of each column: column chunks may be as large as the memory

Counts = Mapping[str, Tally]


def count_batch(
    rows: pa.Table | pa.RecordBatch,
    columns: Mapping[str, ColumnProfile],
    groups: Ints | None = None,
    group_count: int = 1,
) -> Counts:
    """Count n rows, by column.

    Args:
        rows: has all of the columns; text columns may be dictionaries, which are counted without looking at the texts.
        columns: column name to its profile.
        groups: n numbers below `group_count`, of a window and a slice for example; rows of a negative one are left out. None: all are in group 0.
        group_count: how many groups there are.

    Raises:
        InvalidInput: a column holds no numbers where the reference has numbers.
    """
    placed = Groups.of(groups, group_count, rows.num_rows)
    if rows.num_rows * len(columns) < _ALONE:
        return _together(columns, map(_tally, *_tasks(rows, columns, placed)))
    with ThreadPoolExecutor(_threads()) as pool:
        return _together(columns, pool.map(_tally, *_tasks(rows, columns, placed)))


def count_batches(
    batches: Iterable[pa.RecordBatch],
    columns: Mapping[str, ColumnProfile],
    group: Callable[[pa.RecordBatch], Ints] | None = None,
    group_count: int = 1,
) -> Counts:
    """Count rows that come in batches: one is counted while the next one is read. Arguments as of `count_batch`, `group` gives a batch's groups."""
    found = {name: Tally.empty(group_count, len(profile.counts)) for name, profile in columns.items()}
    with ThreadPoolExecutor(_threads()) as pool:
        counted: Iterator[Tally] = iter(())
        for batch in batches:
            placed = Groups.of(group(batch) if group else None, group_count, batch.num_rows)
            started = pool.map(_tally, *_tasks(batch, columns, placed))
            _take(found, counted)
            counted = started
        _take(found, counted)
    return found


def parquet_batches(
    files: Sequence[str], columns: Mapping[str, ColumnProfile], batch_rows: int = BATCH_ROWS
) -> Iterator[pa.RecordBatch]:
    """The columns' rows of Parquet files, some at a time whatever the size of their row groups, texts as dictionaries."""
    texts = [name for name, profile in columns.items() if profile.kind == "text"]
    for file in files:
        with pq.ParquetFile(file, read_dictionary=texts, pre_buffer=False, buffer_size=_READ_AHEAD) as opened:
            yield from opened.iter_batches(batch_size=batch_rows, columns=list(columns))


def moments(tally: Tally, group: int) -> Moments:
    """Of one group."""
    return Moments(
        int(tally.count[group]),
        float(tally.total[group]),
        float(tally.squares[group]),
        float(tally.low[group]),
        float(tally.high[group]),
        int(tally.zeros[group]),
        int(tally.nans[group]),
    )


def _tasks(
    rows: pa.Table | pa.RecordBatch, columns: Mapping[str, ColumnProfile], groups: Groups
) -> tuple[Iterable[Any], Iterable[ColumnProfile], Iterable[Groups]]:
    return [rows.column(name) for name in columns], columns.values(), repeat(groups, len(columns))


def _tally(column: Any, profile: ColumnProfile, groups: Groups) -> Tally:
    return profile.tally(column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column, groups)


def _together(columns: Iterable[str], tallies: Iterable[Tally]) -> Counts:
    return dict(zip(columns, tallies, strict=True))


def _take(into: dict[str, Tally], counted: Iterator[Tally]) -> None:
    for name, tally in zip(into, counted, strict=False):
        into[name] += tally


def _threads() -> int:
    return min(os.cpu_count() or 1, _MOST_THREADS)
