"""Could a difference between two groups be chance, where chance alone made the groups?

Callers are assigned to one of two groups at random and stay there; each does something any number of times. If the group makes
no difference, then every other assignment of the same callers would have given the same rows: how often does one of those give
as large a statistic as the one at hand? That is an exact test of any statistic, whatever the rows of a caller have to do with
each other (Fisher 1935, The Design of Experiments; Pitman 1937).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import comb, inf

import numpy as np
import numpy.typing as npt

from millrace.core.errors import InvalidInput
from millrace.statistics.metrics import Floats

Bools = npt.NDArray[np.bool_]
# From assignments (lines x n rows: is the row in the second group?) to values (lines). NaN counts as small.
Statistic = Callable[[Bools], Floats]

_CELLS_AT_ONCE = 500_000  # assignments x rows held at a time
_SAME = 1e-12  # sums of the same rows in another order may differ by so little
_ENOUGH = 20  # so many as large ones settle that it may well be chance


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows of callers in two groups.

    Attributes:
        callers: n whole numbers from 0: who each row is of.
        second: n booleans: whether the row's caller is in the second group, the same for all rows of a caller.
    """

    callers: npt.NDArray[np.int64]
    second: Bools

    @classmethod
    def of(cls, callers: npt.ArrayLike, second: npt.ArrayLike) -> Groups:
        """Groups of rows of anything that names a caller (a caller that is in both groups is taken for two)."""
        named, group = np.asarray(callers), np.asarray(second, dtype=np.bool_)
        if named.ndim != 1 or named.shape != group.shape:
            raise InvalidInput(f"callers have shape {named.shape}, groups {group.shape}", hint="give one for each row")
        numbers = np.unique(named, return_inverse=True)[1].astype(np.int64)
        return cls(np.unique(2 * numbers + group, return_inverse=True)[1].astype(np.int64), group)

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.second)

    @property
    def sizes(self) -> tuple[int, int]:
        """How many callers the first and the second group have."""
        group = self._by_caller
        return int((~group).sum()), int(group.sum())

    @property
    def assignments(self) -> float:
        """In how many ways the callers could have been assigned; infinity where there are very many."""
        first, second = self.sizes
        return comb(first + second, second) if first + second < 1000 else inf  # noqa: PLR2004 - large enough

    def p_value(self, statistic: Statistic, *, draws: int, seed: int) -> float:
        """The chance of a statistic at least as large as the one at hand, where the groups are no different.

        Estimated from random assignments as (1 + those as large) / (1 + draws), which keeps the test exact (Phipson & Smyth
        2010); drawing ends early once 20 were as large (Besag & Clifford 1991: then it is 20 / drawn).

        Raises:
            InvalidInput: one of the groups is empty, or there are no draws.
        """
        if 0 in self.sizes or draws < 1:
            raise InvalidInput("there is nothing to compare", hint="both groups need callers, and there must be draws")
        found = float(statistic(self.second[None, :])[0])
        least, large, drawn = found - _SAME * abs(found), 0, 0
        for lines in self._assigned(draws, seed):
            for value in statistic(lines):
                drawn += 1
                large += bool(value >= least)
                if large == _ENOUGH:
                    return _ENOUGH / drawn
        return (1 + large) / (1 + drawn)

    @property
    def _by_caller(self) -> Bools:
        group = np.zeros(int(self.callers.max(initial=-1)) + 1, dtype=np.bool_)
        group[self.callers] = self.second
        return group

    def _assigned(self, draws: int, seed: int) -> Iterator[Bools]:
        rng, group = np.random.default_rng(seed), self._by_caller
        at_once = max(1, _CELLS_AT_ONCE // len(self))
        for first in range(0, draws, at_once):
            lines = np.broadcast_to(group, (min(at_once, draws - first), len(group)))
            yield rng.permuted(lines, axis=1)[:, self.callers]


def mean_difference(values: Floats) -> Statistic:
    """The second group's mean less the first's."""

    def on(second: Bools) -> Floats:
        theirs = np.where(second, values, 0.0).sum(axis=1)
        count = second.sum(axis=1)
        return np.asarray(theirs / count - (values.sum() - theirs) / (len(values) - count))

    return on


def quantile_ratio(values: Floats, share: float) -> Statistic:
    """The second group's quantile over the first's: the smallest value that at least `share` of a group's rows don't exceed."""
    order = np.argsort(values, kind="stable")
    rising = values[order]

    def quantile(member: Bools) -> Floats:
        so_far = np.cumsum(member, axis=1, dtype=np.int32)
        wanted = np.ceil(share * so_far[:, -1])
        return np.asarray(rising[np.argmax(so_far >= wanted[:, None], axis=1)])

    def on(second: Bools) -> Floats:
        sorted_rows = second[:, order]
        ours, theirs = quantile(~sorted_rows), quantile(sorted_rows)
        return np.asarray(np.divide(theirs, ours, out=np.full_like(theirs, np.inf), where=ours > 0))

    return on


def distribution_distance(values: npt.ArrayLike) -> Statistic:
    """How far the groups' distributions are apart, in [0, 1].

    Of numbers the largest gap between the cumulative shares (Kolmogorov-Smirnov), NaN above all others; of texts half the sum
    of the gaps between the shares (total variation).
    """
    given = np.asarray(values)
    numbers = given.dtype.kind == "f"
    taken = np.where(np.isnan(given), np.inf, given) if numbers else given
    order = np.argsort(taken, kind="stable")
    ordered = taken[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])

    def on(second: Bools) -> Floats:
        theirs = np.add.reduceat(second[:, order], starts, axis=1, dtype=np.float64)
        every = np.diff(np.r_[starts, len(ordered)])
        count = theirs.sum(axis=1, keepdims=True)
        gaps = theirs / count - (every - theirs) / (len(ordered) - count)
        if numbers:
            return np.asarray(np.abs(np.cumsum(gaps, axis=1)).max(axis=1))
        return np.asarray(np.abs(gaps).sum(axis=1) / 2)

    return on
