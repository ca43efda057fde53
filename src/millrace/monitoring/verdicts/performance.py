"""Is the model worse than it was? Its loss, and its ROC AUC, on labels that have come, over several spans, against the reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from math import sqrt

from millrace.monitoring.counts.window_counts import WindowCounts
from millrace.monitoring.reference.answers import Answers, added
from millrace.monitoring.reference.answers_profile import LEAST_ROWS, AnswersProfile
from millrace.monitoring.reference.performance import area_law_of, area_of, loss_of, loss_skewness
from millrace.monitoring.types import MonitorSpec, Status, WindowVerdict
from millrace.monitoring.verdicts.budget import FAR, SCALES, alpha
from millrace.monitoring.verdicts.maturity import Labels
from millrace.monitoring.windows import Granularity
from millrace.statistics.intervals import AreaLaw, Estimate
from millrace.statistics.tests import upper_p_value

RELATIVE_FLOOR = 0.03
AREA_FLOOR = 0.02
_LEAST_OF_A_CLASS = 20
_NAMES = {"log_loss": "log-loss", "error": "error rate", "squared_error": "squared error"}


@dataclass(frozen=True, slots=True)
class Change:
    """One figure over some windows against the reference.

    Attributes:
        name: `log-loss`, `error rate`, `squared error` or `ROC AUC`.
        scale: how many windows.
        now, before: over these windows, and the reference's.
        worse: by how much, as a share of the reference's loss, or in points of the area; negative is better.
        floor: a change up to here is not called degraded.
        p_value: the chance of so much worse an answer, were the model what it was.
    """

    name: str
    scale: int
    now: Estimate
    before: Estimate
    worse: float
    floor: float
    p_value: float

    def sentence(self, granularity: Granularity) -> str:
        """The figures in words."""
        shown = f"{self.worse:+.1%}" if self.name != "ROC AUC" else f"{-self.worse:+.3f}"
        return (
            f"{self.name} {self.now.value:.3f} [{self.now.low:.3f}, {self.now.high:.3f}] over {granularity.span(self.scale)} "
            f"({self.now.rows:,} labels), {self.before.value:.3f} in the reference: {shown}"
        )


@dataclass(frozen=True, slots=True)
class _Reference:
    """What each window is held against."""

    profile: AnswersProfile
    loss: Estimate
    loss_sd: float
    skewness: float
    area: Estimate | None
    area_law: AreaLaw | None

    @classmethod
    def of(cls, profile: AnswersProfile) -> _Reference:
        answers, name = profile.answers, profile.loss_name
        loss, area = loss_of(answers, name), area_of(answers)
        skewness, sd = loss_skewness(answers, name), loss.error * sqrt(loss.rows) if loss.rows > 1 else 0.0
        if area is None or not _enough(area.negatives, area.positives):
            return cls(profile, loss, sd, skewness, None, None)
        return cls(profile, loss, sd, skewness, area.estimate, area_law_of(answers))


def judge_performance(
    spec: MonitorSpec,
    version: str,
    windows: Sequence[WindowCounts],
    reference: AnswersProfile | None,
    *,
    first: int | None = None,
) -> Sequence[WindowVerdict]:
    """A verdict for each window; none without a reference that has labels.

    Degraded where, at some scale, the loss is over the reference's by more than 3 %, or the ROC AUC under it by more than 0.02,
    and the chance of that is under the budget (`budget.alpha`, split over scales and the two figures). The loss is tested
    one-sided by its mean, with the spread and skewness that it has in the reference, whose own uncertainty counts as well: that of
    one week's worth of rows, and how much its days or weeks differ (where it has none, three quarters of each floor are granted before).
    The area is tested in the same way, by the error and skewness that the reference's law gives the area of so many rows of each class: the
    window's own error (DeLong's, told with it) grows with the very loss that is asked about.

    Windows whose labels have not matured (`maturity.Labels`) count nowhere, and are `insufficient_data` themselves; so is one with under 30
    labels over 28 windows.

    Args:
        spec: the monitor.
        version: the model version that all windows are of.
        windows: oldest first; the first ones serve as the past of the later ones.
        reference: the holdout's answers.
        first: the number of the first window to judge; None: all.
    """
    if reference is None:
        return []
    held, granularity = _Reference.of(reference), Granularity.parse(spec.granularity)
    labels = Labels(windows, spec.label_coverage)
    limit = alpha(spec, "performance") / len(SCALES) / (1 if held.area is None else 2)
    verdicts = []
    for number, answers in labels.answers.items():
        if first is not None and number < first:
            continue
        told = Told(version, granularity, number, answers)
        if reason := labels.unripe(number, number):
            verdicts.append(told.verdict("insufficient_data", None, reason, {}))
        elif changes := list(_changes(labels.ripe(number), number, held, granularity.length)):
            verdicts.append(_judged(told, changes, limit))
        else:
            reason = f"fewer than {LEAST_ROWS} labels over {granularity.span(SCALES[-1])}"
            verdicts.append(told.verdict("insufficient_data", None, reason, {}))
    return verdicts


@dataclass(frozen=True, slots=True)
class Told:
    """Whose window a verdict is about."""

    version: str
    granularity: Granularity
    number: int
    answers: Answers

    def verdict(self, status: Status, score: float | None, reason: str, figures: Mapping[str, float]) -> WindowVerdict:
        """With the coverage of labels among its figures."""
        start, end = self.granularity.start(self.number), self.granularity.start(self.number + 1)
        known = {"labelled": float(self.answers.labelled), "coverage": self.answers.coverage}
        return WindowVerdict("performance", self.version, start, end, status, score, (), reason, known | dict(figures))


def _changes(mature: Mapping[int, Answers], number: int, held: _Reference, window: timedelta) -> Iterator[Change]:
    """Each figure at each scale that has enough labels; a longer span that holds the same windows is not looked at again."""
    total = Answers(held.profile.layout.problem)
    reached = number + 1
    for scale in SCALES:
        first = number - scale + 1
        newer = [mature[at] for at in range(first, reached) if at in mature]
        reached = first
        if newer:
            total = added([total, *newer], total.problem)
        if newer and total.labelled >= LEAST_ROWS:
            yield from _against(total, scale, held, scale * window)


def _against(answers: Answers, scale: int, held: _Reference, span: timedelta) -> Iterator[Change]:
    now = loss_of(answers, held.profile.loss_name)
    if now and now.rows >= LEAST_ROWS:
        difference = now.value - held.loss.value
        granted, spread = held.profile.allowance("loss", span, RELATIVE_FLOOR * held.loss.value)
        uncertain = held.loss.error**2 * held.profile.weeks + spread**2
        relative = difference / held.loss.value if held.loss.value > 0 else float(difference > 0)
        name = _NAMES[held.profile.loss_name]
        p_value = _p_value(difference - granted, held.loss_sd**2 / now.rows, held.skewness / sqrt(now.rows), uncertain)
        yield Change(name, scale, now, held.loss, relative, RELATIVE_FLOOR, p_value)
    area = area_of(answers)
    if held.area is not None and held.area_law and area and _enough(area.negatives, area.positives):
        before = held.area
        granted, spread = held.profile.allowance("roc_auc", span, AREA_FLOOR)
        sampling, leaning = held.area_law.chance(area.negatives, area.positives)
        drop = before.value - area.estimate.value
        p_value = _p_value(drop - granted, sampling, -leaning, before.error**2 * held.profile.weeks + spread**2)
        yield Change("ROC AUC", scale, area.estimate, before, drop, AREA_FLOOR, p_value)


def _p_value(difference: float, sampling: float, skewness: float, uncertain: float) -> float:
    """Of a window's figure less the reference's, by the variance and skewness that its rows alone would give it; only that is skewed as rows are."""
    error = sqrt(sampling + uncertain)
    return upper_p_value(_z(difference, error), skewness * (sampling / error**2) ** 1.5 if error else 0.0)


def _z(difference: float, error: float) -> float:
    return difference / error if error > 0 else 1e3 if difference > 0 else 0.0


def _enough(negatives: int, positives: int) -> bool:
    return min(negatives, positives) >= _LEAST_OF_A_CLASS


def _judged(told: Told, changes: Sequence[Change], limit: float) -> WindowVerdict:
    bad = [change for change in changes if change.p_value < limit and change.worse > change.floor]
    worst = min(bad or changes, key=lambda change: change.p_value)
    others = [change for change in changes if change.scale == worst.scale and change is not worst]
    losses = [change for change in (worst, *others) if change.name != "ROC AUC"]
    reason = "; ".join(change.sentence(told.granularity) for change in (worst, *others))
    figures = {"windows": float(worst.scale), "rows": float(worst.now.rows), "p_value": worst.p_value, "p_limit": limit}
    for change in (worst, *others):
        key = "roc_auc" if change.name == "ROC AUC" else "loss"
        figures |= {
            key: change.now.value,
            f"{key}_low": change.now.low,
            f"{key}_high": change.now.high,
            f"reference_{key}": change.before.value,
        }
    score = losses[0].worse if losses else None
    # As of drift: half as much again as the floor, and no second window is waited for.
    severe = any(change.worse >= FAR * change.floor for change in bad)
    verdict = told.verdict("degraded" if bad else "ok", score, reason, figures)
    return replace(verdict, severity="critical") if severe else verdict
