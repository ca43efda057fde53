"""Which rows of a feature table an online store keeps, encoded for it batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.features.identity import MICROSECOND, event_us
from millrace.features.online.codec import RowCodec, slices
from millrace.features.online.key_bytes import encode_keys, is_whole
from millrace.features.port import EncodedBatch
from millrace.lake.types import TableDefinition

_BATCH_KEYS = 50_000


class KeptRows:
    """The newest available row of each key and those that wait, in the order of the keys' bytes.

    Iterating gives batches of keys and the rows of each, encoded anew each time: no more than one batch is in memory as
    Python objects.

    Args:
        rows: with all of their identity (`identified`); in one chunk, or they are slow to take from.
        definition: the table's.
        as_of_us: what is available is decided as of this time.
        codec: of the columns to keep.
        told: called with the keys done and all keys, after each batch.
    """

    def __init__(
        self,
        rows: pa.Table,
        definition: TableDefinition,
        as_of_us: int,
        codec: RowCodec,
        told: Callable[[int, int], None] | None = None,
    ) -> None:
        self._rows = rows
        self._definition, self._codec, self._told = definition, codec, told
        self._times = event_times(self._rows, definition)
        codes = key_codes([self._rows.column(name) for name in definition.primary_keys])
        self._order, group = _kept(codes, self._times, definition, as_of_us)
        self._starts = _starts(group)
        self.newest_us = newest(self._times)

    @property
    def places(self) -> np.ndarray:
        """Which of the rows are kept, by key and newest first."""
        return self._order

    @property
    def keys(self) -> int:
        """How many distinct keys."""
        return len(self._starts)

    def encoded_keys(self) -> pa.Array:
        """All keys as bytes, ascending."""
        first = pa.array(self._order[self._starts])
        return encode_keys([self._rows.column(name).take(first) for name in self._definition.primary_keys])

    def __iter__(self) -> Iterator[EncodedBatch]:
        """Batches of keys and their rows."""
        for first in range(0, self.keys, _BATCH_KEYS):
            last = min(first + _BATCH_KEYS, self.keys)
            yield self._batch(first, last)
            if self._told:
                self._told(last, self.keys)

    def _batch(self, first: int, last: int) -> EncodedBatch:
        begin = int(self._starts[first])
        end = int(self._starts[last]) if last < self.keys else len(self._order)
        places, starts = self._order[begin:end], self._starts[first:last] - begin
        part = self._rows.take(pa.array(places))
        heads = pa.array(starts)
        keys = encode_keys([part.column(name).take(heads) for name in self._definition.primary_keys])
        return slices(keys), self._codec.pack(part, None if self._times is None else self._times[places], starts)


def widened(rows: pa.Table) -> pa.Table:
    """Text and bytes in a layout in which one chunk holds more than 2 GiB: rows are taken from whole columns."""
    wide = {pa.string(): pa.large_string(), pa.binary(): pa.large_binary()}
    return rows.cast(pa.schema([field.with_type(wide.get(field.type, field.type)) for field in rows.schema]))


def identified(rows: pa.Table, definition: TableDefinition) -> pa.Table:
    """Rows with all of their identity; others, written by other programs, can never be found."""
    identity = [*definition.primary_keys]
    if definition.timeseries_column is not None:
        identity.append(definition.timeseries_column)
    if not any(rows.column(name).null_count for name in identity):
        return rows
    valid = np.ones(len(rows), dtype=bool)
    for name in identity:
        valid &= rows.column(name).is_valid().to_numpy()
    return rows.filter(pa.array(valid, pa.bool_()))


def event_times(rows: pa.Table, definition: TableDefinition) -> np.ndarray | None:
    """Event times in microseconds, dates as their definition says; None for a table without time."""
    name = definition.timeseries_column
    if name is None:
        return None
    times: np.ndarray = event_us(rows.column(name), name, definition.date_stands_for).to_numpy(zero_copy_only=False)
    return times


def newest(times: np.ndarray | None) -> int | None:
    """The latest of these times; None where there are none."""
    return int(times.max()) if times is not None and len(times) else None


def key_codes(columns: Sequence[pa.ChunkedArray]) -> np.ndarray:
    """An int64 per row, equal exactly for equal keys, and in the order of the keys' bytes. No column has nulls."""
    if len(columns) == 1 and is_whole(columns[0].type):
        numbers: np.ndarray = columns[0].cast(pa.int64()).to_numpy()
        return numbers
    encoded = encode_keys(columns).dictionary_encode()
    ranks = np.empty(len(encoded.dictionary), dtype=np.int64)
    ranks[pc.array_sort_indices(encoded.dictionary).to_numpy()] = np.arange(len(ranks))
    ranked: np.ndarray = ranks[encoded.indices.to_numpy()]
    return ranked


def _kept(
    codes: np.ndarray, times: np.ndarray | None, definition: TableDefinition, as_of_us: int
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the rows to keep, by key and newest first, and the key's code of each."""
    if times is None:
        order = np.argsort(codes, kind="stable")
        return order, codes[order]
    order = np.argsort(codes, kind="stable")
    if (np.diff(codes[order]) == 0).any():
        order = np.lexsort((-times, codes))
    group, available = codes[order], times[order] + definition.available_after // MICROSECOND <= as_of_us
    starts = _starts(group)
    # 0 for the newest available row of a key, -1 for the next one to become available, and so on.
    age = np.arange(len(group)) - _first_available(available, starts, np.append(starts[1:], len(group)))
    keep = age <= 0
    return order[keep], group[keep]


def _first_available(available: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """For each row the index of its key's first available row; the key's end where none is available."""
    waiting = np.add.reduceat(~available, starts) if len(starts) else np.zeros(0, dtype=np.int64)
    return np.repeat(starts + waiting, ends - starts)


def _starts(group: np.ndarray) -> np.ndarray:
    """Where a new key begins."""
    if not len(group):
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))
