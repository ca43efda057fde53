"""How far apart are two distributions? All from counts in the same cells, so that windows add up.

`reference` and `current` hold k counts each, in the same order: bins of a number from low to high, or categories. Counts may be
sums of windows. Nothing here depends on the scale of the counts, only on their proportions.

All raise InvalidInput: the lengths differ, a count is negative or not finite, or one side is empty.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from millrace.core.errors import InvalidInput
from millrace.statistics.metrics import Floats

PSI_FLOOR = 1e-4


def proportions(reference: npt.ArrayLike, current: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Both counts as shares of their own sum."""
    p, q = np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64)
    if p.ndim != 1 or p.shape != q.shape:
        raise InvalidInput(f"counts have shapes {p.shape} and {q.shape}", hint="count both sides in the same cells")
    for counts in (p, q):
        if not (np.isfinite(counts) & (counts >= 0)).all():
            raise InvalidInput("a count is negative or not finite", hint="counts are 0 or more")
        if counts.sum() == 0:
            raise InvalidInput("one side has no rows", hint="compare windows that hold at least one row")
    return p / p.sum(), q / q.sum()


def ks_from_counts(reference: npt.ArrayLike, current: npt.ArrayLike) -> float:
    """Kolmogorov-Smirnov: the largest gap between the cumulative shares at the bin edges, in [0, 1].

    Bins must be in order. It is at most the exact distance, and less than it by at most the largest bin's share.
    """
    p, q = proportions(reference, current)
    # Cumulative shares of many bins may round to a little over 1.
    return float(min(np.abs(np.cumsum(p) - np.cumsum(q))[:-1].max(initial=0.0), 1.0))


def tv_from_counts(reference: npt.ArrayLike, current: npt.ArrayLike) -> float:
    """Total variation: half the sum of the gaps, in [0, 1]."""
    p, q = proportions(reference, current)
    return float(np.abs(p - q).sum() / 2)


def l_infinity_from_counts(reference: npt.ArrayLike, current: npt.ArrayLike) -> float:
    """The largest gap in one cell, in [0, 1]."""
    p, q = proportions(reference, current)
    return float(np.abs(p - q).max())


def js_from_counts(reference: npt.ArrayLike, current: npt.ArrayLike) -> float:
    """Jensen-Shannon distance, base 2, in [0, 1]: the square root of the divergence (Endres & Schindelin 2003)."""
    p, q = proportions(reference, current)
    middle = (p + q) / 2
    divergence = (_entropy_against(p, middle) + _entropy_against(q, middle)) / 2
    return float(np.sqrt(min(max(divergence, 0.0), 1.0)))


def psi_from_counts(reference: npt.ArrayLike, current: npt.ArrayLike) -> float:
    """Population stability index: the sum of (q - p) ln(q / p), 0 or more (Siddiqi 2006, Credit Risk Scorecards).

    Shares below 0.0001 count as 0.0001 on both sides, so that an empty cell gives a large finite value. Without drift
    its expectation is about (k - 1)(1/n + 1/m): compare it with that before reading it.
    """
    p, q = (np.maximum(shares, PSI_FLOOR) for shares in proportions(reference, current))
    return float(((q - p) * np.log(q / p)).sum())


def wasserstein_from_counts(reference: npt.ArrayLike, current: npt.ArrayLike, edges: npt.ArrayLike) -> float:
    """First Wasserstein distance in the column's own unit: the area between the two cumulative curves.

    Values are taken as spread evenly inside their bin, so it is exact for that reading.

    Args:
        reference: k counts.
        current: k counts.
        edges: k + 1 finite edges, not falling; close open outer bins with the smallest and largest known value.

    Raises:
        InvalidInput: as above, or edges of the wrong number, not finite, or falling.
    """
    p, q = proportions(reference, current)
    bounds = np.asarray(edges, dtype=np.float64)
    widths = np.diff(bounds)
    if bounds.shape != (len(p) + 1,) or not np.isfinite(bounds).all() or (widths < 0).any():
        raise InvalidInput(
            f"{len(p)} bins with {bounds.size} edges", hint="give one finite edge more than there are bins, in order"
        )
    gaps = np.r_[0.0, np.cumsum(p) - np.cumsum(q)]
    left, right = np.abs(gaps[:-1]), np.abs(gaps[1:])
    ends = left + right
    crossing = gaps[:-1] * gaps[1:] < 0
    # Where the curves cross inside a bin, the area is two triangles, else a trapezoid.
    triangles = np.divide(left**2 + right**2, ends, out=np.zeros_like(ends), where=ends > 0)
    return float((widths * np.where(crossing, triangles, ends)).sum() / 2)


def _entropy_against(p: Floats, q: Floats) -> float:
    present = p > 0
    return float((p[present] * np.log2(p[present] / q[present])).sum())
