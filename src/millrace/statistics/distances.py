"""How far apart are two distributions? All from counts in the same cells, so that windows add up.

`reference` and `current` hold k counts each, in the same order: bins of a number from low to high, or categories. Counts may be
sums of windows. Nothing here depends on the scale of the counts, only on their proportions.

All raise InvalidInput: the lengths differ, a count is negative or not finite, or one side is empty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from millrace.core.errors import InvalidInput
from millrace.statistics.metrics import Floats

PSI_FLOOR = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class Shares:
    """Two distributions over the same k cells, each as shares of its own sum, and how far apart they are."""

    p: Floats
    q: Floats

    @classmethod
    def of(cls, reference: npt.ArrayLike, current: npt.ArrayLike) -> Shares:
        """From counts."""
        p, q = np.asarray(reference, dtype=np.float64), np.asarray(current, dtype=np.float64)
        if p.ndim != 1 or p.shape != q.shape:
            raise InvalidInput(f"counts have shapes {p.shape} and {q.shape}", hint="count both sides in the same cells")
        return cls(_shares(p), _shares(q))

    def ks(self) -> float:
        """Kolmogorov-Smirnov: the largest gap between the cumulative shares at the bin edges, in [0, 1].

        Bins must be in order. It is at most the exact distance, and less than it by at most the largest bin's share.
        """
        # Cumulative shares of many bins may round to a little over 1.
        return float(min(np.abs(np.cumsum(self.p) - np.cumsum(self.q))[:-1].max(initial=0.0), 1.0))

    def tv(self) -> float:
        """Total variation: half the sum of the gaps, in [0, 1]."""
        return float(np.abs(self.p - self.q).sum() / 2)

    def l_infinity(self) -> float:
        """The largest gap in one cell, in [0, 1]."""
        return float(np.abs(self.p - self.q).max())

    def js(self) -> float:
        """Jensen-Shannon distance, base 2, in [0, 1]: the square root of the divergence (Endres & Schindelin 2003)."""
        middle = (self.p + self.q) / 2
        divergence = (_entropy_against(self.p, middle) + _entropy_against(self.q, middle)) / 2
        return float(np.sqrt(min(max(divergence, 0.0), 1.0)))

    def psi(self) -> float:
        """Population stability index: the sum of (q - p) ln(q / p), 0 or more (Siddiqi 2006, Credit Risk Scorecards).

        Shares below 0.0001 count as 0.0001 on both sides, so that an empty cell gives a large finite value. Without drift
        its expectation is about (k - 1)(1/n + 1/m): compare it with that before reading it.
        """
        p, q = np.maximum(self.p, PSI_FLOOR), np.maximum(self.q, PSI_FLOOR)
        return float(((q - p) * np.log(q / p)).sum())

    def wasserstein(self, edges: npt.ArrayLike) -> float:
        """First Wasserstein distance in the column's own unit: the area between the two cumulative curves.

        Values are taken as spread evenly inside their bin, so it is exact for that reading.

        Args:
            edges: k + 1 finite edges, not falling; close open outer bins with the smallest and largest known value.

        Raises:
            InvalidInput: edges of the wrong number, not finite, or falling.
        """
        bounds = np.asarray(edges, dtype=np.float64)
        widths = np.diff(bounds)
        if bounds.shape != (len(self.p) + 1,) or not np.isfinite(bounds).all() or (widths < 0).any():
            raise InvalidInput(
                f"{len(self.p)} bins with {bounds.size} edges",
                hint="give one finite edge more than there are bins, in order",
            )
        gaps = np.concatenate([[0.0], np.cumsum(self.p) - np.cumsum(self.q)])
        left, right = np.abs(gaps[:-1]), np.abs(gaps[1:])
        ends = left + right
        crossing = gaps[:-1] * gaps[1:] < 0
        # Where the curves cross inside a bin, the area is two triangles, else a trapezoid.
        triangles = np.divide(left**2 + right**2, ends, out=np.zeros_like(ends), where=ends > 0)
        return float((widths * np.where(crossing, triangles, ends)).sum() / 2)


def proportions(reference: npt.ArrayLike, current: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Both counts as shares of their own sum."""
    shares = Shares.of(reference, current)
    return shares.p, shares.q


def ks_from_counts(reference: npt.ArrayLike, current: npt.ArrayLike) -> float:
    """`Shares.ks`."""
    return Shares.of(reference, current).ks()


def tv_from_counts(reference: npt.ArrayLike, current: npt.ArrayLike) -> float:
    """`Shares.tv`."""
    return Shares.of(reference, current).tv()


def l_infinity_from_counts(reference: npt.ArrayLike, current: npt.ArrayLike) -> float:
    """`Shares.l_infinity`."""
    return Shares.of(reference, current).l_infinity()


def js_from_counts(reference: npt.ArrayLike, current: npt.ArrayLike) -> float:
    """`Shares.js`."""
    return Shares.of(reference, current).js()


def psi_from_counts(reference: npt.ArrayLike, current: npt.ArrayLike) -> float:
    """`Shares.psi`."""
    return Shares.of(reference, current).psi()


def wasserstein_from_counts(reference: npt.ArrayLike, current: npt.ArrayLike, edges: npt.ArrayLike) -> float:
    """`Shares.wasserstein`."""
    return Shares.of(reference, current).wasserstein(edges)


def _shares(counts: Floats) -> Floats:
    total = counts.sum()
    if not np.isfinite(total) or counts.min(initial=0.0) < 0:  # a sum is finite where all its parts are
        raise InvalidInput("a count is negative or not finite", hint="counts are 0 or more")
    if total == 0:
        raise InvalidInput("one side has no rows", hint="compare windows that hold at least one row")
    return np.asarray(counts / total, dtype=np.float64)


def _entropy_against(p: Floats, q: Floats) -> float:
    present = p > 0
    return float((p[present] * np.log2(p[present] / q[present])).sum())
