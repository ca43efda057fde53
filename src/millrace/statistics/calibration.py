"""From scores to chances: what comes true of rows with such a score, and how far scores are from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from millrace.statistics.metrics import Floats, Metric

_STEPS = 50
_CLOSE = 1e-10
_BINS = 10
_PULL = 1.0  # towards "the score is the chance", as strong as one row of each kind


def log_odds_line(scores: Floats, right: Floats, wrong: Floats) -> Floats:
    """Chances `1 / (1 + exp(-(a + b logit(score))))`, a and b of the greatest likelihood, drawn lightly to a = 0, b = 1.

    Source: Cox 1958, Two further applications of a model for binary regression. Newton's method on a convex function.

    Args:
        scores: k scores in (0, 1).
        right: k counts of rows whose class came true.
        wrong: k counts of the others.
    """
    x = np.log(scores / (1 - scores))
    design = np.column_stack([np.ones_like(x), x])
    start = line = np.array([0.0, 1.0])
    for _ in range(_STEPS):
        chance = _chance(design @ line)
        slope = design.T @ (right - (right + wrong) * chance) - _PULL * (line - start)
        weight = (right + wrong) * chance * (1 - chance)
        step = np.linalg.solve((design * weight[:, None]).T @ design + _PULL * np.eye(2), slope)
        line = line + step * min(1.0, 2.0 / max(float(np.abs(step).max()), _CLOSE))
        if float(np.abs(step).max()) < _CLOSE:
            break
    return _chance(design @ line)


def isotonic(values: Floats, weights: Floats) -> Floats:
    """The rising sequence that is nearest to the values by weighted squares (pool adjacent violators, Barlow et al. 1972)."""
    from scipy.optimize import isotonic_regression

    return np.asarray(isotonic_regression(values, weights=weights).x, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Rows with neighbouring scores: what was said of them on average, and how many of them came true."""

    said: float
    came_true: float
    rows: int


def reliability(labels: Floats, scores: Floats, bins: int = _BINS) -> tuple[ReliabilityBin, ...]:
    """Rows in bins of about as many each, by rising score; equal scores are in one bin, so that there may be fewer bins.

    Source: DeGroot & Fienberg 1983, The comparison and evaluation of forecasters.
    """
    order, starts = _binned(scores, bins)
    rows = np.diff([*starts, len(scores)])
    said, true = (np.add.reduceat(values[order], starts) / rows for values in (scores, labels))
    return tuple(
        ReliabilityBin(*each) for each in zip(said.tolist(), true.tolist(), rows.astype(int).tolist(), strict=True)
    )


def _expected_error(labels: Floats, scores: Floats) -> Callable[[Floats], Floats]:
    order, starts = _binned(scores, _BINS)
    off = (scores - labels)[order]

    def on(weights: Floats) -> Floats:
        sums = np.abs(np.add.reduceat(weights[:, order] * off, starts, axis=1))
        return np.asarray(sums.sum(axis=1) / weights.sum(axis=1))

    return on


calibration_error = Metric("calibration_error", higher_is_better=False, prepare=_expected_error)
"""Mean distance of what was said from what came true, over 10 bins of about as many rows each. Positive for a calibrated model too, by
chance, the more so the fewer rows a bin has. Source: Naeini et al. 2015, Obtaining well calibrated probabilities using Bayesian binning."""


def _binned(scores: Floats, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """The order of rising scores, and where in it each bin starts."""
    order = np.argsort(scores, kind="stable")
    rising = scores[order]
    wanted = rising[np.linspace(0, len(scores), bins, endpoint=False).astype(int)]
    return order, np.unique(np.searchsorted(rising, wanted, side="left"))


def _chance(log_odds: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(log_odds, -700, 700))))
