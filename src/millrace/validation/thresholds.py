"""Thresholds: metrics that a model must reach, and how sure it is that it does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from millrace.core.errors import InvalidInput
from millrace.statistics.bootstrap import Interval, metric_intervals
from millrace.statistics.metrics import METRICS, metric_named
from millrace.validation.types import Evidence, GateResult

_SHARES = frozenset({"accuracy", "precision", "recall", "f1", "roc_auc", "brier"})
Thresholds = tuple[tuple[str, float], ...]


@dataclass(frozen=True, init=False)
class AtLeast:
    """Metrics where higher is better must reach these values: `AtLeast(accuracy=0.80, roc_auc=0.85)`.

    Args:
        significant: whether the lower bound of the 95 % bootstrap interval must reach them; else the value on the holdout must, and the
            interval is told beside it.
        thresholds: metric to limit; equal is enough.

    Raises:
        InvalidInput: no threshold, an unknown metric, one where lower is better, or a value that it can't have.
    """

    thresholds: Thresholds
    significant: bool

    def __init__(self, *, significant: bool = False, **thresholds: float) -> None:
        object.__setattr__(self, "thresholds", _thresholds(thresholds, higher=True))
        object.__setattr__(self, "significant", significant)

    @property
    def name(self) -> str:
        """`at_least`."""
        return "at_least"

    def check(self, evidence: Evidence) -> GateResult:
        """Measure and compare."""
        return _against(self.name, self.thresholds, evidence, higher=True, significant=self.significant)


@dataclass(frozen=True, init=False)
class AtMost:
    """Metrics where lower is better must stay within these values: `AtMost(log_loss=0.5)`.

    Args:
        significant: whether the upper bound of the 95 % bootstrap interval must stay within them; else the value on the holdout must.
        thresholds: metric to limit; equal is enough.

    Raises:
        InvalidInput: no threshold, an unknown metric, one where higher is better, or a value that it can't have.
    """

    thresholds: Thresholds
    significant: bool

    def __init__(self, *, significant: bool = False, **thresholds: float) -> None:
        object.__setattr__(self, "thresholds", _thresholds(thresholds, higher=False))
        object.__setattr__(self, "significant", significant)

    @property
    def name(self) -> str:
        """`at_most`."""
        return "at_most"

    def check(self, evidence: Evidence) -> GateResult:
        """Measure and compare."""
        return _against(self.name, self.thresholds, evidence, higher=False, significant=self.significant)


def _thresholds(given: Mapping[str, float], *, higher: bool) -> Thresholds:
    if not given:
        raise InvalidInput(
            "the gate has no threshold", hint="name a metric and its limit, as accuracy=0.8 or log_loss=0.5"
        )
    for name, limit in given.items():
        metric = metric_named(name)
        if metric.higher_is_better is not higher:
            raise InvalidInput(
                f"{name} is better when it is {'lower' if higher else 'higher'}",
                hint=f"use {'AtMost' if higher else 'AtLeast'}({name}={limit})",
            )
        if not math.isfinite(limit) or limit < 0 or (name in _SHARES and limit > 1):
            raise InvalidInput(
                f"{name} can't be {limit}", hint="give a number from 0 to 1, or any positive one for log_loss"
            )
    return tuple((name, float(limit)) for name, limit in given.items())


def _against(gate: str, thresholds: Thresholds, evidence: Evidence, *, higher: bool, significant: bool) -> GateResult:
    metrics = [METRICS[name] for name, _ in thresholds]
    values = {metric.name: metric(evidence.labels, evidence.challenger) for metric in metrics}
    intervals = metric_intervals(
        metrics, evidence.labels, evidence.challenger, seed=evidence.seed, groups=evidence.groups
    )
    figures = dict(values)
    missed, said = [], []
    for name, limit in thresholds:
        value, between = values[name], intervals[name]
        figures |= {f"{name}_low": between.low, f"{name}_high": between.high}
        said.append(f"{name} {value:.4f}{_between(between)}")
        missed += _miss(name, value, between, limit, higher=higher, significant=significant)
    word = "reached" if higher else "within the limit"
    return GateResult(gate, not missed, "; ".join(missed) or f"{', '.join(said)}: {word}", figures)


def _miss(name: str, value: float, between: Interval, limit: float, *, higher: bool, significant: bool) -> list[str]:
    if math.isnan(value):
        return [f"{name} is not defined on this holdout (one class)"]
    word, bound = ("below", between.low) if higher else ("above", between.high)
    if value < limit if higher else value > limit:
        return [f"{name} {_digits(value, limit)} is {word} {limit!r}{_between(between)}"]
    if significant and not (bound >= limit if higher else bound <= limit):
        return [f"{name} {value:.4f}{_between(between)} may be {word} {limit!r}"]
    return []


def _between(interval: Interval) -> str:
    if math.isnan(interval.low):
        return ""
    return f" (95 % interval {interval.low:.4f} to {interval.high:.4f})"


def _digits(value: float, limit: float) -> str:
    """Four digits, or as many as it takes to see that it is not the limit."""
    return next((text for digits in range(4, 17) if float(text := f"{value:.{digits}f}") != limit), repr(value))
