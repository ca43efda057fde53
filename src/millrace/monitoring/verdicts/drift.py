"""Is a window drift? Distances over 1, 7 and 28 windows, a false-alarm budget, and a floor that the reference set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from millrace.monitoring.counts.window_counts import WindowCounts
from millrace.monitoring.reference.calibrate import LEAST_ROWS, Variation
from millrace.monitoring.reference.cells import Floats, Ints
from millrace.monitoring.reference.column import ColumnProfile
from millrace.monitoring.reference.effects import chance_distances, distances, rolling, shares
from millrace.monitoring.types import MonitorSpec, WindowVerdict
from millrace.monitoring.windows import Granularity
from millrace.statistics.tests import chi2_from_counts, ks_p_value

SCALES = (1, 7, 28)
BUDGET_SHARE = 0.5
MISSING_FLOOR = 0.03
_GRANTED = 0.75
_TESTS_PER_COLUMN = 2
_WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Track:
    """One thing that is measured over all windows: a column's distribution or its missing share, at one scale.

    Attributes:
        measure: `KS`, `TV` or `missing share`.
        typical: what the reference's own windows reach, at least 3/4 of the floor: taken off before the p-value.
        floor: an effect up to here is not called drift.
        counts: windows x (1 + k), summed over the scale.
        rows: values that count at each window.
        distances, chance: at each window, what was seen and what chance alone shows on average.
    """

    profile: ColumnProfile
    name: str
    measure: str
    scale: int
    typical: float
    floor: float
    counts: Ints
    rows: Ints
    distances: Floats
    chance: Floats

    @property
    def effects(self) -> Floats:
        """Distances with chance taken off, 0 or more."""
        return np.maximum(self.distances - self.chance, 0.0)

    def limit(self, at: int) -> float:
        """The distance that the floor means at a window, chance put back."""
        return float(self.floor + self.chance[at])

    def p_value(self, at: int) -> float:
        """Chance of so large a distance, beyond the typical one, if nothing had changed."""
        if self.measure == "missing share":
            return _missing_p_value(self.profile, self.counts[at], self.typical)
        reference, counts = np.array(self.profile.counts), self.counts[at, 1:]
        if self.measure == "KS":
            beyond = max(float(self.distances[at]) - self.typical, 0.0)
            return ks_p_value(beyond, float(reference.sum()), float(counts.sum()))
        expected = shares(reference) * counts.sum()
        kept = max(1.0 - self.typical / float(self.distances[at]), 0.0)
        return chi2_from_counts(reference, expected + (counts - expected) * kept).p_value


def judge_drift(
    spec: MonitorSpec, version: str, windows: Sequence[WindowCounts], columns: Mapping[str, ColumnProfile]
) -> Sequence[WindowVerdict]:
    """A verdict for each window, from it and those before it.

    Drift is called where, for some column and scale (1, 7, 28 windows), the effect is over its floor and the p-value of what is
    beyond typical is under the budget: half of `false_alarms_per_year` over the windows of a year, split evenly over columns x (distribution, missing) x scales.
    Under 30 rows a scale says nothing; the window is `insufficient_data` where none does.

    Args:
        spec: the monitor.
        version: the model version that all windows are of.
        windows: oldest first, numbers rising; gaps are windows without rows. The first ones serve as the past of the later ones.
        columns: watched columns of the log with their profiles.
    """
    granularity = Granularity.parse(spec.granularity)
    first = windows[0].number
    tracks = list(_tracks(spec, granularity, windows, columns))
    alpha = spec.false_alarms_per_year * BUDGET_SHARE / granularity.windows_per_year
    alpha /= max(len(columns), 1) * _TESTS_PER_COLUMN * len(SCALES)
    suspects = [_suspects(track) for track in tracks]
    verdicts = []
    for window in windows:
        at = window.number - first
        found = [
            (track, p_value)
            for track, where in zip(tracks, suspects, strict=True)
            if at in where and (p_value := track.p_value(at)) < alpha
        ]
        verdicts.append(_verdict(version, granularity, window, at=at, tracks=tracks, found=found))
    return verdicts


def _tracks(
    spec: MonitorSpec,
    granularity: Granularity,
    windows: Sequence[WindowCounts],
    columns: Mapping[str, ColumnProfile],
) -> Iterator[Track]:
    first = windows[0].number
    variations = [other.variation for other in columns.values()]
    for name, profile in columns.items():
        counts = np.zeros((windows[-1].number - first + 1, len(profile.counts) + 1), dtype=np.int64)
        for window in windows:
            counts[window.number - first] = window.cells[name]
        for scale in SCALES:
            summed = rolling(counts, scale)
            days = granularity.length * scale
            if sum(profile.counts) >= LEAST_ROWS:
                normal = _variation(variations, profile.variation, days)
                yield _distribution(name, profile, scale, summed, _levels(normal, spec.effect_floor))
            normal = _variation([profile.missing_variation], profile.missing_variation, days)
            yield _missing(name, profile, scale, summed, _levels(normal, MISSING_FLOOR))


def _distribution(name: str, profile: ColumnProfile, scale: int, counts: Ints, levels: tuple[float, float]) -> Track:
    reference, values = np.array(profile.counts), counts[:, 1:]
    rows = values.sum(axis=1)
    distance = distances(profile.kind, reference, values)
    chance = chance_distances(profile.kind, reference, np.maximum(rows, 1).astype(np.float64))
    measure = "KS" if profile.kind == "numeric" else "TV"
    return Track(profile, name, measure, scale, *levels, counts, rows, distance, chance)


def _missing(name: str, profile: ColumnProfile, scale: int, counts: Ints, levels: tuple[float, float]) -> Track:
    change = np.abs(shares(counts)[:, 0] - profile.missing / max(profile.rows, 1))
    return Track(
        profile, name, "missing share", scale, *levels, counts, counts.sum(axis=1), change, np.zeros_like(change)
    )


def _variation(
    all_columns: Sequence[Mapping[int, Variation]], own: Mapping[int, Variation], length: timedelta
) -> Variation | None:
    """What the reference knows about windows of a length: weekly for a week or more, else daily, else what there is.

    A column with fewer windows than others (an answer, known on the holdout only) may vary as much as the most variable one: it
    follows them, and its few neighbouring windows have not seen the seasons.
    """
    for span in (7, 1) if length >= _WEEK else (1, 7):
        known = [other[span] for other in all_columns if span in other]
        if known:
            most = max(one.windows for one in known)
            mine = own.get(span)
            return mine if mine and mine.windows == most else max(known, key=lambda one: one.limit)
    return None


def _levels(normal: Variation | None, floor: float) -> tuple[float, float]:
    """What is granted before the p-value, and the floor. Three quarters of the floor are granted to seasons that the reference has not seen."""
    if normal is None:
        return _GRANTED * floor, floor
    return max(normal.typical, _GRANTED * floor), max(floor, normal.limit)


def _suspects(track: Track) -> frozenset[int]:
    over = (track.effects > track.floor) & (track.rows >= LEAST_ROWS)
    return frozenset(int(at) for at in np.flatnonzero(over))


def _missing_p_value(profile: ColumnProfile, counts: Ints, typical: float) -> float:
    """Two-sided exact binomial test against the reference's share, moved by what is typical towards what was seen."""
    from scipy.special import bdtr, bdtrc

    rows, missing = int(counts.sum()), int(counts[0])
    expected = (profile.missing + 0.5) / (profile.rows + 1)
    if missing > expected * rows:
        share = min(expected + typical, 1.0)
        tail = bdtrc(missing - 1, rows, share) if missing else 1.0
    else:
        tail = bdtr(missing, rows, max(expected - typical, 0.0))
    return float(min(2 * tail, 1.0))


