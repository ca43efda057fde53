"""The reference's own days and weeks: when its rows are of, and what a column was like then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from millrace.monitoring.reference.cells import Bools, Floats, Ints
from millrace.monitoring.reference.tally import Groups, Tally

DAY, WEEK = 1, 7
KEPT_WINDOWS = {DAY: 400, WEEK: 60}
_Told = tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class ReferenceWindows:
    """The reference's own windows of one length, oldest first; those without rows are left out. All tuples are equally long.

    Attributes:
        numbers: the windows' numbers, as `Granularity(1, "day")` or `Granularity(1, "week")` gives them.
        rows: missing values included.
        missing: rows that are null or NaN.
        means, sds: of finite numbers; None for text, and for a window without numbers.
        counts: rows per coarse cell, missing values left out.
    """

    numbers: tuple[int, ...]
    rows: tuple[int, ...]
    missing: tuple[int, ...]
    means: _Told
    sds: _Told
    counts: tuple[tuple[int, ...], ...]

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """From what JSON made of it."""
        lists = {key: tuple(value) for key, value in data.items()}
        return cls(**{**lists, "counts": tuple(map(tuple, data["counts"]))})


@dataclass(frozen=True, slots=True)
class Past:
    """The days of n rows, as far as they are kept.

    Attributes:
        groups: the position of each row's day among those with rows.
        numbers: span in days (1, 7) to the number of the window that each such day is in, rising.
    """

    groups: Groups
    numbers: Mapping[int, Ints]

    @classmethod
    def of(cls, when: Mapping[int, Ints]) -> Self | None:
        """Of the numbers of the windows that rows are in, by span in days; None without rows or times."""
        if not when or not len(when[DAY]):
            return None
        days, weeks = when[DAY], when[WEEK]
        kept = weeks > weeks.max() - KEPT_WINDOWS[WEEK]
        numbers, first, positions = np.unique(days[kept], return_index=True, return_inverse=True)
        groups = np.full(len(days), -1, dtype=np.int64)
        groups[kept] = positions
        return cls(Groups.of(groups, len(numbers), len(days)), {DAY: numbers, WEEK: weeks[kept][first]})

    def windows(self, tally: Tally, values: Floats | None) -> Mapping[int, ReferenceWindows]:
        """By span, from what was counted by day in coarse cells; n values, or None for texts."""
        sums = _Sums.of(values, self.groups)
        return {span: _windows(numbers, span, tally, sums) for span, numbers in self.numbers.items()}


@dataclass(frozen=True, slots=True)
class _Sums:
    """Of differences from the mean of all, by day: squares of large numbers that hardly differ would lose what they differ by."""

    center: float
    count: Ints
    total: Floats
    squares: Floats

    @classmethod
    def of(cls, values: Floats | None, groups: Groups) -> Self:
        if values is None:
            return cls(0.0, np.zeros(groups.size, dtype=np.int64), *np.zeros((2, groups.size)))
        finite = np.isfinite(values)
        with np.errstate(over="ignore", invalid="ignore"):
            center = float(values[finite].mean()) if finite.any() else 0.0
            away = np.where(finite, values - center, 0.0)
            count = groups.sums(finite).astype(np.int64)
            return cls(center, count, groups.sums(away), groups.sums(away * away))

    def moments(self, first: Ints) -> tuple[_Told, _Told]:
        """Means and standard deviations of windows, given where their days begin."""
        with np.errstate(over="ignore", invalid="ignore"):
            count, total, squares = (np.add.reduceat(one, first) for one in (self.count, self.total, self.squares))
            means = total / np.maximum(count, 1)
            sds = np.sqrt(np.maximum(squares / np.maximum(count, 1) - means**2, 0.0))
            return told(means + self.center, count > 0), told(sds, count > 0)


def _windows(numbers: Ints, span: int, tally: Tally, sums: _Sums) -> ReferenceWindows:
    first = np.flatnonzero(np.r_[True, numbers[1:] != numbers[:-1]])
    kept = int((numbers[first] > numbers[-1] - KEPT_WINDOWS[span]).sum())
    cells = np.add.reduceat(tally.cells, first)[-kept:]
    means, sds = sums.moments(first)
    return ReferenceWindows(
        numbers=tuple(numbers[first][-kept:].tolist()),
        rows=tuple(cells.sum(axis=1).tolist()),
        missing=tuple(cells[:, 0].tolist()),
        means=means[-kept:],
        sds=sds[-kept:],
        counts=tuple(map(tuple, cells[:, 1:].tolist())),
    )


def told(values: Floats, known: Bools) -> _Told:
    """Numbers for JSON: None where they are not known, or beyond floats."""
    there = known & np.isfinite(values)
    return tuple(value if is_there else None for value, is_there in zip(values.tolist(), there.tolist(), strict=True))
