"""Does a window's mean differ from a reference's by more than chance and more than such windows differ anyway?

Rows of one day have something in common (weather, a campaign, the same customers), so the mean of a day varies by more than
independent rows would let it. Model: mean of window w = m + a_w + e_w, with Var(e_w) = v / n_w by sampling and Var(a_w) = tau^2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from millrace.statistics.metrics import Floats

# Below so many degrees of freedom nothing is sure at one in a million: the variance is taken as larger instead.
_LEAST_DEGREES = 20.0
_SURE = 1e9  # degrees of freedom: a normal distribution


@dataclass(frozen=True, slots=True)
class Between:
    """What windows of one length taught about the variance of their means.

    Attributes:
        degrees: windows less the means that were taken off them; 0 where nothing is known.
        rows: of a typical one of them (that which weighs them rightly).
        variance: tau^2, of what windows have in common beyond chance.
    """

    degrees: int = 0
    rows: float = 0.0
    variance: float = 0.0


def between_variance(deviations: Floats, rows: Floats, per_row: float, fitted: int = 1) -> Between:
    """tau^2 by the method of moments (DerSimonian and Laird 1986), not below 0.

    Args:
        deviations: of w windows' means from what was expected of them.
        rows: of each of the w windows, above 0.
        per_row: v, the variance of one row.
        fitted: how many means the expectation was made of.
    """
    degrees = len(deviations) - fitted
    if degrees < 1 or per_row <= 0:
        return Between()
    weights = rows / per_row
    scale = float(weights.sum() - (weights**2).sum() / weights.sum()) * degrees / max(len(deviations) - 1, 1)
    excess = float((weights * deviations**2).sum()) - degrees
    return Between(degrees, scale * per_row / degrees, max(excess / scale, 0.0)) if scale > 0 else Between()


def shift_p_values(differences: Floats, rows: Floats, per_row: float, reference_rows: float, known: Between) -> Floats:
    """Two-sided p-values that windows' means have not moved.

    Student's t with the variance v/n + v/m + tau^2, whose degrees of freedom follow Satterthwaite (1946): only tau^2 was
    estimated. Where windows are so much larger than those that taught tau^2 that fewer than 20 would be left,
    the variance counts as larger: windows too small to see a tau^2 do not show that there is none.

    Args:
        differences: of w windows' means from what is expected of them.
        rows: n of each.
        per_row: v, the variance of one row.
        reference_rows: m, that the expectation was made of.
        known: what the reference's own windows taught; without any, rows count as independent.
    """
    from scipy.special import stdtr

    variance, degrees = _variance(rows, per_row, reference_rows, known)
    distance = np.abs(differences) / np.sqrt(np.maximum(variance, 1e-300))
    return np.asarray(2 * stdtr(degrees, -distance), dtype=np.float64)


def chi2_p_values(statistics: Floats, cells: Floats, rows: Floats, reference_rows: float, known: Between) -> Floats:
    """P-values of chi-squared statistics of homogeneity, with a design effect (Rao and Scott 1981): F instead of chi-squared.

    Args:
        statistics: of w windows.
        cells: their degrees of freedom; p is 1 where 0.
        rows: n of each.
        reference_rows: m.
        known: what the reference's own windows taught of the statistic per row and degree (`v` is 1).
    """
    from scipy.special import fdtrc

    variance, degrees = _variance(rows, 1.0, reference_rows, known)
    chance = 1 / np.maximum(rows, 1) + 1 / max(reference_rows, 1.0)
    freedom = np.maximum(cells, 1)
    found = fdtrc(freedom, degrees, statistics / freedom * chance / variance)
    return np.asarray(np.where(cells > 0, found, 1.0), dtype=np.float64)


def share_p_values(found: Any, rows: Any, share: float, reference_rows: float, known: Between) -> Floats:
    """Two-sided p-values that a share has not moved: the larger of the test above and an exact binomial one, for few rows are not normal.

    Args:
        found: rows of w windows that have it.
        rows: n of each.
        share: of the reference, taken as (x + 1/2) / (m + 1).
        reference_rows: m.
        known: what the reference's own windows taught.
    """
    from scipy.special import bdtr, bdtrc

    found, n = np.asarray(found, dtype=np.float64), np.maximum(np.asarray(rows, dtype=np.int64), 1)
    share = (share * reference_rows + 0.5) / (reference_rows + 1)
    above = np.where(found > 0, bdtrc(np.ceil(found) - 1, n, share), 1.0)
    exact = np.minimum(2 * np.where(found > share * n, above, bdtr(np.floor(found), n, share)), 1.0)
    moved = shift_p_values(found / n - share, n.astype(np.float64), share * (1 - share), reference_rows, known)
    return np.asarray(np.maximum(exact, moved), dtype=np.float64)


def _variance(rows: Floats, per_row: float, reference_rows: float, known: Between) -> tuple[Floats, Floats]:
    """Of a window's mean less the reference's, and its degrees of freedom."""
    variance = per_row / np.maximum(rows, 1) + per_row / max(reference_rows, 1.0)
    if known.degrees == 0:
        return variance, np.full_like(variance, _SURE)
    taught = max(per_row / known.rows + known.variance, 1e-300)
    variance = variance + known.variance * (1 + 1 / (known.degrees + 1))
    variance = np.maximum(variance, taught * np.sqrt(_LEAST_DEGREES / known.degrees))
    return variance, np.minimum(known.degrees * (variance / taught) ** 2, _SURE)
