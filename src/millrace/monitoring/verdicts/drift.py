"""Is a window drift? Effects over 1, 3, 7 and 28 windows, a false-alarm budget, and what the reference's own windows do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from millrace.monitoring.counts.sums import Moments
from millrace.monitoring.counts.window_counts import WindowCounts
from millrace.monitoring.reference.calibrate import LEAST_ROWS
from millrace.monitoring.reference.column import ColumnProfile
from millrace.monitoring.reference.trend import Trend, trend_of
from millrace.monitoring.types import MonitorSpec, WindowVerdict
from millrace.monitoring.verdicts.budget import SCALES, alpha
from millrace.monitoring.verdicts.causes import Finding, Weights, also, ranked, ranked_figures, severity
from millrace.monitoring.verdicts.quality import quality_findings
from millrace.monitoring.verdicts.tracks import Track, tracks_of
from millrace.monitoring.windows import Granularity

_TESTS = 2  # of a column, at each scale
_DAY_S = 86_400.0
_CAUSES = ("absent", "missing", "new")  # out of range is what drift looks like, not what makes it


def judge_drift(
    spec: MonitorSpec,
    version: str,
    windows: Sequence[WindowCounts],
    columns: Mapping[str, ColumnProfile],
    *,
    importances: Mapping[str, float] | None = None,
) -> Sequence[WindowVerdict]:
    """A verdict for each window, from it and those before it.

    Drift is called where, for some column and scale (1, 3, 7, 28 windows), an effect is over its floor and its p-value under the budget: drift's share of
    `false_alarms_per_year` over the windows of a year, split evenly over the columns that matter x 2 tests x scales. Under 30 rows a scale
    says nothing; the window is `insufficient_data` where none does. A number that is where its own trend in the reference leads is `explained`;
    answers are where only explained features moved. Columns with under 1 % of the model's importance make a verdict that is `info`.

    Args:
        spec: the monitor.
        version: the model version that all windows are of.
        windows: oldest first, numbers rising; gaps are windows without rows. The first ones serve as the past of the later ones.
        columns: watched columns of the log with their profiles.
        importances: feature to its share of the model's importance; nothing: all count alike.
    """
    if not windows:
        return []
    weights = Weights.of(spec, importances or {})
    counted = sum(weights.matters(name) for name in columns) or len(columns)
    limit = alpha(spec, "drift") / max(counted * _TESTS * len(SCALES), 1)
    tracks = tracks_of(spec, windows, columns, quality=False)
    found = _called(tracks, limit, len(windows))
    broken = quality_findings(spec, windows, columns, weights) if any(found) else [[]] * len(windows)
    judge = _Judge(spec, version, windows, columns, weights, tracks, _trends(columns, found))
    return [judge.verdict(at, found[at], broken[at]) for at in range(len(windows))]


def _called(tracks: Sequence[Track], limit: float, windows: int) -> Sequence[Sequence[Finding]]:
    found: list[list[Finding]] = [[] for _ in range(windows)]
    for track in tracks:
        called = (track.p_values < limit) & (track.effects > track.floors) & (track.rows >= LEAST_ROWS)
        for at in np.flatnonzero(called):
            found[at].append(Finding(track, int(at), limit))
    return found


def _trends(columns: Mapping[str, ColumnProfile], found: Sequence[Sequence[Finding]]) -> Mapping[str, Trend]:
    moved = {one.column for findings in found for one in findings}
    fitted = {name: trend_of(columns[name]) for name in moved}
    return {name: trend for name, trend in fitted.items() if trend is not None}


@dataclass(frozen=True, slots=True)
class _Judge:
    spec: MonitorSpec
    version: str
    windows: Sequence[WindowCounts]
    columns: Mapping[str, ColumnProfile]
    weights: Weights
    tracks: Sequence[Track]
    trends: Mapping[str, Trend]

    def verdict(self, at: int, found: Sequence[Finding], broken: Sequence[Finding]) -> WindowVerdict:
        explained = {one.column for one in found if self._explained(one)}
        left = [one for one in found if one.column not in explained]
        if explained and all(one.column in self.weights.answers for one in left):
            explained, left = explained | {one.column for one in left}, []
        if left:
            return self._drift(at, left, broken)
        if explained:
            return self._foretold(at, [one for one in found if one.column in explained])
        return self._calm(at)

    def _drift(self, at: int, found: Sequence[Finding], broken: Sequence[Finding]) -> WindowVerdict:
        ordered = ranked(found, self.weights)
        reason = ordered[0].sentence(self._granularity) + also(ordered, self.weights)
        causes = [one for one in broken if one.track.measure in _CAUSES]
        if causes:
            reason = f"{ranked(causes, self.weights)[0].sentence(self._granularity)}; then {reason}"
        figures = {**ordered[0].figures(), **ranked_figures(ordered, self.weights)}
        start, end = self._period(at)
        return WindowVerdict(
            kind="drift",
            model_version=self.version,
            start=start,
            end=end,
            status="drift",
            score=ordered[0].effect,
            columns=tuple(one.column for one in ordered),
            reason=reason,
            figures=figures,
            severity=severity(found, self.weights),
        )

    def _foretold(self, at: int, found: Sequence[Finding]) -> WindowVerdict:
        ordered = ranked(found, self.weights)
        reason = f"{ordered[0].column}: {self.trends[ordered[0].column]}" + also(ordered, self.weights)
        start, end = self._period(at)
        names = tuple(one.column for one in ordered)
        figures = {**ordered[0].figures(), "slope_per_day": self.trends[names[0]].slope}
        score = ordered[0].effect
        return WindowVerdict(
            "drift", self.version, start, end, "explained", score, names, reason, figures, severity="info"
        )

    def _calm(self, at: int) -> WindowVerdict:
        start, end = self._period(at)
        largest = self._largest(at)
        if largest is None:
            rows = max((int(track.rows[at]) for track in self.tracks), default=0)
            reason = (
                f"{rows} rows over {self._granularity.span(SCALES[-1])}, {LEAST_ROWS} are needed"
                if self.tracks
                else f"no column has {LEAST_ROWS} values in the reference"
            )
            return WindowVerdict(
                "drift", self.version, start, end, "insufficient_data", None, (), reason, {"rows": rows}
            )
        one = Finding(largest, at, 0.0)
        reason = "no drift; the largest effect is " + one.sentence(self._granularity)
        figures = {name: value for name, value in one.figures().items() if name not in ("alpha", "p_value")}
        return WindowVerdict("drift", self.version, start, end, "ok", one.effect, (), reason, figures)

    def _largest(self, at: int) -> Track | None:
        """The largest distance over 7 windows (over 28 where 7 have too few rows): a steady score."""
        for scale in (7, 28):
            known = [
                track
                for track in self.tracks
                if track.scale == scale and track.rows[at] >= LEAST_ROWS and track.measure in ("shape", "mix")
            ]
            if known:
                return max(known, key=lambda track: (float(track.effects[at]), track.column))
        return None

    def _explained(self, one: Finding) -> bool:
        """Whether a column is where its trend leads, in the windows that were looked at."""
        trend = self.trends.get(one.column)
        if trend is None:
            return False
        last = self.windows[one.at].number
        taken = [w for w in self.windows[: one.at + 1] if last - one.track.scale < w.number and one.column in w.moments]
        if not taken:
            return False
        sums = sum((w.moments[one.column] for w in taken), Moments())
        if sums.mean is None or sums.sd is None:
            return False
        rows = [w.moments[one.column].count for w in taken]
        day = sum(n * self._middle(w.number) for n, w in zip(rows, taken, strict=True)) / max(sum(rows), 1)
        return trend.explains(day, sums.count, sums.mean, sums.sd, self.spec.effect_floor)

    def _middle(self, number: int) -> float:
        start, end = self._granularity.start(number), self._granularity.start(number + 1)
        return (start.timestamp() + end.timestamp()) / 2 / _DAY_S

    @property
    def _granularity(self) -> Granularity:
        return Granularity.parse(self.spec.granularity)

    def _period(self, at: int) -> tuple[datetime, datetime]:
        number = self.windows[at].number
        return self._granularity.start(number), self._granularity.start(number + 1)
