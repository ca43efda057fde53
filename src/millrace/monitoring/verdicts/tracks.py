"""What is measured of each column over all windows: at each scale an effect, and the chance of it if nothing had changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import sqrt
from typing import Literal

import numpy as np

from millrace.monitoring.counts.window_counts import WindowCounts
from millrace.monitoring.reference.calibrate import LEAST_ROWS
from millrace.monitoring.reference.cells import Floats, Ints
from millrace.monitoring.reference.column import ColumnProfile
from millrace.monitoring.reference.effects import (
    chance_distances,
    chi2_statistics,
    distances,
    effects,
    normal_scores,
    shares,
    summed,
)
from millrace.monitoring.reference.habits import (
    SPANS,
    Days,
    Habit,
    expected_weekdays,
    habit,
    limit_at,
    spans_of,
    usual_limits,
    widest,
    without_line,
)
from millrace.monitoring.reference.trend import trend_of
from millrace.monitoring.types import MonitorSpec
from millrace.monitoring.verdicts.budget import SCALES
from millrace.monitoring.windows import Granularity
from millrace.statistics.random_effects import between_variance, chi2_p_values, share_p_values, shift_p_values

Measure = Literal["position", "shape", "share", "mix", "absent", "missing", "outside", "new"]
# Of the floor, where the reference has no windows to learn from: so much is granted before anything is called sure.
_GRANTED = 0.75
QUALITY_FLOOR = 0.03
_LEAST_WINDOWS = 6
# What lies outside of the range of m values is a Beta(2, m - 1) share of what is to come: over QUALITY_FLOOR once in three million.
_LEAST_OF_A_RANGE = 600


@dataclass(frozen=True, slots=True)
class Track:
    """One thing that is measured over w windows at one scale.

    Attributes:
        column: its name in the log.
        profile: of the reference.
        measure: `position` (of a number: moved up or down), `shape` (KS), `share` (of the category that moved most), `mix` (of categories: TV),
            `absent` (not logged), `missing`, `outside` (of the reference's range), `new` (categories).
        scale: how many windows are taken together.
        floors: w effects up to which all is let be.
        effects: w effects, in KS or TV or shares, chance taken off where chance alone makes one.
        p_values: w chances of so large an effect if nothing had changed.
        rows: w rows that it is judged by.
        details: w positions of what moved (a category), or signs (of a number).
    """

    column: str
    profile: ColumnProfile
    measure: Measure
    scale: int
    floors: Floats
    effects: Floats
    p_values: Floats
    rows: Ints
    details: Ints


@dataclass(frozen=True, slots=True)
class Column:
    """A column over w windows: 1 + k counts in each, missing values first."""

    name: str
    profile: ColumnProfile
    numbers: Ints
    counts: Ints
    granularity: Granularity
    floor: float

    @classmethod
    def of(cls, spec: MonitorSpec, name: str, profile: ColumnProfile, windows: Sequence[WindowCounts]) -> Column:
        """Windows whose counts were made before the column was watched have no rows here."""
        empty = np.zeros(len(profile.counts) + 1, dtype=np.int64)
        counts = np.array([window.cells.get(name, empty) for window in windows], dtype=np.int64)
        numbers = np.array([window.number for window in windows], dtype=np.int64)
        return cls(name, profile, numbers, counts, Granularity.parse(spec.granularity), spec.effect_floor)

    @property
    def reference(self) -> Ints:
        """Rows of the reference in each of k cells."""
        return np.array(self.profile.counts, dtype=np.int64)

    def at(self, scale: int, rows: Ints | None = None) -> Scaled:
        """All windows, each with those before it; `rows` is what counts of each: values, if not given."""
        each = self.counts[:, 1:].sum(axis=1) if rows is None else rows
        total = summed(each, self.numbers, scale)
        return Scaled(self, scale, each, total, spans_of(self.granularity.length, each, self.numbers, scale))


@dataclass(frozen=True)
class Scaled:
    """A column at one scale: rows of each window alone, of it with those before it, and the span whose habits apply."""

    column: Column
    scale: int
    each: Ints
    rows: Ints
    spans: Ints

    @cached_property
    def values(self) -> Ints:
        """Rows per cell, w x k."""
        return summed(self.column.counts[:, 1:], self.column.numbers, self.scale)

    def summed(self, values: Floats) -> Floats:
        """Sums of w numbers."""
        return summed(values, self.column.numbers, self.scale)

    def by_span(self, of: Callable[[int, Ints], Floats], among: Ints | None = None) -> Floats:
        """W p-values: `of(span, positions)` for the windows of each span; 1 for those that are not among the given positions."""
        found = np.ones(len(self.spans))
        asked = np.arange(len(self.spans)) if among is None else among
        for span in np.unique(self.spans[asked]):
            positions = asked[self.spans[asked] == span]
            found[positions] = of(int(span), positions)
        return found

    def limits(self, known: Mapping[int, float]) -> Floats:
        """Of each window what the reference's own do not exceed; 0 where it can't tell."""
        found = np.zeros(len(self.spans))
        for span in SPANS:
            found[self.spans == span] = limit_at(known, span) or 0.0
        return found

    def track(
        self, measure: Measure, effects: Floats, p_values: Floats, *, floors: Floats, details: Ints | None = None
    ) -> Track:
        """What was measured."""
        column, none = self.column, np.zeros_like(self.rows)
        details = none if details is None else details
        return Track(column.name, column.profile, measure, self.scale, floors, effects, p_values, self.rows, details)

    def flat(self, floor: float) -> Floats:
        """The same floor for each window."""
        return np.full(len(self.rows), floor)


@dataclass(frozen=True, slots=True)
class Lent:
    """How far the most variable columns of a reference vary, for those that its windows say less of: answers are known on the holdout only.

    Answers follow features, and a few neighbouring weeks have not seen the seasons.

    Attributes:
        usual: tau^2 for a variance of one row of 1.
        limits: of shapes.
    """

    usual: Habit
    limits: Mapping[int, float]

    @classmethod
    def of(cls, columns: Sequence[Column]) -> Lent | None:
        """By numbers that have windows; None where there are none."""
        found, limits = [], []
        for column in columns:
            days = Days.of(column.profile)
            if column.reference.sum() >= LEAST_ROWS and trend_of(column.profile) is None:
                position = _Position.of(column, days, trending=False)
                found.append(position.usual.scaled(1 / position.per_row if position.per_row > 0 else 0.0))
                limits.append(_usual_limits(column, days))
        if not any(one.known for one in found):
            return None
        return cls(widest(found), {span: max(one.get(span, 0.0) for one in limits) for span in SPANS})


def distribution_tracks(column: Column, lent: Lent | None = None) -> Iterator[Track]:
    """Two for each scale: position and shape of numbers, share and mix of categories; none where the reference has too few values."""
    if column.reference.sum() < LEAST_ROWS:
        return
    days, trending = Days.of(column.profile), trend_of(column.profile) is not None
    # A column that has a trend is nowhere in particular: what is usual is to be near its line, and whether it is, is asked of what is found.
    limits = lent.limits if lent else {1: 0.0} if trending else _usual_limits(column, days)
    if column.profile.kind == "numeric":
        position = _Position.of(column, days, trending=trending)
        position = replace(position, usual=lent.usual.scaled(position.per_row)) if lent else position
        for scale in SCALES:
            scaled = column.at(scale)
            yield position.track(scaled)
            yield _shape(scaled, limits)
    else:
        share, mixed = _Share.of(column, days), lent.usual if lent else _mix_habit(days)
        share = replace(share, usual=[lent.usual.scaled(p * (1 - p)) for p in share.shares.tolist()]) if lent else share
        for scale in SCALES:
            scaled = column.at(scale)
            yield share.track(scaled)
            yield _mix(scaled, limits, mixed)


def quality_tracks(column: Column) -> Iterator[Track]:
    """For each scale: missing values, and values that the reference never had."""
    days, profile = Days.of(column.profile), column.profile
    rows = days.missing + days.counts.sum(axis=1)
    share = profile.missing / max(profile.rows, 1)
    usual = habit(days.numbers, days.missing / np.maximum(rows, 1), rows, share * (1 - share))
    values, missing = column.counts[:, 1:], column.counts[:, 0]
    for scale in SCALES:
        scaled, every = column.at(scale), column.at(scale, column.counts.sum(axis=1))
        yield _counted(every, "missing", missing, profile.missing, usual)
        if profile.kind == "text":
            yield _counted(scaled, "new", values[:, -1], profile.counts[-1], Habit())
        elif len(profile.edges) and sum(profile.counts) >= _LEAST_OF_A_RANGE:
            yield _counted(scaled, "outside", values[:, 0] + values[:, -1], 0, Habit())


def tracks_of(
    spec: MonitorSpec, windows: Sequence[WindowCounts], columns: Mapping[str, ColumnProfile], *, quality: bool
) -> Sequence[Track]:
    """All tracks of all columns."""
    taken = [Column.of(spec, name, profile, windows) for name, profile in columns.items()]
    if quality:
        return [track for column in taken for track in quality_tracks(column)]
    lengths = {column.name: len(Days.of(column.profile).numbers) for column in taken}
    most = max(lengths.values(), default=0)
    lent = (
        Lent.of([one for one in taken if lengths[one.name] == most and one.profile.kind == "numeric"]) if most else None
    )
    return [track for one in taken for track in distribution_tracks(one, lent if lengths[one.name] < most else None)]


def _usual_limits(column: Column, days: Days) -> Mapping[int, float]:
    kind = column.profile.kind
    return usual_limits(days, lambda rest, counts: effects(kind, rest, counts))


@dataclass(frozen=True, slots=True)
class _Position:
    """Where a number's values lie among the reference's: the mean of their normal scores."""

    scores: Floats
    per_row: float
    usual: Habit

    @classmethod
    def of(cls, column: Column, days: Days, *, trending: bool) -> _Position:
        reference, coarse = column.reference, column.profile.coarse
        scores = normal_scores(reference)
        per_row = float(shares(reference) @ scores**2)
        of_group = np.bincount(coarse, scores * reference) / np.maximum(np.bincount(coarse, reference), 1)
        rows = days.counts.sum(axis=1)
        means = days.counts @ of_group / np.maximum(rows, 1)
        usual = habit(days.numbers, without_line(days.numbers, means, rows) if trending else means, rows, per_row)
        return cls(scores, per_row, usual)

    def track(self, scaled: Scaled) -> Track:
        column, n = scaled.column, np.maximum(scaled.rows, 1)
        weekdays = expected_weekdays(column.granularity, column.numbers, self.usual.weekdays)
        expected = scaled.summed(weekdays * scaled.each) / n
        # Not a matrix product, whose last bits depend on how many windows are judged together.
        scored = (scaled.values * self.scores).sum(axis=1)
        moved = np.where(scaled.rows > 0, scored / n - expected, 0.0)
        granted = 0.0 if self.usual.known else _GRANTED * _distance_of(column.floor) * sqrt(self.per_row)
        beyond, m = np.maximum(np.abs(moved) - granted, 0.0), float(column.reference.sum())
        p_values = scaled.by_span(
            lambda span, at: shift_p_values(beyond[at], n[at].astype(np.float64), self.per_row, m, self.usual.at(span))
        )
        signs = np.sign(moved).astype(np.int64)
        found = _ks_of(np.abs(moved) / max(sqrt(self.per_row), 1e-12))
        return scaled.track("position", found, p_values, floors=scaled.flat(column.floor), details=signs)


def _shape(scaled: Scaled, known: Mapping[int, float]) -> Track:
    from scipy.special import kolmogorov

    reference, n = scaled.column.reference, np.maximum(scaled.rows, 1)
    found = distances("numeric", reference, scaled.values)
    granted = 0.0 if known else _GRANTED * scaled.column.floor
    p_values = kolmogorov(np.maximum(found - granted, 0.0) / np.sqrt(1 / n + 1 / reference.sum()))
    less = np.maximum(found - chance_distances("numeric", reference, n.astype(np.float64)), 0.0)
    return scaled.track("shape", less, p_values, floors=np.maximum(scaled.column.floor, scaled.limits(known)))


@dataclass(frozen=True, slots=True)
class _Share:
    """The share of each category (rare ones together); what moved most surely counts."""

    groups: Ints
    shares: Floats
    usual: Sequence[Habit]

    @classmethod
    def of(cls, column: Column, days: Days) -> _Share:
        groups, rows = column.profile.coarse, days.counts.sum(axis=1)
        found = shares(_grouped(column.reference[None, :], groups)[0])
        means = days.counts / np.maximum(rows, 1)[:, None]
        usual = [habit(days.numbers, means[:, at], rows, float(p * (1 - p))) for at, p in enumerate(found)]
        return cls(groups, found, usual)

    def track(self, scaled: Scaled) -> Track:
        counted, n = _grouped(scaled.values, self.groups), scaled.rows
        moved = shares(counted) - self.shares
        p_values = np.ones(moved.shape)
        for group in range(len(self.shares)):
            p_values[:, group] = self._p_values(scaled, group, counted[:, group], moved[:, group])
        worst = p_values.argmin(axis=1)
        windows = np.arange(len(n))
        least = np.minimum(p_values[windows, worst] * len(self.shares), 1.0)
        found, floors = np.abs(moved[windows, worst]), scaled.flat(scaled.column.floor)
        return scaled.track("share", found, least, floors=floors, details=worst.astype(np.int64))

    def _p_values(self, scaled: Scaled, group: int, counted: Ints, moved: Floats) -> Floats:
        floor, usual = scaled.column.floor, self.usual[group]
        granted = 0.0 if usual.known else _GRANTED * floor
        beyond = counted - np.sign(moved) * granted * scaled.rows
        m, p = float(scaled.column.reference.sum()), float(self.shares[group])
        large = np.flatnonzero((np.abs(moved) > floor) & (scaled.rows >= LEAST_ROWS))
        return scaled.by_span(lambda span, at: share_p_values(beyond[at], scaled.rows[at], p, m, usual.at(span)), large)


def _mix(scaled: Scaled, known: Mapping[int, float], usual: Habit) -> Track:
    reference, n, values = scaled.column.reference, np.maximum(scaled.rows, 1), scaled.values
    found = distances("text", reference, values)
    granted = 0.0 if known else _GRANTED * scaled.column.floor
    statistics, cells = chi2_statistics(reference, values)
    statistics = statistics * np.maximum(1 - granted / np.maximum(found, 1e-12), 0.0) ** 2
    rows, m = n.astype(np.float64), float(reference.sum())
    p_values = scaled.by_span(lambda span, at: chi2_p_values(statistics[at], cells[at], rows[at], m, usual.at(span)))
    less = np.maximum(found - chance_distances("text", reference, rows), 0.0)
    return scaled.track("mix", less, p_values, floors=np.maximum(scaled.column.floor, scaled.limits(known)))


def _mix_habit(days: Days) -> Habit:
    """The variance between windows of the chi-squared statistic per row and degree of freedom (1 in all without any)."""
    found = {}
    for span in SPANS:
        counts = days.summed(span).counts
        counts = counts[counts.sum(axis=1) >= LEAST_ROWS]
        n = counts.sum(axis=1).astype(np.float64)
        statistics, cells = chi2_statistics(counts.sum(axis=0), counts)
        judged = cells > 0
        if judged.sum() >= _LEAST_WINDOWS:
            # A deviation whose square is the mean square of the cells': chi-squared per row and degree.
            deviations = np.sqrt(statistics[judged] / cells[judged] / n[judged])
            found[span] = between_variance(deviations, n[judged], 1.0)
    return Habit(between=found)


def _counted(scaled: Scaled, measure: Measure, found: Ints, before: int, usual: Habit) -> Track:
    """Rows that have something, against `before` rows of the reference."""
    column, n = scaled.column, np.maximum(scaled.rows, 1)
    m = column.profile.rows if measure == "missing" else int(column.reference.sum())
    share = before / max(m, 1)
    weekdays = expected_weekdays(column.granularity, column.numbers, usual.weekdays)
    x = np.clip(scaled.summed(found - weekdays * scaled.each), 0, n)
    moved = np.where(scaled.rows > 0, x / n - share, 0.0)
    large = np.flatnonzero((np.abs(moved) > QUALITY_FLOOR) & (scaled.rows >= LEAST_ROWS))
    p_values = scaled.by_span(lambda span, at: share_p_values(x[at], n[at], share, float(m), usual.at(span)), large)
    signs = np.sign(moved).astype(np.int64)
    return scaled.track(measure, np.abs(moved), p_values, floors=scaled.flat(QUALITY_FLOOR), details=signs)


def _grouped(counts: Ints, groups: Ints) -> Ints:
    """Counts of cells as counts of coarse cells, w x c."""
    first = np.unique(groups, return_index=True)[1]
    return np.add.reduceat(counts, first, axis=1)


def _ks_of(distance: Floats) -> Floats:
    """The KS distance of two normal distributions of equal spread that are so many sd apart."""
    from scipy.special import ndtr

    return np.asarray(2 * ndtr(distance / 2) - 1, dtype=np.float64)


def _distance_of(ks: float) -> float:
    """The other way round."""
    from scipy.special import ndtri

    return float(2 * ndtri((1 + min(ks, 1 - 1e-9)) / 2))
