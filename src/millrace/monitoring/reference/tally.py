"""How many of a column's values are in each cell, and their moments, in one pass over numpy arrays; for groups of rows at once.

Numbers are sorted, a piece that fits in the processor's cache at a time, and the edges are looked up in what is sorted: with numpy's vectorised sort that is
six times as fast as looking up each value among the edges, and it says the extremes, zeros, NaNs and infinities as well. Where groups have few
rows each, looking up each value is faster. Both give the same counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from millrace.monitoring.reference.cells import Bools, Floats, Ints, count_cells, numeric_cells

_PIECE = 65_536
_FEW = 1_024
_SPECIAL = np.array([-np.inf, 0.0, np.inf])


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """One column, counted in g groups of rows; `+` adds the rows of two.

    Attributes:
        cells: g x (1 + k), missing values (null and NaN) first.
        count: finite values (texts that are not null); as all that follow, g of them.
        total, squares: sums of the values, or of the lengths of texts in characters, and of their squares.
        low, high: the extremes; +inf and -inf where there is no value.
        zeros: values that are 0 (empty texts).
        nans: NaNs that are not null.
    """

    cells: Ints
    count: Ints
    total: Floats
    squares: Floats
    low: Floats
    high: Floats
    zeros: Ints
    nans: Ints

    @classmethod
    def empty(cls, groups: int, size: int) -> Self:
        """Of no rows; k = size."""
        cells = np.zeros((groups, size + 1), dtype=np.int64)
        count, zeros, nans = np.zeros((3, groups), dtype=np.int64)
        total, squares = np.zeros((2, groups))
        return cls(
            cells, count, total, squares, np.full(groups, np.inf), np.full(groups, -np.inf), zeros=zeros, nans=nans
        )

    def __add__(self, other: Self) -> Self:
        """Of both; they must have the same groups and cells."""
        with np.errstate(over="ignore", invalid="ignore"):
            return type(self)(
                self.cells + other.cells,
                self.count + other.count,
                self.total + other.total,
                self.squares + other.squares,
                np.minimum(self.low, other.low),
                np.maximum(self.high, other.high),
                self.zeros + other.zeros,
                self.nans + other.nans,
            )


@dataclass(frozen=True, slots=True)
class Groups:
    """Which group each of n rows is in.

    Attributes:
        size: how many groups there may be.
        order: rows, those of a group side by side; None where they are in order as they come. Rows of no group are left out.
        present: groups that have rows, rising.
        starts: where the rows of each of these begin, and where the last one's end.
    """

    size: int
    order: Ints | None
    present: Ints
    starts: Ints

    @classmethod
    def of(cls, groups: Ints | None, size: int, rows: int) -> Self:
        """Of n group numbers below `size`, negative for no group; None: all rows are in group 0."""
        if groups is None:
            present = np.zeros(int(rows > 0), dtype=np.int64)
            return cls(size, None, present, np.array([0, rows] if rows else [0], dtype=np.int64))
        order = None
        if rows and (groups[0] < 0 or (groups[1:] < groups[:-1]).any()):
            order = np.argsort(groups, kind="stable")
            order = order[np.searchsorted(groups[order], 0) :]
            groups = groups[order]
        present, starts = np.unique(groups, return_index=True)
        return cls(size, order, present, np.append(starts, len(groups)).astype(np.int64))

    @property
    def few(self) -> bool:
        """Whether groups have so few rows that each of them is not worth a sort."""
        return bool(self.starts[-1] < _FEW * len(self.present))

    def arranged(self, values: Floats) -> Floats:
        """A copy of n values, those of a group side by side."""
        return values.copy() if self.order is None else values[self.order]

    def sums(self, values: Bools | Floats) -> Floats:
        """The sum of n values in each group; of booleans, how many are true."""
        found = np.zeros(self.size)
        if len(self.present):
            arranged = values if self.order is None else values[self.order]
            found[self.present] = np.add.reduceat(arranged, self.starts[:-1], dtype=np.float64)
        return found

    def each(self) -> Iterator[tuple[int, slice]]:
        """Every group that has rows, in pieces that fit in a cache."""
        for group, start, stop in zip(
            self.present.tolist(), self.starts[:-1].tolist(), self.starts[1:].tolist(), strict=True
        ):
            for at in range(start, stop, _PIECE):
                yield group, slice(at, min(at + _PIECE, stop))


def tally_numbers(values: Floats, nulls: Floats | None, edges: Floats, groups: Groups) -> Tally:
    """Count n numbers in the cells `(-inf, e0], ..., (ek, inf)`.

    Args:
        values: n numbers, NaN where missing; left as they are.
        nulls: how many NaNs of each group stand for null; None where none does.
        edges: k rising, finite numbers.
        groups: of the n rows.
    """
    found = Tally.empty(groups.size, len(edges) + 1)
    arranged = groups.arranged(values)
    with np.errstate(over="ignore", invalid="ignore"):
        if groups.few:
            _look_up(found, arranged, numeric_cells(arranged, edges), groups)
        else:
            for group, piece in groups.each():
                _sort(found, group, arranged[piece], edges)
    if nulls is not None:
        found.nans[:] -= nulls.astype(np.int64)
    return found


def tally_codes(codes: Ints, cells: Ints, lengths: Floats, size: int, groups: Groups) -> Tally:
    """Count n texts, given as positions among different ones.

    Args:
        codes: n positions from 0 to m - 1; -1 for null.
        cells: m cells, -1 for null.
        lengths: m lengths in characters, NaN for null.
        size: k, the number of cells.
        groups: of the n rows.
    """
    found = Tally.empty(groups.size, size)
    codes = codes if groups.order is None else codes[groups.order]
    cells, lengths = np.append(cells, -1), np.append(lengths, np.nan)  # -1 is the last one
    if len(groups.present) == 1 and len(cells) < len(codes):
        _sum_up(
            found,
            int(groups.present[0]),
            np.bincount(codes + 1, minlength=len(cells)),
            np.roll(cells, 1),
            np.roll(lengths, 1),
        )
    elif len(groups.present):
        _look_up(found, lengths[codes], cells[codes], groups)
        found.nans[:] = 0
    return found


def _sort(into: Tally, group: int, values: Floats, edges: Floats) -> None:
    """Count a piece of one group, whose values are put in order and lost."""
    values.sort()  # NaN comes last
    below = np.searchsorted(values, edges, side="right")
    before, after = np.searchsorted(values, _SPECIAL), np.searchsorted(values, _SPECIAL, side="right")
    known = int(after[2])
    into.cells[group, 0] += len(values) - known
    into.cells[group, 1:] += np.diff(below, prepend=0, append=known)
    into.nans[group] += len(values) - known
    finite = values[int(after[0]) : int(before[2])]
    if not len(finite):
        return
    into.count[group] += len(finite)
    into.zeros[group] += after[1] - before[1]
    into.low[group] = min(into.low[group], finite[0])
    into.high[group] = max(into.high[group], finite[-1])
    into.total[group] += finite.sum()
    np.multiply(finite, finite, out=finite)
    into.squares[group] += finite.sum()


def _look_up(into: Tally, values: Floats, cells: Ints, groups: Groups) -> None:
    """Count groups of few rows each, arranged."""
    if not len(groups.present):
        return
    at = groups.present
    positions = np.repeat(np.arange(len(at)), np.diff(groups.starts))
    into.cells[at] = count_cells(cells, positions, len(at), into.cells.shape[1] - 1)
    starts, finite = groups.starts[:-1], np.isfinite(values)
    bare = np.where(finite, values, 0.0)
    into.count[at] = np.add.reduceat(finite, starts, dtype=np.int64)
    into.nans[at] = np.add.reduceat(np.isnan(values), starts, dtype=np.int64)
    into.zeros[at] = np.add.reduceat(values == 0, starts, dtype=np.int64)
    into.total[at] = np.add.reduceat(bare, starts)
    into.squares[at] = np.add.reduceat(bare * bare, starts)
    into.low[at] = np.minimum.reduceat(np.where(finite, values, np.inf), starts)
    into.high[at] = np.maximum.reduceat(np.where(finite, values, -np.inf), starts)


def _sum_up(into: Tally, group: int, rows: Ints, cells: Ints, lengths: Floats) -> None:
    """Count one group from how many rows have each text."""
    # Whole numbers, exact as floats: there are fewer than 2^53 rows.
    into.cells[group] = np.bincount(cells + 1, rows, minlength=into.cells.shape[1])
    there = (rows > 0) & ~np.isnan(lengths)
    rows, lengths = rows[there], lengths[there]
    if not len(rows):
        return
    into.count[group] = rows.sum()
    into.zeros[group] = rows[lengths == 0].sum()
    into.total[group] = (rows * lengths).sum()
    into.squares[group] = (rows * lengths * lengths).sum()
    into.low[group], into.high[group] = lengths.min(), lengths.max()
