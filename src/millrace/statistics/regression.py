"""How good are predicted numbers? From sums of powers of their errors and labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

from millrace.statistics.intervals import UNKNOWN, Estimate, around, mean, root


@dataclass(frozen=True, slots=True)
class RegressionFigures:
    """Mean squared error and its root, mean absolute error, mean absolute percentage error (a share), coefficient of determination."""

    mse: Estimate
    rmse: Estimate
    mae: Estimate
    mape: Estimate
    r2: Estimate


def regression_figures(rows: int, sums: Mapping[str, float]) -> RegressionFigures:
    """Figures of n rows with error e and label y, each with a 95 % interval; undefined without rows, R2 without spread of y.

    MSE, MAE and MAPE have the normal interval of a mean, RMSE the roots of MSE's, R2 the delta method's. MAPE is over labels other than 0.

    Args:
        rows: n.
        sums: over rows of `abs`, `e2`, `e4`, `y`, `y2`, `y3`, `y4`, `e2y`, `e2y2` (y from any origin); over those with a label other than 0 of
            `ape` = |e / label|, `ape_2` and `ape_rows`.
    """
    mse = mean(sums["e2"], sums["e4"], rows, least=0.0)
    mae = mean(sums["abs"], sums["e2"], rows, least=0.0)
    mape = mean(sums["ape"], sums["ape_2"], int(sums["ape_rows"]), least=0.0)
    return RegressionFigures(mse, root(mse), mae, mape, _r2(rows, sums))


def _r2(rows: int, sums: Mapping[str, float]) -> Estimate:
    """1 - SSE / SST. Each row's influence is ((1 - R2) d^2 - e^2) / Var(y), with d = y - mean(y)."""
    if rows < 2:  # noqa: PLR2004 - one label has no spread
        return UNKNOWN
    m = sums["y"] / rows
    spread = sums["y2"] / rows - m * m
    if spread <= 0:
        return UNKNOWN
    unexplained = sums["e2"] / rows / spread
    d4 = (sums["y4"] - 4 * m * sums["y3"] + 6 * m * m * sums["y2"]) / rows - 3 * m**4
    e2d2 = (sums["e2y2"] - 2 * m * sums["e2y"] + m * m * sums["e2"]) / rows
    square = unexplained**2 * d4 - 2 * unexplained * e2d2 + sums["e4"] / rows
    return around(1 - unexplained, sqrt(max(square, 0.0) / rows) / spread, rows, (-float("inf"), 1.0))
