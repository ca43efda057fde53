"""The rows that answer something, gathered from their parts: each part is read once, a few columns at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.features.adapters.arrow_parts import Part
from millrace.features.types import ResolvedLookup

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
    unanswered = int(np.searchsorted(numbers, 0))
    wanted = _wanted(parts, numbers)
    names = list(lookup.columns)
    batches = [(part, places, batch) for part, places in wanted for batch in part.batches(names)]
    found = each(_taken, batches)
    pieces: dict[str, list[pa.Array]] = {name: [] for name in names}
    for batch in found:
        for name, column in batch.items():
            pieces[name].append(column)
    found.clear()
    back = np.empty(len(rows), np.int64)
    back[order] = np.arange(len(rows)) - unanswered
    places = pa.array(back, mask=back < 0) if unanswered else pa.array(back)

    def finish(name: str) -> pa.Array:
        return _finished(name, pieces.pop(name), places, lookup)

    return pa.table(each(finish, names), schema=_schema(lookup))


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


def _finished(name: str, pieces: list[pa.Array], places: pa.Array, lookup: ResolvedLookup) -> pa.Array:
    kind = lookup.source.schema.field(name).type
    together = pa.concat_arrays(pieces) if pieces else pa.array([], kind)
    pieces.clear()
    column = together.take(places)
    default = lookup.defaults.get(lookup.columns[name])
    return column if default is None else pc.fill_null(column, pa.scalar(default, kind))


def _schema(lookup: ResolvedLookup) -> pa.Schema:
    return pa.schema(
        [pa.field(output, lookup.source.schema.field(name).type) for name, output in lookup.columns.items()]
    )
