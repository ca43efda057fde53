"""How sure is a figure? Proportions, means and areas under ROC curves, from counts and sums, with two-sided intervals, of 95 % unless said."""

from __future__ import annotations

from dataclasses import dataclass
from math import isnan, nan, sqrt
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from millrace.statistics.metrics import Floats

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its uncertainty.

    Attributes:
        value: NaN where it is not defined, and then all others are.
        error: standard error of the value.
        low, high: the confidence interval.
        rows: how many rows it is from.
    """

    value: float
    error: float
    low: float
    high: float
    rows: int

    def __bool__(self) -> bool:
        """Whether it is defined."""
        return not isnan(self.value)


UNKNOWN = Estimate(nan, nan, nan, nan, 0)


def normal_quantile(confidence: float = CONFIDENCE) -> float:
    """Half the width of a two-sided interval, in standard errors: 1.96 for 95 %."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def proportion(hits: float, rows: float, confidence: float = CONFIDENCE) -> Estimate:
    """A share of rows, with Wilson's interval, which holds for few rows and near 0 and 1 too.

    Source: Wilson 1927; Brown, Cai & DasGupta 2001, Interval estimation for a binomial proportion.
    """
    if rows <= 0:
        return UNKNOWN
    z2, share = normal_quantile(confidence) ** 2, hits / rows
    middle = (hits + z2 / 2) / (rows + z2)
    half = sqrt(z2 * (share * (1 - share) * rows + z2 / 4)) / (rows + z2)
    low, high = max(middle - half, 0.0), min(middle + half, 1.0)
    error = sqrt(share * (1 - share) / rows)
    return Estimate(share, error, 0.0 if hits <= 0 else low, 1.0 if hits >= rows else high, int(rows))


def f1(hit: float, false_alarm: float, missed: float, confidence: float = CONFIDENCE) -> Estimate:
    """F1 with an interval: it rises with the Jaccard index J = TP / (TP + FP + FN), a proportion, as 2J / (1 + J); 0 where there is none."""
    jaccard = proportion(hit, hit + false_alarm + missed, confidence)
    if not jaccard:
        return UNKNOWN
    value, low, high = (2 * j / (1 + j) for j in (jaccard.value, jaccard.low, jaccard.high))
    return Estimate(value, jaccard.error * 2 / (1 + jaccard.value) ** 2, low, high, jaccard.rows)


def mean(total: float, squares: float, rows: int, least: float = -np.inf) -> Estimate:
    """A mean from the sum and the sum of squares of n values, none under `least`; normal interval (unbounded for one value)."""
    if rows <= 0:
        return UNKNOWN
    value = total / rows
    if rows == 1:
        return Estimate(value, nan, least, np.inf, 1)
    error = sqrt(max(squares - total * value, 0.0) / (rows - 1) / rows)
    return around(value, error, rows, (least, np.inf))


def around(
    value: float,
    error: float,
    rows: int,
    bounds: tuple[float, float] = (-np.inf, np.inf),
    confidence: float = CONFIDENCE,
) -> Estimate:
    """A value with the normal interval of its standard error, kept within bounds."""
    half = normal_quantile(confidence) * error
    return Estimate(value, error, max(value - half, bounds[0]), min(value + half, bounds[1]), rows)


def root(squared: Estimate) -> Estimate:
    """The root of a figure that is not negative: its bounds are the roots of the bounds (delta method for the error)."""
    if not squared:
        return UNKNOWN
    value, low, high = (sqrt(max(one, 0.0)) for one in (squared.value, squared.low, squared.high))
    return Estimate(value, squared.error / (2 * value) if value else 0.0, low, high, squared.rows)


@dataclass(frozen=True, slots=True)
class Area:
    """The area under a ROC curve, from scores in cells.

    Attributes:
        estimate: pairs in one cell count half.
        bound: the area of the scores themselves is at most so far from it.
        negatives, positives: rows of each class.
    """

    estimate: Estimate
    bound: float
    negatives: int
    positives: int


