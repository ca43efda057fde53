"""The reference's own days: when its rows are of, and what a column was like then. Longer windows are sums of days."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from millrace.monitoring.reference.cells import Bools, Floats, Ints
from millrace.monitoring.reference.tally import Groups, Tally

KEPT_DAYS = 400
_Told = tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class ReferenceDays:
    """The reference's own days, oldest first; those without rows are left out. All tuples are equally long.

    Attributes:
        numbers: days since 1970, as `Granularity(1, "day")` gives them.
        rows: missing values included.
        missing: rows that are null or NaN.
        means, sds: of finite numbers; None for text, and for a day without numbers.
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
        numbers: of each such day, rising.
    """

    groups: Groups
    numbers: Ints

    @classmethod
    def of(cls, days: Ints | None) -> Self | None:
        """Of the numbers of the days that n rows are of; None without rows or times."""
        if days is None or not len(days):
            return None
        kept = days > days.max() - KEPT_DAYS
        numbers, positions = np.unique(days[kept], return_inverse=True)
        groups = np.full(len(days), -1, dtype=np.int64)
        groups[kept] = positions
        return cls(Groups.of(groups, len(numbers), len(days)), numbers)

    def days(self, tally: Tally, values: Floats | None) -> ReferenceDays:
        """From what was counted by day in coarse cells; n values, or None for texts."""
        means, sds = _Sums.of(values, self.groups).moments()
        return ReferenceDays(
            numbers=tuple(self.numbers.tolist()),
            rows=tuple(tally.cells.sum(axis=1).tolist()),
            missing=tuple(tally.cells[:, 0].tolist()),
            means=means,
            sds=sds,
            counts=tuple(map(tuple, tally.cells[:, 1:].tolist())),
        )


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

    def moments(self) -> tuple[_Told, _Told]:
        """Means and standard deviations."""
        with np.errstate(over="ignore", invalid="ignore"):
            count, there = np.maximum(self.count, 1), self.count > 0
            means = self.total / count
            sds = np.sqrt(np.maximum(self.squares / count - means**2, 0.0))
            return told(means + self.center, there), told(sds, there)


def told(values: Floats, known: Bools) -> _Told:
    """Numbers for JSON: None where they are not known, or beyond floats."""
    there = known & np.isfinite(values)
    return tuple(value if is_there else None for value, is_there in zip(values.tolist(), there.tolist(), strict=True))
