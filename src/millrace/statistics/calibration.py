"""From scores to chances: what comes true of rows with such a score."""

from __future__ import annotations

import numpy as np

from millrace.statistics.metrics import Floats

_STEPS = 50
_CLOSE = 1e-10
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


def _chance(log_odds: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(log_odds, -700, 700))))
