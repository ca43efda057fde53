"""How sure is a metric, or a difference between two models that answered the same rows?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from millrace.core.errors import InvalidInput
from millrace.statistics.metrics import Floats, Metric, checked

Groups = npt.NDArray[np.int64]
_FEWEST, _CELLS = 200, 20_000_000
_CELLS_AT_ONCE = 500_000  # draws x rows held at a time: 4 MB, stays in cache


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval of a metric or of a difference; NaN bounds where no draw had a value."""

    low: float
    high: float
    confidence: float

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside; False for NaN bounds."""
        return self.low > 0.0 or self.high < 0.0


def paired_gain(
    metric: Metric,
    labels: npt.ArrayLike,
    challenger: npt.ArrayLike,
    other: npt.ArrayLike,
    *,
    seed: int,
    draws: int = 1000,
    confidence: float = 0.95,
    groups: Groups | None = None,
) -> Interval:
    """Percentile bootstrap interval of how much better the challenger is than the other, rows drawn in pairs.

    Positive is better for either direction of the metric. A draw on which the metric is not defined (one class for ROC AUC) is left out.
    Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, sections 8.3 and 13.3.

    Args:
        metric: what is compared.
        labels: n values, 0 or 1.
        challenger: n probabilities of class 1.
        other: n probabilities of class 1 by the model to beat.
        seed: same seed, same interval to the bit.
        draws: how many resamples.
        confidence: between 0 and 1.
        groups: n codes from 0 on, of rows that are drawn together; None: each row by itself.

    Raises:
        InvalidInput: what `metrics.checked` raises, or a confidence outside (0, 1), or no draws.
    """
    _check(confidence, draws)
    y, ours = checked(labels, challenger)
    _, theirs = checked(labels, other)
    on_ours, on_theirs = metric.prepare(y, ours), metric.prepare(y, theirs)
    gains = np.concatenate([on_ours(w) - on_theirs(w) for w in _weights(len(y), draws, seed, groups)])
    return _percentiles(gains if metric.higher_is_better else -gains, confidence)


def metric_intervals(
    metrics: Sequence[Metric],
    labels: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    seed: int,
    draws: int = 500,
    confidence: float = 0.95,
    groups: Groups | None = None,
) -> Mapping[str, Interval]:
    """Percentile bootstrap interval of each metric by name, all on the same draws. Arguments and errors as in `paired_gain`.

    Of many rows fewer draws are taken, 200 at least: their intervals are narrow, and none is read to the third digit.
    """
    _check(confidence, draws)
    y, p = checked(labels, scores)
    draws = min(draws, max(_FEWEST, _CELLS // len(y)))
    on = {metric.name: metric.prepare(y, p) for metric in metrics}
    drawn = [{name: each(w) for name, each in on.items()} for w in _weights(len(y), draws, seed, groups)]
    return {name: _percentiles(np.concatenate([each[name] for each in drawn]), confidence) for name in on}


def _check(confidence: float, draws: int) -> None:
    if not 0.0 < confidence < 1.0 or draws < 1:
        raise InvalidInput(
            f"confidence {confidence} with {draws} draws", hint="give 0 < confidence < 1 and 1 draw or more"
        )


def _percentiles(values: Floats, confidence: float) -> Interval:
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return Interval(float("nan"), float("nan"), confidence)
    tail = (1.0 - confidence) / 2
    low, high = np.quantile(values, (tail, 1.0 - tail))
    return Interval(float(low), float(high), confidence)


def _weights(rows: int, draws: int, seed: int, groups: Groups | None) -> Iterator[Floats]:
    """How often each draw takes each row: matrices of about `_CELLS_AT_ONCE` cells, `draws` lines in all."""
    rng = np.random.default_rng(seed)
    drawn = rows if groups is None else int(groups.max()) + 1
    at_once = max(1, _CELLS_AT_ONCE // rows)
    for first in range(0, draws, at_once):
        lines = min(at_once, draws - first)
        taken = rng.integers(0, drawn, size=(lines, drawn)) + np.arange(lines)[:, None] * drawn
        times = np.bincount(taken.ravel(), minlength=lines * drawn).reshape(lines, drawn).astype(np.float64)
        yield times if groups is None else np.take(times, groups, axis=1)
