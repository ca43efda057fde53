"""Conditions on a model before it goes on. Each answers with a sentence that holds the figures that decided."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from millrace.core.errors import InvalidInput
from millrace.statistics.bootstrap import Interval, paired_gain
from millrace.statistics.metrics import METRICS, Metric, metric_named
from millrace.validation.types import Evidence, Gate, GateResult

if TYPE_CHECKING:
    import numpy as np

_SHARES = frozenset({"accuracy", "precision", "recall", "f1", "roc_auc", "brier"})


@dataclass(frozen=True, init=False)
class AtLeast:
    """Metrics where higher is better must reach these values: `AtLeast(accuracy=0.80, roc_auc=0.85)`.

    Raises:
        InvalidInput: no threshold, an unknown metric, one where lower is better, or a value that it can't have.
    """

    thresholds: tuple[tuple[str, float], ...]

    def __init__(self, **thresholds: float) -> None:
        object.__setattr__(self, "thresholds", _thresholds(thresholds, higher=True))

    @property
    def name(self) -> str:
        """`at_least`."""
        return "at_least"

    def check(self, evidence: Evidence) -> GateResult:
        """Measure and compare; equal is enough."""
        return _against(self.name, self.thresholds, evidence, higher=True)


@dataclass(frozen=True, init=False)
class AtMost:
    """Metrics where lower is better must stay within these values: `AtMost(log_loss=0.5)`.

    Raises:
        InvalidInput: no threshold, an unknown metric, one where higher is better, or a value that it can't have.
    """

    thresholds: tuple[tuple[str, float], ...]

    def __init__(self, **thresholds: float) -> None:
        object.__setattr__(self, "thresholds", _thresholds(thresholds, higher=False))

    @property
    def name(self) -> str:
        """`at_most`."""
        return "at_most"

    def check(self, evidence: Evidence) -> GateResult:
        """Measure and compare; equal is enough."""
        return _against(self.name, self.thresholds, evidence, higher=False)


@dataclass(frozen=True)
class BeatsBaselines:
    """The model must be better than every baseline that was trained on the same rows.

    The point estimates decide; the reason gives the 95 % interval of the difference beside them.

    Args:
        metric: what is compared.
    """

    metric: str = "log_loss"

    def __post_init__(self) -> None:
        metric_named(self.metric)

    @property
    def name(self) -> str:
        """`beats_baselines`."""
        return "beats_baselines"

    def check(self, evidence: Evidence) -> GateResult:
        """Compare with each baseline; without one there is nothing to beat, and that is said."""
        if not evidence.baselines:
            return GateResult(self.name, True, "there is no baseline to beat")
        metric = METRICS[self.metric]
        figures: dict[str, float] = {}
        passed, reasons = True, []
        for name, scores in evidence.baselines.items():
            contest = _contest(metric, evidence, scores)
            figures |= {self.metric: contest.ours, f"{self.metric}_{name}": contest.theirs}
            figures |= {f"gain_over_{name}_low": contest.interval.low, f"gain_over_{name}_high": contest.interval.high}
            passed = passed and contest.gain > 0
            reasons.append(_comparison(metric, contest, name))
        return GateResult(self.name, passed, "; ".join(reasons), figures)


@dataclass(frozen=True)
class BeatsChampion:
    """The model must be better than the version in production, on the most recent labelled rows, none of which it was trained on.

    Both answer the same rows, each by its own lookups. Where the champion was trained on some of them, the reason says so: it is
    then harder to beat, not easier.

    Args:
        metric: what is compared.
        significant: whether the 95 % paired bootstrap interval of the difference must lie above the margin; else the point
            estimate must.
        margin: by how much it must be better, in units of the metric; negative: by how much it may be worse.

    Raises:
        InvalidInput: an unknown metric, or a margin that is not finite.
    """

    metric: str = "log_loss"
    significant: bool = True
    margin: float = 0.0

    def __post_init__(self) -> None:
        metric_named(self.metric)
        if not math.isfinite(self.margin):
            raise InvalidInput(f"margin can't be {self.margin}", hint="give a number in units of the metric, as 0.005")

    @property
    def name(self) -> str:
        """`beats_champion`."""
        return "beats_champion"

    def check(self, evidence: Evidence) -> GateResult:
        """Compare; without a version in production the first model passes, and that is said."""
        evidence = evidence.newest or evidence
        if evidence.champion is None:
            return GateResult(self.name, True, "nothing is in production yet")
        metric = METRICS[self.metric]
        contest = _contest(metric, evidence, evidence.champion)
        passed = contest.gain > self.margin and (contest.interval.low > self.margin or not self.significant)
        figures = {
            self.metric: contest.ours,
            f"{self.metric}_champion": contest.theirs,
            "gain_low": contest.interval.low,
            "gain_high": contest.interval.high,
            "rows": float(len(evidence.labels)),
        }
        return GateResult(self.name, passed, self._reason(metric, evidence, contest, passed=passed), figures)

    def _reason(self, metric: Metric, evidence: Evidence, contest: _Contest, *, passed: bool) -> str:
        reason = _comparison(metric, contest, evidence.champion_name or "the champion")
        reason += f" on {len(evidence.labels):,} rows" + (f" of {evidence.window}" if evidence.window else "")
        if evidence.champion_has_seen:
            reason += ", on some of which that was trained"
        if self.margin:
            reason += f"; the margin is {self.margin:+g}"
        if contest.gain > self.margin and not passed:
            reason += "; that may be chance"
        return reason


def retraining_gates(gates: Sequence[Gate]) -> tuple[Gate, ...]:
    """The gates of a retraining that nobody looked at: a challenger must beat the champion, also where no gate says so."""
    return (*gates, *([] if any(isinstance(gate, BeatsChampion) for gate in gates) else [BeatsChampion()]))


@dataclass(frozen=True, slots=True)
class _Contest:
    ours: float
    theirs: float
    gain: float
    interval: Interval


def _contest(metric: Metric, evidence: Evidence, scores: np.ndarray) -> _Contest:
    ours, theirs = metric(evidence.labels, evidence.challenger), metric(evidence.labels, scores)
    interval = paired_gain(metric, evidence.labels, evidence.challenger, scores, seed=evidence.seed)
    return _Contest(ours, theirs, metric.gain(ours, theirs), interval)


def _comparison(metric: Metric, contest: _Contest, name: str) -> str:
    if math.isnan(contest.gain):
        return f"{metric.name} is not defined on this holdout (one class), so {name} is not beaten"
    word = "better than" if contest.gain > 0 else "as good as" if contest.gain == 0 else "worse than"
    low, high = contest.interval.low, contest.interval.high
    return (
        f"{metric.name} {contest.ours:.4f} is {word} {name}'s {contest.theirs:.4f}"
        f" (by {contest.gain:+.4f}, 95 % interval {low:+.4f} to {high:+.4f})"
    )


def _thresholds(given: dict[str, float], *, higher: bool) -> tuple[tuple[str, float], ...]:
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


def _against(gate: str, thresholds: tuple[tuple[str, float], ...], evidence: Evidence, *, higher: bool) -> GateResult:
    figures = {name: METRICS[name](evidence.labels, evidence.challenger) for name, _ in thresholds}
    missed = []
    for name, limit in thresholds:
        value = figures[name]
        if math.isnan(value):
            missed.append(f"{name} is not defined on this holdout (one class)")
        elif value < limit if higher else value > limit:
            missed.append(f"{name} {_digits(value, limit)} is {'below' if higher else 'above'} {limit!r}")
    said = [f"{name} {figures[name]:.4f}" for name, _ in thresholds]
    word = "reached" if higher else "within the limit"
    return GateResult(gate, not missed, "; ".join(missed) or f"{', '.join(said)}: {word}", figures)


def _digits(value: float, limit: float) -> str:
    """Four digits, or as many as it takes to see that it is not the limit."""
    return next((text for digits in range(4, 17) if float(text := f"{value:.{digits}f}") != limit), repr(value))
