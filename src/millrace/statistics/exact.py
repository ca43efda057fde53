"""Sums of floats without rounding: the same to the bit in whatever order, and however split, they are added."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import fsum

import numpy as np
import numpy.typing as npt

from millrace.statistics.metrics import Floats

_BITS = 53  # of a double's significand, taken in two halves whose sums stay whole
_HALF = 27
_TINY = 1e-280  # below it a significand's lower half would leave the range of doubles


@dataclass(frozen=True, slots=True)
class ExactSum:
    """A sum as floats whose exact sum it is: each one the nearest double to what is left, so equal sums are equal.

    Source: Shewchuk 1997, Adaptive precision floating-point arithmetic, through Python's `math.fsum`.

    Attributes:
        parts: largest first, none of them 0; empty for 0.
    """

    parts: tuple[float, ...] = ()

    @classmethod
    def of(cls, values: Iterable[float]) -> ExactSum:
        """Add finite numbers."""
        left, parts = list(values), []
        while part := fsum(left):
            parts.append(part)
            left.append(-part)
        return cls(tuple(parts))

    def __add__(self, other: ExactSum) -> ExactSum:
        """Exactly: associative and commutative to the bit."""
        return ExactSum.of((*self.parts, *other.parts))

    def __float__(self) -> float:
        """The nearest double."""
        return self.parts[0] if self.parts else 0.0


def exact_sums(values: Floats, groups: npt.NDArray[np.int64], count: int) -> Sequence[ExactSum]:
    """The exact sum of each group, as `ExactSum.of` gives it.

    Args:
        values: n finite numbers, up to 67 million in a group; those nearer to 0 than 1e-280 count as 0.
        groups: n positions from 0 to count - 1.
        count: how many groups.
    """
    if not len(values):
        return [ExactSum()] * count
    significand, exponent = np.frexp(np.where(np.abs(values) < _TINY, 0.0, values))
    whole = np.ldexp(significand, _BITS).astype(np.int64)
    least, span = int(exponent.min()), int(np.ptp(exponent)) + 1
    keys = groups * span + (exponent - least)
    powers = np.arange(least, least + span) - _BITS
    terms = []
    for half, shift in ((whole >> _HALF, _HALF), (whole & ((1 << _HALF) - 1), 0)):
        sums = np.bincount(keys, weights=half, minlength=count * span).reshape(count, span)
        terms.append(np.ldexp(sums, powers + shift))
    return [ExactSum.of(row[row != 0].tolist()) for row in np.hstack(terms)]
