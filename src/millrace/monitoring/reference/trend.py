"""A column that grows in the reference already: where it should be by now, if nothing else happens.

The age of a cohort that nobody joins grows by one day a day. Called drift each day it would say nothing new; what matters is whether a
column still is where its own trend leads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from millrace.monitoring.reference.cells import Floats
from millrace.monitoring.reference.column import ColumnProfile

_LEAST_WINDOWS = 6
_LEAST_FIT = 0.9  # of the variance between windows
_LEAST_T = 10.0
_CURVED_T = 4.0
_SURE_T = 3.3  # one in a thousand
_VAGUE = 0.25
_MOST_SPREAD = 2.0
_A_DAY = 0.02


@dataclass(frozen=True, slots=True)
class Trend:
    """A line through the means of the reference's days.

    Attributes:
        slope: per day.
        middle, level: the mean day (its middle, in days since 1970) and the mean there.
        start: the column's mean over the whole reference.
        residual: standard deviation of a day's mean around the line.
        windows, spread: how many days; the sum of squares of their distances in time.
        curve: per day squared, where days bend away from the line surely; else 0.
        width, bend: mean square and mean cube of the distances in time, for the curve.
        sd: of the values in a day, typically.
    """

    slope: float
    middle: float
    level: float
    start: float
    residual: float
    windows: int
    spread: float
    curve: float
    width: float
    bend: float
    sd: float

    def expected(self, day: float) -> float:
        """The mean at a time in days since 1970."""
        return self.level + self.slope * (day - self.middle)

    def uncertainty(self, day: float, rows: int) -> float:
        """Standard error of the mean of some rows at that time: around the line, of the line, of the sample, and for a line that bends."""
        away = day - self.middle
        line = self.residual**2 * (1 + 1 / self.windows + away**2 / self.spread)
        bends = self.curve * (away**2 - self.width - away * self.bend / max(self.width, 1e-12))
        return float(np.sqrt(line + bends**2 + self.sd**2 / max(rows, 1)))

    def explains(self, day: float, rows: int, mean: float, sd: float, floor: float) -> bool:
        """Whether values are where the trend leads: their mean within what the line can tell (or so near that it is no effect), their spread alike.

        A line that can tell little explains nothing.

        Args:
            day: the middle of the window, in days since 1970.
            rows: values in it.
            mean: of them.
            sd: of them.
            floor: the KS distance up to which an effect is let be.
        """
        change, error = self.expected(day) - self.start, self.uncertainty(day, rows)
        if change * (mean - self.start) <= 0 or _SURE_T * error > _VAGUE * abs(change):
            return False
        off = abs(mean - self.expected(day))
        # Two normal distributions that are d sd apart have a KS distance of about 0.4 d.
        near = off < _SURE_T * error or 0.4 * off < floor * max(self.sd, 1e-300)
        return near and sd < _MOST_SPREAD * self.sd and self.sd < _MOST_SPREAD * sd

    def __str__(self) -> str:
        """In words."""
        way = "grows" if self.slope > 0 else "falls"
        cause = "cohort age" if abs(self.slope - 1) < _A_DAY else "a trend that the reference has"
        return f"drift explained by {cause}: {way} {abs(self.slope):.2f} a day, as in the reference"


def trend_of(profile: ColumnProfile) -> Trend | None:
    """The trend of a column's daily means; None where there is none that is straight and sure."""
    kept = profile.days
    if kept is None or profile.mean is None:
        return None
    days = [
        (number + 0.5, mean, sd, rows - missing)
        for number, mean, sd, rows, missing in zip(
            kept.numbers, kept.means, kept.sds, kept.rows, kept.missing, strict=True
        )
        if mean is not None and sd is not None and rows > missing
    ]
    if len(days) < _LEAST_WINDOWS:
        return None
    return _fit(*np.array(days, dtype=np.float64).T, start=profile.mean)


def _fit(times: Floats, means: Floats, sds: Floats, rows: Floats, *, start: float) -> Trend | None:
    weights = rows / rows.mean()
    middle, level = np.average(times, weights=weights), np.average(means, weights=weights)
    x, y = times - middle, means - level
    spread, total = float((weights * x * x).sum()), float((weights * y * y).sum())
    if spread <= 0 or total <= 0:
        return None
    slope = float((weights * x * y).sum()) / spread
    left = y - slope * x
    unexplained = float((weights * left * left).sum())
    residual = np.sqrt(unexplained / (len(x) - 2))
    if 1 - unexplained / total < _LEAST_FIT or abs(slope) < _LEAST_T * residual / np.sqrt(spread):
        return None
    width, bend = (float(np.average(x**power, weights=weights)) for power in (2, 3))
    curve = _curve(x, left, weights, width, bend)
    sd = float(np.sqrt(np.average(sds**2, weights=weights)))
    return Trend(slope, float(middle), float(level), start, float(residual), len(x), spread, curve, width, bend, sd)


def _curve(x: Floats, left: Floats, weights: Floats, width: float, bend: float) -> float:
    """The coefficient of the square, orthogonal to the line, where its t is over 4; else 0."""
    square = x * x - width - x * bend / max(width, 1e-12)
    norm = float((weights * square * square).sum())
    if norm <= 0 or len(x) <= 3:  # noqa: PLR2004 - coefficients
        return 0.0
    found = float((weights * square * left).sum()) / norm
    error = np.sqrt(float((weights * (left - found * square) ** 2).sum()) / (len(x) - 3) / norm)
    return found if abs(found) > _CURVED_T * error else 0.0
