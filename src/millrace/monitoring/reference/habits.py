"""What the reference's own windows do by themselves: weekdays that differ, days that differ, and how far shapes wander.

Rows of neighbouring windows are about the same customers and the same season, so they are not independent, and a p-value alone
cries wolf. How much windows of the reference differ among themselves is what normal looks like.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

import numpy as np

from millrace.monitoring.reference.calibrate import LEAST_ROWS
from millrace.monitoring.reference.cells import Floats, Ints
from millrace.monitoring.reference.column import ColumnProfile
from millrace.monitoring.reference.effects import summed
from millrace.monitoring.windows import Granularity
from millrace.statistics.random_effects import Between, between_variance

SPANS = (1, 3, 7)
_LEAST_WINDOWS = 6
_LEAST_OF_A_WEEKDAY = 4
_WEEKDAYS = 7
_SEASONAL = 1e-3
_SURE = 6.0
_SPREAD = 0.8  # days are not equally large
_DAY = timedelta(days=1)
_THURSDAY = 3  # 1970-01-01


@dataclass(frozen=True, slots=True)
class Days:
    """The reference's days with rows, oldest first.

    Attributes:
        numbers: w days since 1970.
        missing: w rows without a value.
        counts: w x c rows per coarse cell.
    """

    numbers: Ints
    missing: Ints
    counts: Ints

    @classmethod
    def of(cls, profile: ColumnProfile) -> Days:
        """What the profile has kept; no days without timestamps."""
        kept = profile.days
        if kept is None or not kept.numbers:
            cells = int(profile.coarse[-1]) + 1 if len(profile.counts) else 1
            return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, cells), np.int64))
        return cls(np.array(kept.numbers), np.array(kept.missing), np.array(kept.counts, dtype=np.int64))

    def summed(self, span: int) -> Days:
        """Blocks of so many days; weeks begin on Monday."""
        blocks, first = np.unique((self.numbers + _THURSDAY) // span, return_index=True)
        if span == 1 or not len(blocks):
            return self
        return Days(blocks, np.add.reduceat(self.missing, first), np.add.reduceat(self.counts, first))


@dataclass(frozen=True, slots=True)
class Habit:
    """How the mean of something varies over the reference's windows.

    Attributes:
        weekdays: what is expected of Monday to Sunday beyond the mean of all; zeros where they do not differ surely.
        between: span in days to what windows of that length have in common beyond chance and weekday.
    """

    weekdays: Floats = field(default_factory=lambda: np.zeros(_WEEKDAYS))
    between: Mapping[int, Between] = field(default_factory=dict)

    @property
    def known(self) -> bool:
        """Whether the reference had windows enough to tell."""
        return bool(self.between)

    def at(self, span: int) -> Between:
        """For windows of a span; of the longest known one that is not longer, for shorter ones vary more."""
        known = [one for one in self.between if one <= span]
        return self.between[max(known)] if known else Between()

    def scaled(self, factor: float) -> Habit:
        """The same for something whose rows vary by another variance; without weekdays, which are its own."""
        return Habit(between={span: replace(one, variance=one.variance * factor) for span, one in self.between.items()})


def widest(habits: Sequence[Habit]) -> Habit:
    """Of each span the one with the largest variance."""
    known = [(span, one) for each in habits for span, one in each.between.items()]
    by_span = {span: [one for at, one in known if at == span] for span in SPANS}
    return Habit(between={span: max(ones, key=lambda one: one.variance) for span, ones in by_span.items() if ones})


def habit(numbers: Ints, means: Floats, rows: Ints, per_row: float) -> Habit:
    """Learn from days.

    Args:
        numbers: w days since 1970.
        means: of each, of what is watched.
        rows: of each.
        per_row: the variance of one row.
    """
    there = rows > 0
    numbers, means, weights = numbers[there], means[there], rows[there].astype(np.float64)
    if len(numbers) < _LEAST_WINDOWS or per_row <= 0:
        return Habit()
    deviations = means - np.average(means, weights=weights)
    weekdays = _weekdays(numbers, deviations, weights)
    left = deviations - weekdays[(numbers + _THURSDAY) % _WEEKDAYS]
    fitted = _WEEKDAYS if weekdays.any() else 1
    found = {}
    for span in SPANS:
        first = np.unique((numbers + _THURSDAY) // span, return_index=True)[1]
        together = np.add.reduceat(weights, first)
        block = np.add.reduceat(left * weights, first) / together
        if len(block) >= _LEAST_WINDOWS:
            found[span] = between_variance(block, together, per_row, fitted if span == 1 else 1)
    return Habit(weekdays, found)


def expected_weekdays(granularity: Granularity, numbers: Ints, weekdays: Floats) -> Floats:
    """What is expected of each window beyond the mean, by its weekday; 0 for windows longer than a day."""
    if granularity.length > _DAY or not weekdays.any():
        return np.zeros(len(numbers))
    starts = np.array([granularity.start(int(number)).weekday() for number in numbers])
    return np.asarray(weekdays[starts], dtype=np.float64)


def usual_limits(days: Days, effect: Callable[[Ints, Ints], Floats]) -> Mapping[int, float]:
    """Span in days to what no such window of the reference comes near: mean + 6 sd of its effects against the rest.

    Args:
        days: of the reference.
        effect: the distances, chance taken off, of windows (second) from the rest (first), both w x c counts.
    """
    found = {}
    for span in SPANS:
        counts = days.summed(span).counts
        rest = counts.sum(axis=0) - counts
        enough = (counts.sum(axis=1) >= LEAST_ROWS) & (rest.sum(axis=1) >= LEAST_ROWS)
        if enough.sum() >= _LEAST_WINDOWS:
            effects = effect(rest[enough], counts[enough])
            found[span] = float(effects.mean() + _SURE * effects.std(ddof=1))
    return found


def limit_at(limits: Mapping[int, float], span: int) -> float | None:
    """For windows of a span; None where the reference can't tell."""
    known = [one for one in limits if one <= span]
    return limits[max(known)] if known else max(limits.values(), default=None)


