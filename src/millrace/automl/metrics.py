"""What a search may aim at: metrics of two classes, of more, and of numbers, all on weighted rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from millrace.automl.types import Problem, Task
from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean
from millrace.statistics.metrics import METRICS as BINARY
from millrace.statistics.metrics import Floats

_EPSILON = float(np.finfo(np.float64).eps)
_OnRows = Callable[[np.ndarray, Floats, Floats], float]


@dataclass(frozen=True, slots=True)
class SearchMetric:
    """A figure of merit for rows with weights.

    Attributes:
        name: as in `METRICS`.
        task: what it is for.
        higher_is_better: which way is better.
        of_rows: from n labels (places of classes, or numbers), predictions (n x k probabilities, or n numbers) and n weights.
    """

    name: str
    task: Task
    higher_is_better: bool
    of_rows: _OnRows


def metric_for(task: Task, name: str | None) -> SearchMetric:
    """The metric of that name; the task's own where none is named: log-loss, root mean squared error.

    Raises:
        InvalidInput: there is none for this task; the hint gives the nearest name.
    """
    name = name or ("log_loss" if task == "classification" else "rmse")
    known = {metric.name: metric for metric in METRICS if metric.task == task}
    if name not in known:
        raise InvalidInput(f"'{name}' is not a metric of {task}", hint=did_you_mean(name, known), metric=name)
    return known[name]


def score(problem: Problem, labels: np.ndarray, predictions: Floats, weights: Floats | None = None) -> float:
    """The problem's metric; NaN where it is not defined on these rows (one class for ROC AUC).

    Args:
        problem: names the metric.
        labels: n places of classes, or n numbers.
        predictions: n x k probabilities in the order of the classes, or n numbers.
        weights: n; None: each row counts once.
    """
    weights = np.ones(len(labels)) if weights is None else weights
    metric = metric_for(problem.task, problem.metric)
    if (
        problem.task == "classification"
        and problem.positive is not None
        and problem.classes.index(problem.positive) == 0
    ):
        labels, predictions = 1 - labels, predictions[:, ::-1]
    return float(metric.of_rows(labels, predictions, weights))


def _binary_or(name: str, of_many: _OnRows) -> _OnRows:
    """The metric of two classes that the whole package shares; `of_many` for more."""

    def of_rows(labels: np.ndarray, shares: Floats, weights: Floats) -> float:
        if shares.shape[1] > 2:  # noqa: PLR2004 - more than two classes
            return of_many(labels, shares, weights)
        of_draws = BINARY[name].prepare(labels.astype(np.float64), np.clip(shares[:, 1], 0.0, 1.0))
        return float(of_draws(weights[None, :])[0])

    return of_rows


def _mean(values: Floats, weights: Floats) -> float:
    return float((values * weights).sum() / weights.sum())


def _log_loss(labels: np.ndarray, shares: Floats, weights: Floats) -> float:
    given = shares[np.arange(len(labels)), labels] / shares.sum(axis=1)
    return _mean(-np.log(np.clip(given, _EPSILON, 1.0)), weights)


def _brier(labels: np.ndarray, shares: Floats, weights: Floats) -> float:
    truth = np.eye(shares.shape[1])[labels]
    return _mean(((shares - truth) ** 2).sum(axis=1) / 2, weights)


def _accuracy(labels: np.ndarray, shares: Floats, weights: Floats) -> float:
    return _mean((shares.argmax(axis=1) == labels).astype(np.float64), weights)


def _macro(figure: Callable[[Floats, Floats, Floats], Floats]) -> _OnRows:
    """The mean over the classes of a figure of (hits, said, true) row weights."""

    def of_rows(labels: np.ndarray, shares: Floats, weights: Floats) -> float:
        said, classes = shares.argmax(axis=1), shares.shape[1]
        right = said == labels
        parts = ((labels[right], weights[right]), (said, weights), (labels, weights))
        hits, told, true = (np.bincount(places, each, classes).astype(np.float64) for places, each in parts)
        return float(figure(hits, told, true).mean())

    return of_rows


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.asarray(np.divide(part, whole, out=np.zeros_like(part), where=whole > 0))


def _one_vs_rest_area(labels: np.ndarray, shares: Floats, weights: Floats) -> float:
    """Mean over the classes that are there of ROC AUC against the rest (Hand & Till 2001 call its kin M)."""
    areas = []
    for place in range(shares.shape[1]):
        mine = (labels == place).astype(np.float64)
        if 0 < mine.sum() < len(mine):
            areas.append(BINARY["roc_auc"].prepare(mine, shares[:, place])(weights[None, :])[0])
    return float(np.mean(areas)) if areas else float("nan")


def _rmse(truth: np.ndarray, said: Floats, weights: Floats) -> float:
    return float(np.sqrt(_mean((said - truth) ** 2, weights)))


def _mae(truth: np.ndarray, said: Floats, weights: Floats) -> float:
    return _mean(np.abs(said - truth), weights)


def _r2(truth: np.ndarray, said: Floats, weights: Floats) -> float:
    around = _mean((truth - _mean(truth, weights)) ** 2, weights)
    return 1.0 - _mean((said - truth) ** 2, weights) / around if around > 0 else float("nan")


_MANY: dict[str, _OnRows] = {
    "log_loss": _log_loss,
    "roc_auc": _one_vs_rest_area,
    "accuracy": _accuracy,
    "f1": _macro(lambda hits, said, true: _ratio(2 * hits, said + true)),
    "precision": _macro(lambda hits, said, _: _ratio(hits, said)),
    "recall": _macro(lambda hits, _, true: _ratio(hits, true)),
    "brier": _brier,
}
METRICS: tuple[SearchMetric, ...] = (
    *(
        SearchMetric(name, "classification", BINARY[name].higher_is_better, _binary_or(name, many))
        for name, many in _MANY.items()
    ),
    SearchMetric("rmse", "regression", higher_is_better=False, of_rows=_rmse),
    SearchMetric("mae", "regression", higher_is_better=False, of_rows=_mae),
    SearchMetric("r2", "regression", higher_is_better=True, of_rows=_r2),
)
"""Of more than two classes F1, precision and recall are means over the classes, ROC AUC is the mean of each against the rest."""
