"""Should the model be worse than it was, by its scores alone, before any label has come? And has that been right so far?"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from math import erfc, sqrt

import numpy as np

from millrace.monitoring.counts.window_counts import WindowCounts
from millrace.monitoring.reference.answers import RIGHT, UNKNOWN, WRONG, Answers, added
from millrace.monitoring.reference.answers_profile import LEAST_ROWS, AnswersProfile
from millrace.monitoring.reference.cells import Floats, Ints
from millrace.monitoring.reference.effects import summed
from millrace.monitoring.reference.expected import (
    Calibration,
    Figure,
    accuracy_figure,
    estimate,
    expected_area,
    loss_figure,
    outcome_variance,
    predicted,
)
from millrace.monitoring.types import MonitorSpec, Status, WindowVerdict
from millrace.monitoring.verdicts.budget import SCALES, alpha
from millrace.monitoring.verdicts.maturity import Labels, answers_of
from millrace.monitoring.windows import Granularity
from millrace.statistics.intervals import Estimate, proportion
from millrace.statistics.tests import upper_p_value

RELATIVE_FLOOR = 0.05
STRETCH = 7  # windows whose labels the estimate is held against together
CHECKED = 4  # newest stretches that decide whether it is trusted
REMEMBERED = 12  # and those that its record tells of
_LEAST_REFERENCE = 100
_DISTRUST = 1e-4


@dataclass(frozen=True)
class _Scores:
    """The reference's scores, and what should come of them."""

    profile: AnswersProfile

    @cached_property
    def calibration(self) -> Calibration:
        return Calibration.of(self.profile.answers, self.profile.weeks)

    @cached_property
    def loss(self) -> Figure:
        return loss_figure(self.calibration)

    @cached_property
    def by_cell(self) -> Floats:
        """The expected loss of a row."""
        return self.loss.expected(self.calibration)

    @cached_property
    def rows(self) -> Floats:
        return np.asarray(self.cells(self.profile.answers)[..., :UNKNOWN].sum(axis=2))

    @cached_property
    def moments(self) -> tuple[float, float, float]:
        """Mean, variance and skewness of the expected loss over the reference's rows."""
        share = self.rows / self.rows.sum()
        mean = float((share * self.by_cell).sum())
        variance, third = (float((share * (self.by_cell - mean) ** power).sum()) for power in (2, 3))
        return mean, variance, third / variance**1.5 if variance > 0 else 0.0

    def cells(self, answers: Answers) -> Floats:
        return self.calibration.counts(answers).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is to be expected of the rows of some windows, by their scores.

    Attributes:
        loss, accuracy: with the interval in which the measured figure should lie.
        area: ROC AUC; None for more than two classes.
        worse: by how much the loss is over the reference's, as a share of it.
        p_value: the chance of so much harder rows, were they drawn as the reference's.
    """

    scale: int
    rows: int
    loss: Estimate
    accuracy: Estimate
    area: Estimate | None
    worse: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Check:
    """The estimate against what was measured, on the same labelled rows.

    Attributes:
        windows: windows with labels that were looked at: those of up to 12 stretches of 7 windows.
        estimated, measured: accuracy.
        worst: the largest difference in one stretch, in either direction.
        trusted: False where, over the newest 4 stretches that have labels, the loss differs by more than 5 % and the chance of that is under 0.0001.
    """

    windows: int
    estimated: float
    measured: Estimate
    worst: float
    trusted: bool


class Record:
    """Windows with labels, as they come, for holding the estimate against them. Stretches begin at multiples of 7, whatever is the first window."""

    def __init__(self, held: _Scores) -> None:
        self._held = held
        self._stretches: dict[int, tuple[int, Answers, float]] = {}

    def take(self, number: int, answers: Answers) -> None:
        """The next window."""
        stretch = number // STRETCH
        windows, before, _ = self._stretches.get(stretch, (0, Answers(answers.problem), 0.0))
        together = before + answers
        estimated, measured = _accuracies(self._held, together)
        gap = abs(estimated - measured.value) if together.scored >= LEAST_ROWS else 0.0
        self._stretches[stretch] = windows + 1, together, gap

    def check(self) -> Check | None:
        """What they say of the estimate; None with fewer than 30 labels."""
        remembered = list(self._stretches.values())[-REMEMBERED:]
        problem = self._held.profile.layout.problem
        total = added([answers for _, answers, _ in remembered], problem)
        if total.scored < LEAST_ROWS:
            return None
        newest = added([answers for _, answers, _ in remembered[-CHECKED:]], problem)
        trusted = newest.scored < LEAST_ROWS or not _is_wrong(self._held, newest)
        windows, worst = sum(count for count, _, _ in remembered), max(gap for _, _, gap in remembered)
        return Check(windows, *_accuracies(self._held, total), worst, trusted)


def judge_estimate(
    spec: MonitorSpec,
    version: str,
    windows: Sequence[WindowCounts],
    reference: AnswersProfile | None,
    *,
    labelled: Sequence[WindowCounts] | None = None,
    labels_after: int = 0,
    first: int | None = None,
) -> Sequence[WindowVerdict]:
    """A verdict for each window of a classifier with scores; none without a reference for it.

    Each score has a chance of coming true, learnt from the holdout (`Calibration`); the expected loss, accuracy and ROC AUC of a window
    follow. Degraded where, at some scale, the expected loss is over that of the holdout's own scores by more than 5 %, and the chance of
    that is under the budget (`budget.alpha` over the scales). The estimate sees rows that have become harder, never a changed
    concept; so it is held against the labels that have come since: where it was wrong over the newest ones (`Check`), the
    verdict is `insufficient_data`, and says so.

    Args:
        spec: the monitor.
        version: the model version that all windows are of.
        windows: oldest first; the first ones serve as the past of the later ones.
        reference: the holdout's answers.
        labelled: windows whose labels the estimate is held against, oldest first, back to `REMEMBERED` stretches that have labels; of what
            they say, a window hears that of those up to its own. None: `windows`.
        labels_after: by so many windows labels come late, where a replay gives them all at once.
        first: the number of the first window to judge; None: all.
    """
    if reference is None or reference.layout.problem == "regression" or not reference.answers.scored:
        return []
    held, granularity = _Scores(reference), Granularity.parse(spec.granularity)
    limit = alpha(spec, "estimate") / len(SCALES)
    scored = _Scored.of(held, windows, granularity.length)
    checks = _checks(held, windows if labelled is None else labelled, spec.label_coverage)
    verdicts = []
    for window in windows:
        if first is not None and window.number < first:
            continue
        at = bisect_right(checks, window.number - labels_after, key=lambda one: one[0])
        told = _Told(version, granularity, window.number, checks[at - 1][1] if at else None)
        if held.rows.sum() < _LEAST_REFERENCE:
            verdicts.append(told.too_little(held))
        else:
            found = list(scored.expectations(window.number))
            verdicts.append(told.judged(found, limit))
    return verdicts


def _checks(held: _Scores, labelled: Sequence[WindowCounts], coverage: float) -> Sequence[tuple[int, Check | None]]:
    """What is known of the estimate once a window's labels have come, by its number, rising."""
    labels, record, found = Labels(labelled, coverage), Record(held), []
    for number, answers in labels.answers.items():
        if answers.scored and labels.unripe(number, number) is None:
            record.take(number, answers)
            found.append((number, record.check()))
    return found


