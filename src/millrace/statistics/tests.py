"""Could a difference be chance? P-values from counts."""

from __future__ import annotations

from dataclasses import dataclass
from math import erfc, sqrt

import numpy as np
import numpy.typing as npt

from millrace.core.errors import InvalidInput
from millrace.statistics.distances import proportions
from millrace.statistics.metrics import Floats

_LEAST_EXPECTED = 5.0
_LEAST_SKEWNESS = 1e-3  # below it the gamma is the normal, and its shape too large to compute with


@dataclass(frozen=True, slots=True)
class ChiSquared:
    """A chi-squared test: `degrees` is 0 (and `p_value` 1) where fewer than two cells were left after pooling."""

    statistic: float
    p_value: float
    degrees: int


def ks_p_value(distance: float, reference_rows: float, current_rows: float) -> float:
    """Chance of a KS distance at least this large between two samples of one continuous distribution.

    Smirnov's asymptotic formula: Q(d sqrt(nm / (n + m))) with Kolmogorov's Q (Smirnov 1948). Conservative for a
    distance from bins, and for samples with ties.

    Raises:
        InvalidInput: a row count that is not positive, or a distance outside [0, 1].
    """
    from scipy.special import kolmogorov

    if not (reference_rows > 0 and current_rows > 0 and 0.0 <= distance <= 1.0):
        raise InvalidInput(
            f"a KS distance of {distance} between {reference_rows} and {current_rows} rows",
            hint="both sides need rows, and the distance lies in [0, 1]",
        )
    rows = reference_rows * current_rows / (reference_rows + current_rows)
    return float(kolmogorov(distance * sqrt(rows)))


def chi2_from_counts(reference: npt.ArrayLike, current: npt.ArrayLike) -> ChiSquared:
    """Pearson's chi-squared test that both counts come from one distribution (homogeneity of two samples).

    Cells with fewer than 5 expected in either sample are pooled into one before the test (Cochran 1954), and that one takes
    in the smallest others until it has 5 expected itself.

    Raises:
        InvalidInput: as the distances do: lengths differ, a bad count, an empty side.
    """
    from scipy.special import chdtrc

    proportions(reference, current)
    table = _pooled(np.asarray([reference, current], dtype=np.float64))
    degrees = table.shape[1] - 1
    if degrees < 1:
        return ChiSquared(0.0, 1.0, 0)
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    statistic = float(((table - expected) ** 2 / expected).sum())
    return ChiSquared(statistic, float(chdtrc(degrees, statistic)), degrees)


def upper_p_value(z: float, skewness: float = 0.0) -> float:
    """Chance that a mean of independent rows is at least z standard errors above what is expected.

    Normal; for a mean that is skewed to the right Pearson's type III, the gamma distribution of that skewness, whose upper tail is longer.
    Source: Johnson, Kotz & Balakrishnan 1994, Continuous univariate distributions 1, chapter 17.

    Args:
        z: in standard errors.
        skewness: of the mean, which is that of a row over the root of the rows; a negative one counts as 0.
    """
    from scipy.special import gammaincc

    if skewness < _LEAST_SKEWNESS:
        return erfc(z / sqrt(2)) / 2
    shape = 4 / skewness**2
    return float(gammaincc(shape, max(shape + z * sqrt(shape), 0.0)))


def _pooled(table: Floats) -> Floats:
    """The 2 x k table with its small cells in one column, empty cells gone."""
    totals = table.sum(axis=0)
    order = np.argsort(totals, kind="stable")
    table, totals = table[:, order], totals[order]
    rows = table.sum(axis=1)
    expected = totals * rows.min() / rows.sum()
    small = int((expected < _LEAST_EXPECTED).sum())
    if small == 0:
        return table
    enough = np.flatnonzero(np.cumsum(expected) >= _LEAST_EXPECTED)
    pooled = max(small, int(enough[0]) + 1) if len(enough) else len(totals)
    merged = np.column_stack([table[:, :pooled].sum(axis=1), table[:, pooled:]])
    return merged[:, merged.sum(axis=0) > 0]
