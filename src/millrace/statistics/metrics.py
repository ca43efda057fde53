"""How good are probabilities of class 1? Each metric is defined on weighted rows, so that a bootstrap draw is one set of weights.

Scores are probabilities of class 1, labels are 0 or 1. A row is predicted 1 where its probability is greater than 0.5, which is
what scikit-learn and XGBoost answer from `predict`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean

Floats = npt.NDArray[np.float64]

_CUT = 0.5
_EPSILON = float(np.finfo(np.float64).eps)
_OnWeights = Callable[[Floats, Floats], Callable[[Floats], Floats]]


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure of merit.

    Attributes:
        name: as in `METRICS`.
        higher_is_better: which way is better.
        prepare: from labels and scores (n values each) to a function from weights (draws x n) to values (draws).
    """

    name: str
    higher_is_better: bool
    prepare: _OnWeights

    def __call__(self, labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
        """The metric on rows that count once each; NaN where it is not defined (see each metric).

        Raises:
            InvalidInput: no rows, lengths differ, labels other than 0 and 1, scores outside [0, 1] or NaN.
        """
        checked_labels, checked_scores = checked(labels, scores)
        weights = np.ones((1, len(checked_labels)))
        return float(self.prepare(checked_labels, checked_scores)(weights)[0])

    def gain(self, value: float, over: float) -> float:
        """How much better a value is than another: positive is better, whichever way the metric goes."""
        return value - over if self.higher_is_better else over - value


def checked(labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Both as float64 arrays of one length.

    Raises:
        InvalidInput: no rows, lengths differ, labels other than 0 and 1, scores outside [0, 1] or NaN.
    """
    y, p = np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    if y.ndim != 1 or y.shape != p.shape:
        raise InvalidInput(f"labels have shape {y.shape}, scores {p.shape}", hint="give one score for each label")
    if len(y) == 0:
        raise InvalidInput("there are no rows to measure on", hint="check the holdout's time range and its labels")
    if not np.isin(y, (0.0, 1.0)).all():
        raise InvalidInput("a label is neither 0 nor 1", hint="a binary label column holds 0 and 1 and no nulls")
    if not ((p >= 0.0) & (p <= 1.0)).all():
        raise InvalidInput("a score is not a probability", hint="scores lie in [0, 1]; NaN is not one")
    return y, p


def metric_named(name: str) -> Metric:
    """The metric of that name.

    Raises:
        InvalidInput: there is none; the hint gives the nearest name.
    """
    if name not in METRICS:
        raise InvalidInput(f"'{name}' is not a metric", hint=did_you_mean(name, METRICS), metric=name)
    return METRICS[name]


def measure(labels: npt.ArrayLike, scores: npt.ArrayLike) -> dict[str, float]:
    """All metrics by name, in the order of `METRICS`. Raises as a single metric does."""
    return {name: metric(labels, scores) for name, metric in METRICS.items()}


def row_log_loss(labels: Floats, scores: Floats) -> Floats:
    """Each row's loss, -ln of the probability that was given to what came true; probabilities are kept eps off 0 and 1."""
    kept = np.clip(scores, _EPSILON, 1.0 - _EPSILON)
    return np.asarray(-np.log(np.where(labels == 1.0, kept, 1.0 - kept)), dtype=np.float64)


def _mean_of(per_row: Callable[[Floats, Floats], Floats]) -> _OnWeights:
    def prepare(labels: Floats, scores: Floats) -> Callable[[Floats], Floats]:
        values = per_row(labels, scores)
        # Not a matrix product: BLAS sums in an order that depends on its threads, and results must repeat to the bit.
        return lambda weights: np.asarray((weights * values).sum(axis=1) / weights.sum(axis=1))

    return prepare


def _of_counts(figure: Callable[[Floats, Floats, Floats], Floats]) -> _OnWeights:
    def prepare(labels: Floats, scores: Floats) -> Callable[[Floats], Floats]:
        said, true = scores > _CUT, labels == 1.0
        hit, false_alarm, missed = said & true, said & ~true, ~said & true

        def on(weights: Floats) -> Floats:
            return figure(*(weights[:, rows].sum(axis=1) for rows in (hit, false_alarm, missed)))

        return on

    return prepare


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.asarray(np.divide(part, whole, out=np.zeros_like(part), where=whole > 0))


def _correct(labels: Floats, scores: Floats) -> Floats:
    return np.asarray((scores > _CUT) == (labels == 1.0), dtype=np.float64)


def _squared_error(labels: Floats, scores: Floats) -> Floats:
    return np.asarray((scores - labels) ** 2)


def _area(labels: Floats, scores: Floats) -> Callable[[Floats], Floats]:
    order = np.argsort(scores, kind="stable")
    positive = labels[order] == 1.0
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) > 0])  # the first row of each run of equal scores

    def on(weights: Floats) -> Floats:
        sorted_weights = weights[:, order]
        ones = np.add.reduceat(np.where(positive, sorted_weights, 0.0), starts, axis=1)
        zeros = np.add.reduceat(np.where(positive, 0.0, sorted_weights), starts, axis=1)
        below = np.cumsum(zeros, axis=1) - zeros
        pairs = ones.sum(axis=1) * zeros.sum(axis=1)
        won = (ones * (below + zeros / 2)).sum(axis=1)
        return np.asarray(np.divide(won, pairs, out=np.full_like(won, np.nan), where=pairs > 0))

    return on


accuracy = Metric("accuracy", higher_is_better=True, prepare=_mean_of(_correct))
"""Share of rows whose prediction is right. Source: Fawcett 2006, An introduction to ROC analysis, fig. 1."""

precision = Metric(
    "precision", higher_is_better=True, prepare=_of_counts(lambda hit, false_alarm, _: _ratio(hit, hit + false_alarm))
)
"""True positives over predicted positives; 0 where nothing is predicted positive. Source: Fawcett 2006, fig. 1."""

recall = Metric("recall", higher_is_better=True, prepare=_of_counts(lambda hit, _, missed: _ratio(hit, hit + missed)))
"""True positives over positives; 0 where there is no positive. Source: Fawcett 2006, fig. 1."""

f1 = Metric(
    "f1",
    higher_is_better=True,
    prepare=_of_counts(lambda hit, false_alarm, missed: _ratio(2 * hit, 2 * hit + false_alarm + missed)),
)
"""Harmonic mean of precision and recall, 2TP / (2TP + FP + FN); 0 where there is nothing to find or say. Source: Fawcett 2006."""

roc_auc = Metric("roc_auc", higher_is_better=True, prepare=_area)
"""Probability that a random positive scores above a random negative, a tie counting half (Mann-Whitney U over the number of
pairs; Hanley & McNeil 1982). NaN where the labels have one class."""

log_loss = Metric("log_loss", higher_is_better=False, prepare=_mean_of(row_log_loss))
"""Mean of -ln(probability of what came true), natural logarithm (Good 1952); probabilities are kept 2.2e-16 off 0 and 1."""

brier = Metric("brier", higher_is_better=False, prepare=_mean_of(_squared_error))
"""Mean squared difference of probability and label. Source: Brier 1950, for class 1 alone (half of his two-class sum)."""

METRICS: Mapping[str, Metric] = {
    metric.name: metric for metric in (accuracy, precision, recall, f1, roc_auc, log_loss, brier)
}
