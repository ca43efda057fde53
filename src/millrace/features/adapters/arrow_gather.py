"""The rows that answer something, gathered from their parts: each part is read once, a few columns at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.features.adapters.arrow_parts import Part
from millrace.features.types import ResolvedLookup

_CHUNK_BYTES = (1 << 31) - 1

_Each = Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]


def gather(parts: Sequence[Part], rows: np.ndarray, lookup: ResolvedLookup, each: _Each) -> pa.Table:
    """The output columns of a lookup.

    Args:
        parts: the table.
        rows: per request the number of the row that answers it, -1 for none.
        lookup: which columns, their defaults.
        each: runs work on all items, in threads.
    """
    order = np.argsort(rows)
    numbers = rows[order]
    first = np.diff(numbers, prepend=np.int64(-1)) != 0  # a row is gathered once, however often it is the answer
    wanted = _wanted(parts, numbers[first])
    names = list(lookup.columns)
    if len(wanted) == 1:
        return _of_one_part(wanted[0][0], rows, lookup, each)
    batches = [(part, places, batch) for part, places in wanted for batch in part.batches(names)]
    found = each(_taken, batches)
    pieces: dict[str, list[pa.Array]] = {name: [] for name in names}
    for batch in found:
        for name, column in batch.items():
            pieces[name].append(column)
    found.clear()
    back = np.empty(len(rows), np.int64)
    back[order] = np.cumsum(first) - 1
    places = _indices(back)

    def finish(name: str) -> pa.Array | pa.ChunkedArray:
        return _finished(name, pieces.pop(name), places, lookup)

    return pa.table(each(finish, names), schema=_schema(lookup))


def _of_one_part(part: Part, rows: np.ndarray, lookup: ResolvedLookup, each: _Each) -> pa.Table:
    """Where one part has all answers, each column is read and put in order at once."""
    places = _indices(np.where(rows < 0, -1, rows - part.first))

    def ordered(names: Sequence[str]) -> list[pa.Array | pa.ChunkedArray]:
        read = part.read(names)
        return [_finished(name, [read.column(name).chunk(0)], places, lookup) for name in names]

    batches = each(ordered, part.batches(list(lookup.columns)))
    return pa.table([column for batch in batches for column in batch], schema=_schema(lookup))


def _indices(places: np.ndarray) -> pa.Array:
    """Places for `take`, null for what is below 0."""
    absent = places < 0
    return pa.array(places, mask=absent) if absent.any() else pa.array(places)


def _wanted(parts: Sequence[Part], numbers: np.ndarray) -> list[tuple[Part, pa.Array]]:
    """The parts in which a row answers something, with the places of these rows within the part, ascending."""
    wanted = []
    for part in parts:
        first, last = np.searchsorted(numbers, [part.first, part.first + part.rows])
        if last > first:
            wanted.append((part, pa.array(numbers[first:last] - part.first)))
    return wanted


def _taken(batch: tuple[Part, pa.Array, Sequence[str]]) -> dict[str, pa.Array]:
    part, places, names = batch
    columns = part.read(names)
    return {name: columns.column(name).chunk(0).take(places) for name in names}


def _finished(
    name: str, pieces: list[pa.Array], places: pa.Array, lookup: ResolvedLookup
) -> pa.Array | pa.ChunkedArray:
    kind = lookup.source.schema.field(name).type
    column = _in_order(pieces, places, kind)
    pieces.clear()
    default = lookup.defaults.get(lookup.columns[name])
    return column if default is None else pc.fill_null(column, pa.scalar(default, kind))


def _in_order(pieces: list[pa.Array], places: pa.Array, kind: pa.DataType) -> pa.Array | pa.ChunkedArray:
    """The gathered values, each as often and where it is asked for."""
    if not pieces:
        return pa.nulls(len(places), kind)
    if not (pa.types.is_string(kind) or pa.types.is_binary(kind)):
        return pa.concat_arrays(pieces).take(places)
    # One chunk of text holds less than 2 GiB, and a long value may be asked for many times.
    lengths = pa.concat_arrays([pc.binary_length(piece) for piece in pieces])
    ends = pc.cumulative_sum(pc.fill_null(lengths.take(places), 0).cast(pa.int64())).to_numpy()
    if max(int(ends[-1]) if len(ends) else 0, pc.sum(lengths).as_py() or 0) < _CHUNK_BYTES:
        return pa.concat_arrays(pieces).take(places)
    wide = pa.large_string() if pa.types.is_string(kind) else pa.large_binary()
    together = pa.concat_arrays([piece.cast(wide) for piece in pieces])
    cuts = np.flatnonzero(np.diff(ends // (_CHUNK_BYTES // 2), prepend=0))
    bounds = [0, *(int(cut) for cut in cuts if cut), len(places)]
    chunks = [together.take(places.slice(first, last - first)).cast(kind) for first, last in pairwise(bounds)]
    return pa.chunked_array(chunks, kind)


def _schema(lookup: ResolvedLookup) -> pa.Schema:
    return pa.schema(
        [pa.field(output, lookup.source.schema.field(name).type) for name, output in lookup.columns.items()]
    )
