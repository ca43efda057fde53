"""Figures of regressions against scikit-learn and bootstraps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from millrace.statistics.regression import RegressionFigures, regression_figures


def figures(labels: Any, predictions: Any, origin: float = 0.0) -> RegressionFigures:
    y, e = labels - origin, predictions - labels
    ape = np.abs(e[labels != 0] / labels[labels != 0])
    powers = {"abs": abs(e), "e2": e**2, "e4": e**4, "y": y, "y2": y**2, "y3": y**3, "y4": y**4}
    powers |= {"e2y": e**2 * y, "e2y2": e**2 * y**2, "ape": ape, "ape_2": ape**2, "ape_rows": np.ones(len(ape))}
    return regression_figures(len(y), {name: float(values.sum()) for name, values in powers.items()})


def drawn(rng: np.random.Generator, rows: int) -> tuple[Any, Any]:
    labels = rng.normal(20, 4, rows)
    return labels, labels + rng.normal(0.5, 2, rows) * (1 + (labels > 22))


def test_figures_are_scikit_learns() -> None:
    from sklearn import metrics

    labels, predictions = drawn(np.random.default_rng(0), 300)
    found = figures(labels, predictions, origin=19.0)
    assert found.mse.value == pytest.approx(metrics.mean_squared_error(labels, predictions))
    assert found.rmse.value == pytest.approx(metrics.root_mean_squared_error(labels, predictions))
    assert found.mae.value == pytest.approx(metrics.mean_absolute_error(labels, predictions))
    assert found.mape.value == pytest.approx(metrics.mean_absolute_percentage_error(labels, predictions))
    assert found.r2.value == pytest.approx(metrics.r2_score(labels, predictions))
    assert found.r2.error == pytest.approx(figures(labels, predictions).r2.error)


def test_errors_are_a_bootstraps() -> None:
    rng = np.random.default_rng(2)
    labels, predictions = drawn(rng, 400)
    found = figures(labels, predictions)
    rows = rng.integers(0, 400, size=(1500, 400))
    resampled = [figures(labels[at], predictions[at]) for at in rows]
    for name in ("mse", "rmse", "mae", "mape", "r2"):
        ours = getattr(found, name)
        assert ours.error == pytest.approx(np.std([getattr(one, name).value for one in resampled]), rel=0.1)


def test_what_is_not_defined_says_so() -> None:
    empty = figures(np.array([]), np.array([]))
    assert not any((empty.mse, empty.rmse, empty.mae, empty.mape, empty.r2))
    flat = figures(np.array([0.0, 0.0]), np.array([1.0, 3.0]))
    assert (flat.mse.value, bool(flat.r2), bool(flat.mape)) == (5.0, False, False)
