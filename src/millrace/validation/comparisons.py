"""Comparisons with other models on the same rows: baselines, a linear model, the version in production."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from millrace.core.errors import InvalidInput
from millrace.statistics.bootstrap import Interval, paired_gain
from millrace.statistics.metrics import METRICS, Metric, metric_named
from millrace.validation.types import Evidence, GateResult

if TYPE_CHECKING:
    import numpy as np

_FIRST = "nothing is in production yet"


@dataclass(frozen=True)
class BeatsBaselines:
    """The model must be better than every baseline, and not surely worse than a linear model, trained on the same rows.

    Against baselines (a dummy that always says the share of positives, and those that the pipeline names) the point estimates decide;
    the reason gives the 95 % paired bootstrap interval of the difference beside them. Against the linear model the model is refused
    where that whole interval is on the linear model's side: more than simplicity is given away then.

    Args:
        metric: what is compared.
        linear: whether a linear model is compared with as well.
    """

    metric: str = "log_loss"
    linear: bool = True

    def __post_init__(self) -> None:
        metric_named(self.metric)

    @property
    def name(self) -> str:
        """`beats_baselines`."""
        return "beats_baselines"

    def check(self, evidence: Evidence) -> GateResult:
        """Compare with each baseline; without one there is nothing to beat, and that is said."""
        linear = evidence.linear if self.linear else None
        if not evidence.baselines and linear is None:
            return GateResult(self.name, True, "there is no baseline to beat")
        metric = METRICS[self.metric]
        figures: dict[str, float] = {}
        passed, reasons = True, []
        for name, scores in evidence.baselines.items():
            contest = _contest(metric, evidence, scores)
            figures |= _baseline_figures(metric, contest, name)
            passed = passed and contest.gain > 0
            reasons.append(_comparison(metric, contest, name))
        if linear is not None:
            contest = _contest(metric, evidence, linear)
            figures |= _baseline_figures(metric, contest, "a linear model")
            sure = contest.interval.high < 0
            passed = passed and not sure
            chance = "; that may be chance" if contest.gain < 0 and not sure else ""
            reasons.append(_comparison(metric, contest, "a linear model") + chance)
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
            return GateResult(self.name, True, _FIRST)
        metric = METRICS[self.metric]
        contest = _contest(metric, evidence, evidence.champion)
        passed = contest.gain > self.margin and (contest.interval.low > self.margin or not self.significant)
        reason = self._reason(metric, evidence, contest, passed=passed)
        return GateResult(self.name, passed, reason, _champion_figures(metric, contest, evidence))

    def _reason(self, metric: Metric, evidence: Evidence, contest: _Contest, *, passed: bool) -> str:
        reason = _on_rows(_comparison(metric, contest, evidence.champion_name or "the champion"), evidence)
        if self.margin:
            reason += f"; the margin is {self.margin:+g}"
        if contest.gain > self.margin and not passed:
            reason += "; that may be chance"
        return reason


@dataclass(frozen=True)
class NoWorseThanChampion:
    """The model must not be surely worse than the version in production, on the most recent labelled rows.

    It is refused where the whole 95 % paired bootstrap interval of the difference is on the champion's side. For a training that somebody
    asked for, who may have other reasons than the metric; `BeatsChampion` asks for more.

    Args:
        metric: what is compared.
    """

    metric: str = "log_loss"

    def __post_init__(self) -> None:
        metric_named(self.metric)

    @property
    def name(self) -> str:
        """`no_worse_than_champion`."""
        return "no_worse_than_champion"

    def check(self, evidence: Evidence) -> GateResult:
        """Compare; without a version in production the first model passes, and that is said."""
        evidence = evidence.newest or evidence
        if evidence.champion is None:
            return GateResult(self.name, True, _FIRST)
        metric = METRICS[self.metric]
        contest = _contest(metric, evidence, evidence.champion)
        passed = not contest.interval.high < 0 and not math.isnan(contest.gain)
        reason = _on_rows(_comparison(metric, contest, evidence.champion_name or "the champion"), evidence)
        if passed and contest.gain < 0:
            reason += "; that may be chance"
        return GateResult(self.name, passed, reason, _champion_figures(metric, contest, evidence))


@dataclass(frozen=True, slots=True)
class _Contest:
    ours: float
    theirs: float
    gain: float
    interval: Interval


def _contest(metric: Metric, evidence: Evidence, scores: np.ndarray) -> _Contest:
    ours, theirs = metric(evidence.labels, evidence.challenger), metric(evidence.labels, scores)
    interval = paired_gain(
        metric, evidence.labels, evidence.challenger, scores, seed=evidence.seed, groups=evidence.groups
    )
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


def _on_rows(comparison: str, evidence: Evidence) -> str:
    reason = comparison + f" on {len(evidence.labels):,} rows" + (f" of {evidence.window}" if evidence.window else "")
    return reason + (", on some of which that was trained" if evidence.champion_has_seen else "")


def _champion_figures(metric: Metric, contest: _Contest, evidence: Evidence) -> dict[str, float]:
    return {
        metric.name: contest.ours,
        f"{metric.name}_champion": contest.theirs,
        "gain_low": contest.interval.low,
        "gain_high": contest.interval.high,
        "rows": float(len(evidence.labels)),
    }


def _baseline_figures(metric: Metric, contest: _Contest, name: str) -> dict[str, float]:
    key = name.replace(" ", "_").removeprefix("a_")
    return {
        metric.name: contest.ours,
        f"{metric.name}_{key}": contest.theirs,
        f"gain_over_{key}_low": contest.interval.low,
        f"gain_over_{key}_high": contest.interval.high,
    }
