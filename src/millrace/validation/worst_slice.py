"""The worst slice: a model that is good on the whole may be of no use, or of harm, for some."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean
from millrace.statistics.intervals import CONFIDENCE, Estimate, area, around, f1, proportion
from millrace.statistics.metrics import METRICS, Floats, metric_named, row_log_loss
from millrace.validation.slices import Mask, Slice, find_slices
from millrace.validation.types import Evidence, GateResult

_CUT = 0.5


@dataclass(frozen=True, slots=True)
class Sliced:
    """A slice, and the metric there with an interval that holds for all slices at once."""

    slice: Slice
    estimate: Estimate


@dataclass(frozen=True)
class WorstSlice:
    """No part of the rows may be served badly: no category, and no range of a number.

    Without a limit: in no slice may the model be surely worse, by log-loss, than one answer for everybody (the share of positives that it
    was trained on). With a limit: the metric must reach it surely in each slice, so the bound of the interval decides.

    Intervals are for all slices at once: with k of them, each has the confidence 1 - 0.05 / k (Bonferroni), so that slices that are bad by
    chance are not held against a model, however many are looked at.

    Args:
        columns: which columns; None: all that the model or its lookups have. Numbers are cut into quarters.
        metric: what `at_least` or `at_most` is about, as `roc_auc`.
        at_least: the limit of a metric where higher is better.
        at_most: the limit of one where lower is better.
        min_rows: smaller slices are left out.

    Raises:
        InvalidInput: an unknown metric, a limit without a metric or the other way round, or a limit on the wrong side.
    """

    columns: Sequence[str] | None = None
    metric: str | None = None
    at_least: float | None = None
    at_most: float | None = None
    min_rows: int = 100

    def __post_init__(self) -> None:
        if isinstance(self.columns, str):
            object.__setattr__(self, "columns", (self.columns,))
        elif self.columns is not None:
            object.__setattr__(self, "columns", tuple(self.columns))
        limits = [each for each in (self.at_least, self.at_most) if each is not None]
        if len(limits) != (self.metric is not None):
            raise InvalidInput(
                "a limit for slices needs a metric, and a metric one limit",
                hint='write WorstSlice(metric="roc_auc", at_least=0.6), or neither',
            )
        if self.metric is not None and metric_named(self.metric).higher_is_better is not (self.at_least is not None):
            side = "at_least" if METRICS[self.metric].higher_is_better else "at_most"
            raise InvalidInput(f"{self.metric} has its limit on the other side", hint=f"use {side}={limits[0]}")
        if self.min_rows < 10:  # noqa: PLR2004 - fewer have no interval to speak of
            raise InvalidInput(f"min_rows can't be {self.min_rows}", hint="give 10 or more")

    @property
    def name(self) -> str:
        """`worst_slice`."""
        return "worst_slice"

    def check(self, evidence: Evidence) -> GateResult:
        """Look at each slice; without one that is large enough there is nothing to judge, and that is said.

        Raises:
            InvalidInput: a column is named that is not there.
        """
        found = self.measured(evidence)
        if not found:
            return GateResult(self.name, True, f"no slice has {self.min_rows} rows")
        worst = found[0]
        passed = self._holds(worst.estimate)
        figures = {
            "worst": worst.estimate.value,
            "worst_low": worst.estimate.low,
            "worst_high": worst.estimate.high,
            "worst_rows": float(worst.estimate.rows),
            "slices": float(len(found)),
            "failing": float(sum(not self._holds(each.estimate) for each in found)),
        }
        return GateResult(self.name, passed, self._reason(worst, len(found), passed=passed), figures)

    def measured(self, evidence: Evidence) -> list[Sliced]:
        """All slices on which the metric is defined, the worst first."""
        for name in self.columns or ():
            if name not in evidence.columns:
                raise InvalidInput(
                    f"there is no column '{name}' to slice by", hint=did_you_mean(name, list(evidence.columns))
                )
        slices = find_slices(evidence.columns, self.columns, self.min_rows)
        confidence = 1 - (1 - CONFIDENCE) / max(len(slices), 1)
        estimate = _estimator(self.metric, evidence, confidence)
        found = [Sliced(each, estimate(each)) for each in slices]
        # Of two the worse is the one that can be said less good of: a small slice that looks bad may be just small.
        return sorted((each for each in found if each.estimate), key=lambda each: self._best_case(each.estimate))

    def _best_case(self, estimate: Estimate) -> float:
        if self.at_most is not None:
            return -estimate.high
        return estimate.high if self.at_least is None else estimate.low

    def _holds(self, estimate: Estimate) -> bool:
        if self.at_least is not None:
            return estimate.low >= self.at_least
        if self.at_most is not None:
            return estimate.high <= self.at_most
        return not estimate.high < 0

    def _reason(self, worst: Sliced, count: int, *, passed: bool) -> str:
        one = worst.estimate
        where = f"worst of {count} slices: {worst.slice.name} ({one.rows:,} rows)"
        if self.metric is None:
            word = "better" if one.value > 0 else "worse" if passed else "surely worse"
            between = f"interval for all slices {one.low:+.4f} to {one.high:+.4f}"
            return f"{where}, log_loss {word} than with one answer for everybody (gain {one.value:+.4f}, {between})"
        limit = self.at_least if self.at_least is not None else self.at_most
        side = "at least" if self.at_least is not None else "at most"
        between = f"{self.metric} {one.value:.4f} (interval for all slices {one.low:.4f} to {one.high:.4f})"
        return f"{where}, {between} is {'' if passed else 'not '}surely {side} {limit:g}"


def _estimator(metric: str | None, evidence: Evidence, confidence: float) -> Callable[[Slice], Estimate]:
    labels = np.asarray(evidence.labels, dtype=np.float64)
    scores = np.asarray(evidence.challenger, dtype=np.float64)
    if metric is None:
        gains = row_log_loss(labels, np.full(len(labels), _one_answer(evidence))) - row_log_loss(labels, scores)
        return lambda each: _mean(gains, each, evidence, confidence)
    if metric == "log_loss":
        losses = row_log_loss(labels, scores)
        return lambda each: _mean(losses, each, evidence, confidence)
    if metric == "brier":
        squares = (scores - labels) ** 2
        return lambda each: _mean(squares, each, evidence, confidence)
    if metric == "roc_auc":
        return lambda each: _area(labels, scores, each, evidence, confidence)
    outcomes = _Outcomes(labels == 1, scores > _CUT)
    return lambda each: outcomes.share(metric, each, evidence, confidence)


def _one_answer(evidence: Evidence) -> float:
    labels = evidence.labels if evidence.training is None else evidence.training.labels
    return float(np.mean(labels))


def _mean(values: Floats, part: Slice, evidence: Evidence, confidence: float) -> Estimate:
    """A mean over a slice; rows of one group are not independent, so it is their sums that vary (Cameron & Miller 2015)."""
    inside = values[part.rows]
    rows, value = len(inside), float(inside.mean())
    off, count = np.asarray(inside - value, dtype=np.float64), rows
    if evidence.groups is not None:
        off = np.asarray(np.bincount(evidence.groups[part.rows], weights=off), dtype=np.float64)
        count = _groups(part, evidence.groups)
    if count < 2:  # noqa: PLR2004 - nothing to tell a spread by
        return around(value, math.inf, rows)
    error = sqrt(float((off**2).sum()) * count / (count - 1)) / rows
    return around(value, error, rows, confidence=confidence)


def _worth(part: Slice, evidence: Evidence) -> float:
    """What a row counts: less than 1 where rows belong together, as if each group had said one thing."""
    return 1.0 if evidence.groups is None else _groups(part, evidence.groups) / int(part.rows.sum())


def _groups(part: Slice, groups: np.ndarray) -> int:
    return int(np.count_nonzero(np.bincount(groups[part.rows])))


def _area(labels: Floats, scores: Floats, part: Slice, evidence: Evidence, confidence: float) -> Estimate:
    _, cells = np.unique(scores[part.rows], return_inverse=True)
    inside, worth = labels[part.rows], _worth(part, evidence)
    negatives, positives = (
        np.bincount(cells, weights=kind.astype(np.float64)) * worth for kind in (inside == 0, inside == 1)
    )
    found = area(negatives, positives, confidence=confidence).estimate
    return replace(found, rows=len(inside))


@dataclass(frozen=True, slots=True)
class _Outcomes:
    """What came true, and what was said."""

    true: Mask
    said: Mask

    def share(self, metric: str, part: Slice, evidence: Evidence, confidence: float) -> Estimate:
        """A metric that is a ratio of counts."""
        said, true, worth = self.said, self.true, _worth(part, evidence)
        kinds = (said & true, said & ~true, ~said & true, said == true)
        hit, false_alarm, missed, right = (float((each & part.rows).sum()) * worth for each in kinds)
        rows = int(part.rows.sum())
        found = {
            "accuracy": lambda: proportion(right, rows * worth, confidence),
            "precision": lambda: proportion(hit, hit + false_alarm, confidence),
            "recall": lambda: proportion(hit, hit + missed, confidence),
            "f1": lambda: f1(hit, false_alarm, missed, confidence),
        }[metric]()
        return replace(found, rows=rows)