def _accuracies(held: _Scores, answers: Answers) -> tuple[float, Estimate]:
    """Estimated and measured, on the rows that have label and score."""
    cells = held.cells(answers)
    rows = cells[..., :UNKNOWN].sum(axis=2)
    figure = accuracy_figure(held.calibration, rows, predicted(answers))
    expected = float((rows * figure.expected(held.calibration)).sum() / rows.sum())
    hits = float((cells[..., RIGHT] * figure.if_right + cells[..., WRONG] * figure.if_wrong).sum())
    return expected, proportion(hits, float(rows.sum()))


def _is_wrong(held: _Scores, answers: Answers) -> bool:
    """Spiegelhalter's test (1986) of the loss given the scores, with the uncertainty of the calibration."""
    cells = held.cells(answers)
    rows = cells[..., :UNKNOWN].sum(axis=2)
    measured = float((cells[..., RIGHT] * held.loss.if_right + cells[..., WRONG] * held.loss.if_wrong).sum())
    expected = float((rows * held.by_cell).sum())
    per_row = outcome_variance(held.calibration, held.loss)
    variance = float((rows * per_row + rows**2 * per_row / held.calibration.rows).sum())
    if variance <= 0 or expected <= 0:
        return False
    z = abs(measured - expected) / sqrt(variance)
    return erfc(z / sqrt(2)) < _DISTRUST and abs(measured - expected) > RELATIVE_FLOOR * expected


@dataclass(frozen=True, slots=True)
class _Scored:
    """W windows, each with those before it at each scale: only those that have scores count.

    Attributes:
        rows: by scale, w x k x 256 rows by cell.
        said: by scale, w x 3: predictions of 1, all predictions, windows.
    """

    held: _Scores
    length: timedelta
    places: Mapping[int, int]
    rows: Mapping[int, Floats]
    said: Mapping[int, Ints]

    @classmethod
    def of(cls, held: _Scores, windows: Sequence[WindowCounts], length: timedelta) -> _Scored:
        answers = [answers_of(window) for window in windows]
        cells: Floats = np.array([held.cells(one).sum(axis=2) for one in answers], dtype=np.float64)
        said = np.array([(*predicted(one), 1) if one.scores else (0, 0, 0) for one in answers], dtype=np.int64)
        numbers = np.array([window.number for window in windows], dtype=np.int64)
        places = {window.number: at for at, window in enumerate(windows)}
        rows = {scale: summed(cells, numbers, scale) for scale in SCALES}
        return cls(held, length, places, rows, {scale: summed(said, numbers, scale) for scale in SCALES})

    def expectations(self, number: int) -> Iterator[Expectation]:
        """Of each scale that has more windows than the one before, and rows enough."""
        at, counted = self.places[number], 0
        for scale in SCALES:
            rows, (ones, made, windows) = self.rows[scale][at], self.said[scale][at].tolist()
            if windows > counted and rows.sum() >= LEAST_ROWS:
                yield _expected(self.held, rows, (ones, made), scale, scale * self.length)
            counted = windows


