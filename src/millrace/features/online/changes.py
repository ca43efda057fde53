"""What differs between two versions of a feature table, found from the files that were added and taken away."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.fs

from millrace.core.errors import NotFound
from millrace.features.online.rows import event_times, identified, key_codes, widened
from millrace.lake.lake import Lake
from millrace.lake.types import TableEntry, Version


def changed_keys(lake: Lake, entry: TableEntry, old: Version, new: Version, columns: list[str]) -> pa.Table:
    """The key columns of all rows that one of the versions lacks, or has with other values; a key may come more than once.

    Rows that were only moved to another file (by a merge beside them, or compaction) do not count.

    Args:
        lake: where the table is.
        entry: the table.
        old: a version.
        new: another version, with the same columns.
        columns: which to compare, keys and time included.

    Raises:
        NotFound: the old version, or one of its files, is gone.
    """
    keys = list(entry.definition.primary_keys)
    before, after = (set(lake.store.files(entry.location, version)) for version in (old, new))
    schema = lake.schema(entry.name, new)
    gone, come = (
        identified(widened(_read(entry, files, schema, columns)), entry.definition)
        for files in (before - after, after - before)
    )
    both = pa.concat_tables([gone, come]).combine_chunks()
    side = np.repeat(np.array([0, 1], dtype=np.int8), [len(gone), len(come)])
    return both.select(keys).filter(pa.array(_differ(both, side, entry, columns)))


def _read(entry: TableEntry, files: set[str], schema: pa.Schema, columns: list[str]) -> pa.Table:
    if not files:
        return schema.empty_table().select(columns)
    filesystem: pyarrow.fs.FileSystem = pyarrow.fs.LocalFileSystem()
    if "://" in entry.location:
        filesystem, _ = pyarrow.fs.FileSystem.from_uri(entry.location)
        files = {pyarrow.fs.FileSystem.from_uri(file)[1] for file in files}
    partitions = pa.schema([schema.field(name) for name in entry.definition.partition_columns])
    try:
        return pyarrow.dataset.dataset(
            sorted(files),
            schema=schema,
            format="parquet",
            filesystem=filesystem,
            partitioning=pyarrow.dataset.HivePartitioning(partitions) if len(partitions) else None,
        ).to_table(columns=columns)
    except FileNotFoundError as error:
        raise NotFound(f"files of an older version of {entry.name} are gone", hint="publish the whole table") from error


def _differ(both: pa.Table, side: np.ndarray, entry: TableEntry, columns: list[str]) -> np.ndarray:
    """For each row whether the other side lacks it or has it with other values."""
    codes = key_codes([both.column(name) for name in entry.definition.primary_keys])
    times = event_times(both, entry.definition)
    times = np.zeros(len(both), dtype=np.int64) if times is None else times
    order = np.lexsort((side, times, codes))
    first, second = order[:-1], order[1:]
    pair = (codes[first] == codes[second]) & (times[first] == times[second]) & (side[first] < side[second])
    first, second = first[pair], second[pair]
    same = np.ones(len(first), dtype=bool)
    for name in columns:
        same &= _same(both.column(name), first, second)
    differ = np.ones(len(both), dtype=bool)
    differ[first[same]] = differ[second[same]] = False
    return differ


def _same(column: pa.ChunkedArray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Whether values are the same to the bit: null is null, NaN is NaN, and the two zeros differ."""
    one, two = (_bits(column.take(pa.array(places))) for places in (first, second))
    if pa.types.is_null(column.type):
        return np.ones(len(first), dtype=bool)
    equal = pc.fill_null(pc.equal(one, two), fill_value=False)
    either: np.ndarray = pc.or_(equal, pc.and_(one.is_null(), two.is_null())).to_numpy(zero_copy_only=False)
    return either


def _bits(column: pa.ChunkedArray) -> pa.Array:
    whole = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if not pa.types.is_floating(whole.type):
        return whole
    return whole.view({16: pa.int16(), 32: pa.int32(), 64: pa.int64()}[whole.type.bit_width])
