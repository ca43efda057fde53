"""Does the log still grow as it did? Windows without rows, and with far fewer or far more than those before them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from millrace.monitoring.counts.window_counts import WindowCounts
from millrace.monitoring.reference.cells import Floats, Ints
from millrace.monitoring.types import MonitorSpec, Severity, Status, WindowVerdict
from millrace.monitoring.verdicts.budget import alpha
from millrace.monitoring.windows import Granularity

LEAST_WINDOWS = 14
_PAST = 28
_WEEK = 7
_LEAST_EXPECTED = 30
_LEAST_OF_A_WEEKDAY = 3
_FACTOR = 2.0
_FAR = 10.0
_MUCH_LESS = 0.7  # weekdays differ where knowing them tells so much more
_SD_OF_MIDDLE = 1.4826  # of a normal distribution
_DAY = timedelta(days=1)
_INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class _Usual:
    """What the past lets expect: rows, the standard deviation of a new logarithm of rows around that of these, and its degrees of freedom."""

    rows: float
    error: float
    degrees: int


def judge_volume(
    spec: MonitorSpec,
    version: str,
    windows: Sequence[WindowCounts],
    *,
    until: datetime | None = None,
    first: int | None = None,
) -> Sequence[WindowVerdict]:
    """A verdict for each window from the first to the last, those without any rows too.

    Broken where a window has under half or over twice the rows that the 28 windows before it let expect (their median, or that of their weekday where weekdays differ), and
    this is sure by the budget's share of volume: a t-test on logarithms of rows, with Poisson's variance added. Fewer than 14 windows before it, or fewer than 30
    rows expected, are too few to say. The first window is seldom whole: it counts nowhere. What no row has come since does not become usual: whole weeks of
    silence before a window are passed over.

    Args:
        spec: the monitor.
        version: the model version that all windows are of.
        windows: oldest first, numbers rising; gaps are windows without rows.
        until: rows are known up to here: windows that end by then and have no rows are judged too. None: up to the newest window with rows.
        first: the number of the first window to judge; None: all.
    """
    if not windows:
        return []
    granularity = Granularity.parse(spec.granularity)
    oldest, last = windows[0].number, windows[-1].number
    if until is not None:
        last = max(last, granularity.number(until - _INSTANT))
    rows = np.zeros(last - oldest + 1, dtype=np.int64)
    for window in windows:
        rows[window.number - oldest] = window.rows
    judge = _Judge(version, granularity, alpha(spec, "volume") / 2)
    weekdays = granularity.length == _DAY
    return [
        judge.verdict(oldest + at, int(rows[at]), _usual(_spoken(rows[1:at]), weekdays=weekdays))
        for at in range(max((first or oldest) - oldest, 0), len(rows))
        if until is None or granularity.start(oldest + at + 1) <= until
    ]


def _spoken(before: Ints) -> Ints:
    """Without the weeks of silence at the end; whole ones, so that weekdays stay where they are."""
    silent = int(np.argmax(before[::-1] > 0)) if before.any() else 0
    return before[: len(before) - silent // _WEEK * _WEEK]


def _usual(before: Ints, *, weekdays: bool) -> _Usual | None:
    """From the windows before, the newest last; None where they are too few."""
    past = before[-_PAST:]
    if len(past) < LEAST_WINDOWS:
        return None
    logs, same = np.log(past + 0.5), past[-7::-7]
    away = logs - np.median(logs)
    if weekdays and len(same) >= _LEAST_OF_A_WEEKDAY:
        within = logs - _by_weekday(logs)
        if np.abs(within).sum() < _MUCH_LESS * np.abs(away).sum():
            return _around(same, within, len(past), 7)
    return _around(past, away, len(past), 1)


def _around(like: Ints, away: Floats, windows: int, medians: int) -> _Usual:
    # The middle of the distances, not their squares: an outage in the past must not hide the next one.
    spread = float(np.median(np.abs(away)) * _SD_OF_MIDDLE) * np.sqrt(windows / (windows - medians))
    return _Usual(float(np.median(like)), float(spread * np.sqrt(1 + np.pi / 2 / len(like))), windows - medians)


def _by_weekday(logs: Floats) -> Floats:
    found = np.empty_like(logs)
    for day in range(7):
        found[day::7] = np.median(logs[day::7])
    return found


@dataclass(frozen=True, slots=True)
class _Judge:
    version: str
    granularity: Granularity
    chance: float

    def verdict(self, number: int, rows: int, usual: _Usual | None) -> WindowVerdict:
        figures = {"rows": float(rows)}
        if usual is None or usual.rows < _LEAST_EXPECTED:
            reason = (
                f"{LEAST_WINDOWS} windows before it are needed to know how many rows are usual"
                if usual is None
                else f"{usual.rows:.0f} rows are usual: too few to say whether some are missing"
            )
            return self._told(number, "insufficient_data", reason, figures)
        p_value, span = _p_value(rows, usual), self.granularity.span(1)
        figures |= {"expected": usual.rows, "p_value": p_value, "alpha": self.chance}
        ratio = (rows + 0.5) / (usual.rows + 0.5)
        reason = f"{rows or 'no':{',' if rows else ''}} rows in {span}, {usual.rows:,.0f} are usual"
        if 1 / _FACTOR <= ratio <= _FACTOR or p_value >= self.chance:
            return self._told(number, "ok", reason, figures, ratio)
        return self._told(number, "broken", reason, figures, ratio)

    def _told(
        self, number: int, status: Status, reason: str, figures: Mapping[str, float], ratio: float | None = None
    ) -> WindowVerdict:
        is_far = ratio is not None and not 1 / _FAR <= ratio <= _FAR
        how: Severity = "critical" if status == "broken" and is_far else "warning"
        start, end = self.granularity.start(number), self.granularity.start(number + 1)
        return WindowVerdict("volume", self.version, start, end, status, ratio, (), reason, figures, how)


def _p_value(rows: int, usual: _Usual) -> float:
    """One-sided chance of rows so far from what is usual: Student's t of the logarithm, or Poisson's own where that is larger."""
    from scipy.special import pdtr, pdtrc, stdtr

    distance = abs(np.log(rows + 0.5) - np.log(usual.rows + 0.5))
    error = np.sqrt(usual.error**2 + 1 / usual.rows)
    poisson = pdtr(rows, usual.rows) if rows < usual.rows else pdtrc(rows - 1, usual.rows)
    return float(max(stdtr(usual.degrees, -distance / error), poisson))
