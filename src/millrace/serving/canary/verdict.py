"""Does the challenger go on? A pure function of what both did in a step.

The router assigns callers to champion and challenger by a hash, so a canary is a randomised experiment, and one test serves
all four signals: a signal speaks against the challenger where it is worse than the champion by more than its limit, and where
that is not chance (`millrace.statistics.randomisation`). Each of the at most 4 x `verdicts` tests has the level `false_stop` /
(4 x `verdicts`), so that a challenger that is no different is rolled back with a probability of at most `false_stop` in all
(Bonferroni's inequality).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import ceil

import numpy as np
import numpy.typing as npt

from millrace.serving.canary.types import SIGNALS, CanarySettings, Finding, Signal, Verdict
from millrace.statistics.metrics import Floats
from millrace.statistics.randomisation import (
    Groups,
    Statistic,
    distribution_distance,
    mean_difference,
    quantile_ratio,
)

_TAIL = 0.95
# Draws for a p-value that can be told from the level; and callers with which any bad challenger could be told from chance.
_DRAWS_A_LEVEL = 5
LEAST_CALLERS = 10


@dataclass(frozen=True, slots=True)
class Measured:
    """One thing that both did, a row each time; the challenger is the second group.

    Attributes:
        values: n floats, or n texts.
        groups: who each row is of, and who answered it.
    """

    values: npt.NDArray[np.float64] | npt.NDArray[np.str_]
    groups: Groups

    def counts(self) -> tuple[int, int]:
        """How many rows are the champion's and the challenger's."""
        challenger = int(self.groups.second.sum())
        return len(self.groups) - challenger, challenger

    def means(self) -> tuple[float, float]:
        """The champion's and the challenger's mean, of numbers."""
        numbers, second = np.asarray(self.values, dtype=np.float64), self.groups.second
        return float(numbers[~second].mean()), float(numbers[second].mean())


@dataclass(frozen=True, slots=True)
class Evidence:
    """What champion and challenger did in a step.

    Attributes:
        failed: of each request that reached one of the two, whether it was answered with an error (1) or not (0). What callers do
            wrong counts too: it comes to both alike, and a request that only the challenger refuses is what is looked for.
        durations: of each request that was answered, how many milliseconds that took.
        predictions: of each row of an answer, its probability, else its prediction; NaN where it is no number.
        losses: of each row whose label has come, the log loss, or the squared error where there is no probability; of texts, whether
            the prediction is another (1) or not (0).
        sampled: how many requests of each were taken at most, at random of the newest; None where all were.
    """

    failed: Measured
    durations: Measured
    predictions: Measured
    losses: Measured
    sampled: int | None = None


def judge(evidence: Evidence, settings: CanarySettings, waited: timedelta, *, seed: int) -> Verdict:
    """What to do with a step after so long a wait: go on to the next, wait for more, or stop, and why.

    The same evidence and seed give the same verdict.
    """
    missing = _missing(evidence, settings)
    if missing and waited < settings.wait:
        return Verdict("wait", f"waits for a sample: {missing}")
    findings = tuple(_findings(evidence, settings, seed))
    cut = "" if evidence.sampled is None else f" (by a sample of {evidence.sampled:,} of the newest requests of each)"
    bad = [finding.reason for finding in findings if finding.bad]
    if bad:
        return Verdict("stop", "; ".join(bad) + cut, findings)
    if missing:
        return Verdict(
            settings.after_wait, f"after a wait of {settings.wait} it is still too little: {missing}", findings
        )
    return Verdict("go", f"no signal speaks against it{cut}", findings)


def _missing(evidence: Evidence, settings: CanarySettings) -> str:
    """What is not there yet; empty where all is."""
    wanted: list[tuple[Sequence[int], int, str]] = [
        (evidence.failed.counts(), settings.min_requests, "requests"),
        (evidence.failed.groups.sizes, LEAST_CALLERS, "callers"),
        (evidence.losses.counts(), settings.min_labels, "labels"),
    ]
    parts = [
        f"the {who} has {found:,} of {least:,} {what}"
        for counts, least, what in wanted
        for who, found in zip(("champion", "challenger"), counts, strict=True)
        if found < least
    ]
    return ", ".join(parts)


def _findings(evidence: Evidence, settings: CanarySettings, seed: int) -> Sequence[Finding]:
    level = settings.limits.false_stop / (len(SIGNALS) * settings.verdicts)
    test = _Test(level, seed)
    limits = settings.limits
    return (
        _errors(evidence.failed, limits.errors, test),
        _latency(evidence.durations, limits.latency, limits.latency_ms, test),
        _predictions(evidence.predictions, limits.predictions, test),
        _quality(evidence.losses, limits.quality, test),
    )


@dataclass(frozen=True, slots=True)
class _Test:
    """Whether an effect that is over its limit is chance."""

    level: float
    seed: int

    def can_tell(self, measured: Measured) -> bool:
        """Whether there are callers enough for any difference to be told from chance."""
        return measured.groups.assignments * self.level >= 1

    def p_value(self, measured: Measured, statistic: Statistic) -> float:
        draws = ceil(_DRAWS_A_LEVEL / self.level)
        return measured.groups.p_value(statistic, draws=draws, seed=self.seed)

    def finding(
        self,
        signal: Signal,
        measured: Measured,
        figures: tuple[float | None, float | None],
        effect: float,
        statistic: Statistic,
        *,
        over: bool,
        says: Callable[[], str],
    ) -> Finding:
        """The finding; chance is asked only where the effect is over its limit."""
        p_value = self.p_value(measured, statistic) if over else None
        bad = p_value is not None and p_value <= self.level
        chance = (
            "" if p_value is None else f", by chance with {p_value:.2g} ({'' if bad else 'not '}below {self.level:.2g})"
        )
        reason = says() + chance
        return Finding(signal, *figures, effect, p_value, bad, reason)


def _errors(failed: Measured, limit: float, test: _Test) -> Finding:
    if not test.can_tell(failed):
        return _unknown("errors", failed, "callers")
    values = np.asarray(failed.values, dtype=np.float64)
    champion, challenger = failed.means()
    others, its = failed.counts()
    return test.finding(
        "errors",
        failed,
        (champion, challenger),
        challenger - champion,
        mean_difference(values),
        over=challenger - champion > limit,
        says=lambda: (
            f"errors: {challenger:.1%} of its {its:,} requests failed, {champion:.1%} of the champion's {others:,} "
            f"(limit: {limit:.1%} more)"
        ),
    )


def _latency(durations: Measured, limit: float, limit_ms: float, test: _Test) -> Finding:
    if not test.can_tell(durations):
        return _unknown("latency", durations, "answers")
    values, second = np.asarray(durations.values, dtype=np.float64), durations.groups.second
    champion, challenger = _quantile(values[~second]), _quantile(values[second])
    statistic = quantile_ratio(values, _TAIL)
    ratio = float(statistic(second[None, :])[0])
    return test.finding(
        "latency",
        durations,
        (champion, challenger),
        ratio,
        statistic,
        over=ratio > limit and challenger - champion >= limit_ms,
        says=lambda: (
            f"latency: 95 % of its answers take up to {challenger:.3g} ms, of the champion's {champion:.3g} ms: "
            f"{ratio:.3g} times as long (limit: {limit:g} times, and {limit_ms:g} ms)"
        ),
    )


def _predictions(predictions: Measured, limit: float, test: _Test) -> Finding:
    if not test.can_tell(predictions):
        return _unknown("predictions", predictions, "predictions")
    statistic = distribution_distance(predictions.values)
    distance = float(statistic(predictions.groups.second[None, :])[0])
    figures = predictions.means() if predictions.values.dtype.kind == "f" else (None, None)
    return test.finding(
        "predictions",
        predictions,
        figures,
        distance,
        statistic,
        over=distance > limit,
        says=lambda: (
            f"predictions: the distribution of its {predictions.counts()[1]:,} is {distance:.2f} away from the champion's "
            f"(limit: {limit:.2f})"
        ),
    )


def _quality(losses: Measured, limit: float, test: _Test) -> Finding:
    if not test.can_tell(losses):
        return _unknown("quality", losses, "labels")
    champion, challenger = losses.means()
    others, its = losses.counts()
    more = (challenger - champion) / champion if champion > 0 else (0.0 if challenger <= champion else float("inf"))
    return test.finding(
        "quality",
        losses,
        (champion, challenger),
        more,
        mean_difference(np.asarray(losses.values, dtype=np.float64)),
        over=more > limit,
        says=lambda: (
            f"quality: its mean loss on {its:,} labels is {challenger:.4g}, the champion's on {others:,} is {champion:.4g}: "
            f"{more:+.0%} (limit: {limit:+.0%})"
        ),
    )


def _unknown(signal: Signal, measured: Measured, what: str) -> Finding:
    champion, challenger = measured.counts()
    reason = f"{signal}: not judged, {champion:,} and {challenger:,} {what} are too few"
    return Finding(signal, None, None, None, None, bad=False, reason=reason)


def _quantile(values: Floats) -> float:
    return float(np.sort(values)[ceil(_TAIL * len(values)) - 1])