def _verdict(
    version: str,
    granularity: Granularity,
    window: WindowCounts,
    *,
    at: int,
    tracks: Sequence[Track],
    found: Sequence[tuple[Track, float]],
) -> WindowVerdict:
    start, end = granularity.start(window.number), granularity.start(window.number + 1)
    if found:
        ordered = sorted(found, key=lambda one: one[0].effects[at] / one[0].floor, reverse=True)
        worst, p_value = ordered[0]
        names = tuple(dict.fromkeys(track.name for track, _ in ordered))
        more = f"; also {', '.join(names[1:])}" if len(names) > 1 else ""
        reason = _sentence(worst, at, granularity) + more
        score = float(worst.effects[at])
        return WindowVerdict("drift", version, start, end, "drift", score, names, reason, _figures(worst, at, p_value))
    worst_or_none = _largest(tracks, at)
    if worst_or_none is None:
        rows = max((int(track.rows[at]) for track in tracks), default=0)
        reason = f"{rows} rows over {granularity.span(SCALES[-1])}, {LEAST_ROWS} are needed"
        return WindowVerdict("drift", version, start, end, "insufficient_data", None, (), reason, {"rows": rows})
    reason = "no drift; the largest distance is " + _sentence(worst_or_none, at, granularity)
    score = float(worst_or_none.effects[at])
    return WindowVerdict("drift", version, start, end, "ok", score, (), reason, _figures(worst_or_none, at, None))


def _largest(tracks: Sequence[Track], at: int) -> Track | None:
    """The largest effect on a distribution over 7 windows (over 28 where 7 have too few rows): a steady score."""
    for scale in (7, 28):
        known = [
            track
            for track in tracks
            if track.scale == scale and track.rows[at] >= LEAST_ROWS and track.measure != "missing share"
        ]
        if known:
            return max(known, key=lambda track: track.effects[at])
    return None


def _sentence(track: Track, at: int, granularity: Granularity) -> str:
    span = granularity.span(track.scale)
    if track.measure == "missing share":
        share = float(shares(track.counts)[at, 0])
        before = track.profile.missing / max(track.profile.rows, 1)
        return f"{track.name}: {share:.1%} missing over {span} (n={track.rows[at]}), {before:.1%} in the reference"
    return (
        f"{track.name}: {track.measure} {track.distances[at]:.2f} over {span} (n={track.rows[at]}), "
        f"limit {track.limit(at):.2f}"
    )


def _figures(track: Track, at: int, p_value: float | None) -> Mapping[str, float]:
    figures = {
        "windows": float(track.scale),
        "rows": float(track.rows[at]),
        "distance": float(track.distances[at]),
        "effect": float(track.effects[at]),
        "limit": float(track.floor),
    }
    return figures if p_value is None else figures | {"p_value": p_value}
