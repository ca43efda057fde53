"""Rows in columns of machine numbers, in the bytes in which they were sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from millrace.serving.bodies.rows import ValueKind


@dataclass(frozen=True, slots=True)
class Columns:
    """What a schema says: names, no name twice, of which kind the values are, and how many bytes a row of them has."""

    names: tuple[str, ...]
    kinds: tuple[np.dtype, ...]
    width: int


class Nulls(NamedTuple):
    """That a column has nulls: its place among the columns, how many, and where the bits begin that say which rows have a value."""

    place: int
    missing: int
    validity: int


@dataclass(frozen=True, slots=True)
class Layout:
    """What is where; all offsets are bytes from where the first column may begin, and all that is needed is within `size`.

    Attributes:
        rows: at least one.
        values: where the values of each column begin; at least one column.
        step: bytes from each column to the next, if it is always the same and all are of one kind; else 0.
    """

    columns: Columns
    rows: int
    values: tuple[int, ...]
    nulls: tuple[Nulls, ...]
    size: int
    step: int


# Not frozen: one is made for each request, and freezing triples what that takes.
@dataclass(slots=True)
class NumberRows:
    """Rows in `raw`, laid out from `start` on.

    Attributes:
        nulls: see `nulls_of`.
    """

    raw: bytes
    start: int
    layout: Layout
    nulls: Mapping[int, np.ndarray]

    def __len__(self) -> int:
        """How many."""
        return self.layout.rows

    def typed(self, kinds: Mapping[str, ValueKind]) -> Self:  # noqa: ARG002 - values have types
        """See `Rows.typed`."""
        return self

    def records(self, columns: Sequence[str] | None) -> Sequence[Mapping[str, object]]:  # noqa: ARG002 - they have names
        """See `Rows.records`."""
        return self._records(self.layout.rows)

    def first(self) -> Mapping[str, object] | None:
        """See `Rows.first`."""
        return self._records(1)[0]

    def matrix(self, columns: Sequence[str]) -> np.ndarray | None:
        """See `Rows.matrix`."""
        names = self.layout.columns.names
        if names == tuple(columns):
            return self._made(range(len(names)), in_order=True)
        known = {name: place for place, name in enumerate(names)}
        places = [known.get(name, -1) for name in columns]
        return None if -1 in places else self._made(places, in_order=False)

    def _made(self, places: Sequence[int], *, in_order: bool) -> np.ndarray:
        # There are NaNs that are said to be invalid when they are widened.
        with np.errstate(invalid="ignore"):
            matrix = self._all() if in_order and self.layout.step else self._chosen(places)
        if self.nulls:
            self._void(matrix, places)
        return matrix

    def _all(self) -> np.ndarray:
        """All columns, which are of one kind and evenly laid out, in one copy."""
        layout = self.layout
        kind, first = layout.columns.kinds[0], self.start + layout.values[0]
        shape, strides = (layout.rows, len(layout.values)), (kind.itemsize, layout.step)
        return np.array(np.ndarray(shape, kind, self.raw, first, strides), np.float64, order="C")

    def _chosen(self, places: Sequence[int]) -> np.ndarray:
        layout, raw, start = self.layout, self.raw, self.start
        kinds, values, rows = layout.columns.kinds, layout.values, layout.rows
        matrix = np.empty((rows, len(places)))
        for column, place in zip(matrix.T, places, strict=True):
            column[:] = np.frombuffer(raw, kinds[place], rows, start + values[place])
        return matrix

    def _void(self, matrix: np.ndarray, places: Sequence[int]) -> None:
        for column, place in zip(matrix.T, places, strict=True):
            if place in self.nulls:
                np.copyto(column, np.nan, where=self.nulls[place])

    def _records(self, count: int) -> list[dict[str, object]]:
        names = self.layout.columns.names
        columns = [self._objects(place, count) for place in range(len(names))]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]

    def _objects(self, place: int, count: int) -> list[object]:
        values: list[object] = self._values(place, count).tolist()
        if place in self.nulls:
            for row in np.flatnonzero(self.nulls[place][:count]).tolist():
                values[row] = None
        return values

    def _values(self, place: int, count: int) -> np.ndarray:
        layout = self.layout
        return np.frombuffer(self.raw, layout.columns.kinds[place], count, self.start + layout.values[place])


def nulls_of(raw: bytes, start: int, layout: Layout) -> Mapping[int, np.ndarray] | None:
    """Which rows are null, by the place of a column that has nulls; None where they are not as many as the column says."""
    if not layout.nulls:
        return {}
    places, counts, offsets = zip(*layout.nulls, strict=True)
    size = (layout.rows + 7) // 8
    packed = b"".join([raw[start + offset : start + offset + size] for offset in offsets])
    bits = np.frombuffer(packed, np.uint8).reshape(-1, size)
    nulls = [*(np.unpackbits(bits, axis=1, count=layout.rows, bitorder="little") == 0)]
    # With its axis, count_nonzero takes twice as long.
    return dict(zip(places, nulls, strict=True)) if tuple(map(np.count_nonzero, nulls)) == counts else None