def spans_of(length: timedelta, rows: Ints, numbers: Ints, scale: int) -> Ints:
    """Of each window with those before it the span whose habits apply: the longest that its rows are spread over.

    Rows of 7 days that all came on one of them have what that day's rows have in common: windows count as (sum n)^2 / sum n^2 (Kish 1965).

    Args:
        length: of a window.
        rows: of w windows.
        numbers: of w windows, rising.
        scale: how many windows are taken together.
    """
    n = rows.astype(np.float64)
    together = summed(n, numbers, scale) ** 2 / np.maximum(summed(n * n, numbers, scale), 1.0)
    days = together * (length / _DAY)
    longest = np.searchsorted(_SPREAD * np.array(SPANS), days, side="right") - 1
    return np.array(SPANS)[np.maximum(longest, 0)]


def without_line(numbers: Ints, means: Floats, rows: Ints) -> Floats:
    """Means of days less the straight line through them."""
    weights = rows / max(rows.sum(), 1)
    x, y = numbers - weights @ numbers, means - weights @ means
    return np.asarray(y - x * (weights @ (x * y)) / max(float(weights @ (x * x)), 1e-300), dtype=np.float64)


def _weekdays(numbers: Ints, deviations: Floats, weights: Floats) -> Floats:
    """Means by weekday where they differ surely (an F-test), else zeros."""
    from scipy.special import fdtrc

    of = (numbers + _THURSDAY) % _WEEKDAYS
    if np.bincount(of, minlength=_WEEKDAYS).min() < _LEAST_OF_A_WEEKDAY:
        return np.zeros(_WEEKDAYS)
    means = np.bincount(of, deviations * weights, minlength=_WEEKDAYS) / np.bincount(of, weights, minlength=_WEEKDAYS)
    within = float((weights * (deviations - means[of]) ** 2).sum()) / (len(of) - _WEEKDAYS)
    between = float((weights * means[of] ** 2).sum()) / (_WEEKDAYS - 1)
    sure = within <= 0 or fdtrc(_WEEKDAYS - 1, len(of) - _WEEKDAYS, between / within) < _SEASONAL
    return means if sure else np.zeros(_WEEKDAYS)
