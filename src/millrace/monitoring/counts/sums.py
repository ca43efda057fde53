"""Sums over values that add up: moments of a column."""

from __future__ import annotations

from dataclasses import dataclass
from math import fsum, inf, sqrt

import numpy as np

from millrace.monitoring.reference.cells import Floats


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over one column's values: a number's, or the lengths of texts in characters.

    Attributes:
        count: finite values (texts that are not null).
        total, squares: sums of the values and of their squares.
        low, high: the extremes; +inf and -inf where there is no value.
        zeros: values that are 0 (empty texts).
        nans: NaNs, which the cells count as missing together with nulls.
    """

    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    low: float = inf
    high: float = -inf
    zeros: int = 0
    nans: int = 0

    @classmethod
    def of(cls, values: Floats, nulls: int = 0) -> Moments:
        """Of n values, `nulls` of whose NaNs stand for null; infinities are left out."""
        finite = values[np.isfinite(values)]
        nans = int(np.isnan(values).sum()) - nulls
        if not len(finite):
            return cls(nans=nans)
        low, high, zeros = float(finite.min()), float(finite.max()), int((finite == 0).sum())
        return cls(len(finite), _sum(finite), _sum_of_squares(finite), low, high, zeros, nans)

    def __add__(self, other: Moments) -> Moments:
        """Of both."""
        return Moments(
            self.count + other.count,
            self.total + other.total,
            self.squares + other.squares,
            min(self.low, other.low),
            max(self.high, other.high),
            self.zeros + other.zeros,
            self.nans + other.nans,
        )

    @property
    def mean(self) -> float | None:
        """None without values."""
        return self.total / self.count if self.count else None

    @property
    def sd(self) -> float | None:
        """With n - 1; None below two values."""
        if self.count < 2:  # noqa: PLR2004 - one value has no spread
            return None
        return sqrt(max(self.squares - self.total * self.total / self.count, 0.0) / (self.count - 1))


def _sum(values: Floats) -> float:
    """Exactly rounded; infinite where it is beyond floats."""
    try:
        return fsum(values)
    except OverflowError:
        with np.errstate(over="ignore", invalid="ignore"):
            return float(values.sum())


def _sum_of_squares(values: Floats) -> float:
    with np.errstate(over="ignore"):
        return _sum(values * values)