def _expected(held: _Scores, rows: Floats, said: tuple[int, int], scale: int, span: timedelta) -> Expectation:
    mean, variance, skewness = held.moments
    n, weeks = float(rows.sum()), held.profile.weeks
    loss = estimate(held.calibration, held.loss, rows)
    accuracy = estimate(held.calibration, accuracy_figure(held.calibration, rows, said), rows)
    found = expected_area(held.calibration, rows)
    moved = (rows / n - held.rows / held.rows.sum()) ** 2
    of_map = float((moved * outcome_variance(held.calibration, held.loss) / held.calibration.rows).sum())
    granted, spread = held.profile.allowance("expected", span, RELATIVE_FLOOR * mean)
    sampling = variance / n
    error = sqrt(sampling + variance * weeks / held.rows.sum() + of_map + spread**2)
    z = (loss.value - mean - granted) / error if error > 0 else 0.0
    skew = skewness / sqrt(n) * (sampling / error**2) ** 1.5 if error > 0 else 0.0
    worse = (loss.value - mean) / mean if mean > 0 else 0.0
    return Expectation(scale, int(n), loss, accuracy, found.estimate if found else None, worse, upper_p_value(z, skew))


@dataclass(frozen=True, slots=True)
class _Told:
    """Whose window a verdict is about, and how good its estimates have been."""

    version: str
    granularity: Granularity
    number: int
    check: Check | None

    def judged(self, found: Sequence[Expectation], limit: float) -> WindowVerdict:
        if not found:
            return self.verdict(
                "insufficient_data",
                None,
                f"fewer than {LEAST_ROWS} scores over {self.granularity.span(SCALES[-1])}",
                {},
            )
        bad = [one for one in found if one.p_value < limit and one.worse > RELATIVE_FLOOR]
        worst = min(bad or found, key=lambda one: one.p_value)
        is_trusted = self.check is None or self.check.trusted
        status: Status = "insufficient_data" if not is_trusted else "degraded" if bad else "ok"
        area = f", ROC AUC {worst.area.value:.3f}" if worst.area else ""
        reason = (
            f"expected accuracy {worst.accuracy.value:.1%} [{worst.accuracy.low:.1%}, {min(worst.accuracy.high, 1.0):.1%}]{area} over "
            f"{self.granularity.span(worst.scale)} (n={worst.rows:,}), loss {worst.worse:+.1%} against the reference; {self._record()}"
        )
        figures = {
            "windows": float(worst.scale),
            "rows": float(worst.rows),
            "expected_loss": worst.loss.value,
            "expected_accuracy": worst.accuracy.value,
            "expected_accuracy_low": worst.accuracy.low,
            "expected_accuracy_high": min(worst.accuracy.high, 1.0),
            "p_value": worst.p_value,
            "p_limit": limit,
        }
        if worst.area:
            figures["expected_roc_auc"] = worst.area.value
        return self.verdict(status, worst.worse, reason, figures)

    def too_little(self, held: _Scores) -> WindowVerdict:
        reason = f"the reference has {held.rows.sum():.0f} scores with labels, {_LEAST_REFERENCE} are needed"
        return self.verdict("insufficient_data", None, reason, {})

    def verdict(self, status: Status, score: float | None, reason: str, figures: dict[str, float]) -> WindowVerdict:
        start, end = self.granularity.start(self.number), self.granularity.start(self.number + 1)
        if self.check:
            figures |= {
                "checked_windows": float(self.check.windows),
                "checked_estimated_accuracy": self.check.estimated,
                "checked_measured_accuracy": self.check.measured.value,
                "checked_worst_difference": self.check.worst,
                "trusted": float(self.check.trusted),
            }
        return WindowVerdict("estimate", self.version, start, end, status, score, (), reason, figures)

    def _record(self) -> str:
        if self.check is None:
            return "not checked yet, for want of labels"
        span, check = self.granularity.span(self.check.windows), self.check
        measured = f"{check.measured.value:.1%} [{check.measured.low:.1%}, {check.measured.high:.1%}]"
        if not check.trusted:
            return (
                f"it can't be trusted: over the newest {span} with labels it said {check.estimated:.1%} and {measured} was measured "
                "(the concept has changed)"
            )
        return (
            f"over the newest {span} with labels it said {check.estimated:.1%} and {measured} was measured, never more than "
            f"{check.worst * 100:.1f} points apart over {self.granularity.span(STRETCH)}"
        )
