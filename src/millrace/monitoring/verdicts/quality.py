"""Is a window's data broken? Columns that are gone, values that are missing, and values that the reference never had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from millrace.monitoring.counts.window_counts import WindowCounts
from millrace.monitoring.reference.calibrate import LEAST_ROWS
from millrace.monitoring.reference.column import ColumnProfile
from millrace.monitoring.reference.trend import trend_of
from millrace.monitoring.types import MonitorSpec, WindowVerdict
from millrace.monitoring.verdicts.budget import SCALES, alpha
from millrace.monitoring.verdicts.causes import Finding, Weights, also, ranked, ranked_figures, severity
from millrace.monitoring.verdicts.tracks import QUALITY_FLOOR, Track, tracks_of
from millrace.monitoring.windows import Granularity

_TESTS = 2  # of a column, at each scale: missing, and what the reference never had


def judge_quality(
    spec: MonitorSpec,
    version: str,
    windows: Sequence[WindowCounts],
    columns: Mapping[str, ColumnProfile],
    *,
    importances: Mapping[str, float] | None = None,
) -> Sequence[WindowVerdict]:
    """A verdict for each window: `broken` where a share (of missing values, out of range, in new categories) moved by more than 3 points, and surely.

    A column that was not logged, or that can't be read as what it was, is broken whatever the budget: that is no chance. The rest is judged by the budget's share
    of quality, split over columns that matter x 2 tests x scales. A reference of under 600 numbers does not know their range. Under 30 rows at all scales the window is `insufficient_data`.

    Args:
        spec: the monitor.
        version: the model version that all windows are of.
        windows: oldest first, numbers rising; the first ones serve as the past of the later ones.
        columns: watched columns of the log with their profiles.
        importances: feature to its share of the model's importance; nothing: all count alike.
    """
    weights, granularity = Weights.of(spec, importances or {}), Granularity.parse(spec.granularity)
    found = quality_findings(spec, windows, columns, weights)
    return [_verdict(version, granularity, windows[: at + 1], findings, weights) for at, findings in enumerate(found)]


def quality_findings(
    spec: MonitorSpec, windows: Sequence[WindowCounts], columns: Mapping[str, ColumnProfile], weights: Weights
) -> Sequence[Sequence[Finding]]:
    """What is broken at each window."""
    if not windows:
        return []
    counted = sum(weights.matters(name) for name in columns) or len(columns)
    limit = alpha(spec, "quality") / max(counted * _TESTS * len(SCALES), 1)
    found: list[list[Finding]] = [[] for _ in windows]
    for track in [*_gone(windows, columns), *tracks_of(spec, windows, columns, quality=True)]:
        if track.measure == "outside" and trend_of(track.profile) is not None:
            continue  # what grows leaves its range; whether as its trend foretells is the drift verdict's to say
        called = (track.p_values < limit) & (track.effects > track.floors)
        for at in np.flatnonzero(called & ((track.rows >= LEAST_ROWS) | (track.measure == "absent"))):
            found[at].append(Finding(track, int(at), limit))
    return found


def _gone(windows: Sequence[WindowCounts], columns: Mapping[str, ColumnProfile]) -> Sequence[Track]:
    """Columns that some window's rows were logged without."""
    rows = np.array([window.rows for window in windows], dtype=np.int64)
    tracks = []
    for name, profile in columns.items():
        absent = np.array([window.absent.get(name, 0) for window in windows], dtype=np.int64)
        if absent.any():
            p_values = np.where(absent > 0, 0.0, 1.0)
            effects = absent / np.maximum(rows, 1)
            tracks.append(
                Track(
                    name,
                    profile,
                    "absent",
                    1,
                    np.full(len(rows), QUALITY_FLOOR),
                    effects,
                    p_values,
                    rows,
                    np.ones_like(rows),
                )
            )
    return tracks


def _verdict(
    version: str,
    granularity: Granularity,
    windows: Sequence[WindowCounts],
    found: Sequence[Finding],
    weights: Weights,
) -> WindowVerdict:
    number = windows[-1].number
    start, end = granularity.start(number), granularity.start(number + 1)
    if found:
        ordered = ranked(found, weights)
        reason = ordered[0].sentence(granularity) + also(ordered, weights)
        names = tuple(one.column for one in ordered)
        figures = {**ordered[0].figures(), **ranked_figures(ordered, weights)}
        score = ordered[0].effect
        how = severity(found, weights)
        return WindowVerdict("quality", version, start, end, "broken", score, names, reason, figures, how)
    rows = sum(window.rows for window in windows[-SCALES[-1] :] if window.number > number - SCALES[-1])
    if rows < LEAST_ROWS:
        reason = f"{rows} rows over {granularity.span(SCALES[-1])}, {LEAST_ROWS} are needed"
        return WindowVerdict("quality", version, start, end, "insufficient_data", None, (), reason, {"rows": rows})
    reason = "no column is missing more than it was, or holds what the reference never had"
    return WindowVerdict("quality", version, start, end, "ok", None, (), reason, {"rows": rows})