def area(negatives: npt.ArrayLike, positives: npt.ArrayLike, *, confidence: float = CONFIDENCE) -> Area:
    """ROC AUC of rows counted by cells of their score, cells rising, with DeLong's error; NaN where there is one class only.

    The interval is normal on the log-odds of the area, so it stays in [0, 1]. Where DeLong's error is 0 (classes apart, or few rows), it
    is Wilson's for as many rows as the rarer class has.
    Source: DeLong, DeLong & Clarke-Pearson 1988, on cells (tied scores); Pepe 2003, section 5.2.5, for the log-odds.

    Args:
        negatives: k counts of rows of class 0 (expected ones need not be whole).
        positives: k counts of rows of class 1.
        confidence: of the interval.
    """
    zeros, ones = np.asarray(negatives, dtype=np.float64), np.asarray(positives, dtype=np.float64)
    n0, n1 = float(zeros.sum()), float(ones.sum())
    if n0 <= 0 or n1 <= 0:
        return Area(UNKNOWN, nan, int(n0), int(n1))
    below, above = _placements(zeros, ones)
    value = float((ones * below).sum() / n1)
    variance = sum(_variance_of_mean(rows, at, value) for rows, at in ((ones, below), (zeros, above)))
    bound = float((zeros * ones).sum() / (2 * n0 * n1))
    estimate = _on_log_odds(value, sqrt(variance), min(n0, n1), int(n0 + n1), confidence)
    return Area(estimate, bound, int(n0), int(n1))


@dataclass(frozen=True, slots=True)
class AreaLaw:
    """How the area of rows of the same kind varies by chance, whatever their number.

    Attributes:
        variances, thirds: of the placements of negatives and of positives: their variance, and their third central moment, or what one row more,
            wholly on the wrong side, would give, where that varies more: n rows don't tell of errors that are rarer than one in n. A row's
            placement is the share of the other class that it is on the right side of.
        cross: mean over pairs of both placements' deviations times whether the pair is in the right order.
    """

    variances: tuple[float, float]
    thirds: tuple[float, float]
    cross: float

    def chance(self, negatives: float, positives: float) -> tuple[float, float]:
        """Variance and skewness of the area of so many rows of each class, both above 0; the leading term of either."""
        variance = self.variances[0] / negatives + self.variances[1] / positives
        third = self.thirds[0] / negatives**2 + self.thirds[1] / positives**2 + 6 * self.cross / (negatives * positives)
        return variance, third / variance**1.5 if variance > 0 else 0.0


def area_law(negatives: npt.ArrayLike, positives: npt.ArrayLike) -> AreaLaw:
    """From rows of each class, counted as for `area`: for as many rows as these, its variance is the square of DeLong's error, if that is not too small.

    Source: Hoeffding's decomposition of a two-sample U-statistic (van der Vaart 1998, Asymptotic Statistics, chapter 12).

    Args:
        negatives: k counts of rows of class 0, cells rising; not all 0.
        positives: k counts of rows of class 1, likewise.
    """
    zeros, ones = np.asarray(negatives, dtype=np.float64), np.asarray(positives, dtype=np.float64)
    below, above = _placements(zeros, ones)
    value = float((ones * below).sum() / ones.sum())
    sides = [(rows, at - value) for rows, at in ((zeros, above), (ones, below))]
    of_negative, of_positive = (_moments(rows, off, value) for rows, off in sides)
    low, high = (rows * off / rows.sum() for rows, off in sides)
    cross = float((high * (np.cumsum(low) - low / 2)).sum())
    return AreaLaw((of_negative[0], of_positive[0]), (of_negative[1], of_positive[1]), cross)


def _moments(rows: Floats, off: Floats, value: float) -> tuple[float, float]:
    """Variance and third central moment of placements that are `off` their mean, or those of one row at 0 more, where that is more."""
    n = float(rows.sum())
    variance, least = float((rows * off**2).sum() / max(n - 1, 1.0)), value**2 / (n + 1)
    return (variance, float((rows * off**3).sum() / n)) if variance >= least else (least, -least * value)


def _placements(zeros: Floats, ones: Floats) -> tuple[Floats, Floats]:
    """Of each cell: the share of negatives that a positive in it is above, and of positives that a negative in it is under."""
    return (np.cumsum(zeros) - zeros / 2) / zeros.sum(), 1 - (np.cumsum(ones) - ones / 2) / ones.sum()


def _variance_of_mean(rows: Floats, values: Floats, mean_value: float) -> float:
    n = float(rows.sum())
    return float((rows * (values - mean_value) ** 2).sum() / max(n - 1, 1.0) / n)


def _on_log_odds(value: float, error: float, rarer: float, rows: int, confidence: float) -> Estimate:
    if error <= 0 or not 0 < value < 1:
        wilson = proportion(value * rarer, rarer, confidence)
        return Estimate(value, error, wilson.low, wilson.high, rows)
    middle, half = np.log(value / (1 - value)), normal_quantile(confidence) * error / (value * (1 - value))
    low, high = (float(1 / (1 + np.exp(-np.clip(at, -700, 700)))) for at in (middle - half, middle + half))
    return Estimate(value, error, low, high, rows)
