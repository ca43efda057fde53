"""How good a version's answers were on rows that it was not trained on: what later answers are judged against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from millrace.monitoring.reference.answers import UNKNOWN, AnswerLayout, Answers, Problem, added
from millrace.monitoring.reference.cells import Ints
from millrace.monitoring.reference.count_answers import AnswerColumns, count_answers, layout_of
from millrace.monitoring.reference.expected import Calibration, loss_figure
from millrace.monitoring.reference.performance import area_of, loss_of
from millrace.statistics.intervals import Estimate, mean

LEAST_ROWS = 30
_LEAST_WEEKS = 3


@dataclass(frozen=True, slots=True)
class AnswersProfile:
    """Counted answers of the holdout.

    Attributes:
        layout: how all later answers of the version are counted.
        answers: all of the holdout's.
        weeks: in how many weeks they lie; 1 without timestamps. The same customers come back each week, so it is as if
            there were one week's worth of rows.
        spread: name of a figure (`loss`, `roc_auc`, `expected` loss by scores) to the standard deviation of its weekly values beyond chance; without those that
            fewer than 3 weeks of 30 rows tell.
    """

    layout: AnswerLayout
    answers: Answers
    weeks: int = 1
    spread: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def build(
        cls, columns: AnswerColumns, weeks: Ints | None = None, problem: Problem | None = None
    ) -> AnswersProfile | None:
        """Count the rows that have a label and an answer; None where there is none.

        Args:
            columns: labels, and predictions or scores or both, null where not known.
            weeks: n numbers of weeks; None without timestamps.
            problem: None guesses, see `layout_of`.

        Raises:
            InvalidInput: as `count_answers` does.
        """
        layout, labels = layout_of(columns, problem), columns.labels
        given = [column for column in (columns.predictions, columns.scores) if column is not None]
        known = np.any([np.asarray(column.is_valid(), dtype=bool) for column in given], axis=0)
        known &= np.asarray(labels.is_valid(), dtype=bool)
        numbers = np.zeros(len(labels), dtype=np.int64) if weeks is None else weeks
        present, at = np.unique(numbers[known], return_inverse=True)
        groups = np.full(len(labels), -1, dtype=np.int64)
        groups[known] = at
        found = count_answers(layout, columns, groups, len(present))
        total = added(found, layout.problem)
        if not total.labelled:
            return None
        profile = cls(layout, total, sum(one.labelled > 0 for one in found))
        return replace(profile, spread=_spreads(profile, found))

    @property
    def loss_name(self) -> str:
        """What later answers are judged by: `log_loss` of a binary model with scores, `squared_error` of a regression, else `error`."""
        if self.layout.problem == "regression":
            return "squared_error"
        return "log_loss" if self.layout.problem == "binary" and self.answers.scored else "error"

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {
            "layout": asdict(self.layout),
            "answers": self.answers.to_dict(),
            "weeks": self.weeks,
            "spread": dict(self.spread),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> AnswersProfile:
        """Read what `to_dict` wrote.

        Raises:
            InvalidInput, KeyError, TypeError: it is something else.
        """
        layout = data["layout"]
        return cls(
            AnswerLayout(layout["problem"], tuple(layout["classes"]), layout["centre"]),
            Answers.from_dict(data["answers"]),
            data["weeks"],
            dict(data["spread"]),
        )


def beyond_chance(weekly: Sequence[Estimate]) -> float | None:
    """Standard deviation of weekly figures beyond what their own errors explain; None with fewer than 3 of them.

    The method of moments for random effects: variance of the figures less their mean sampling variance (DerSimonian & Laird 1986).
    """
    known = [week for week in weekly if week and week.rows >= LEAST_ROWS]
    if len(known) < _LEAST_WEEKS:
        return None
    variance = np.var([week.value for week in known], ddof=1) - np.mean([week.error**2 for week in known])
    return float(np.sqrt(max(float(variance), 0.0)))


def _spreads(profile: AnswersProfile, weeks: Sequence[Answers]) -> Mapping[str, float]:
    weekly = {
        "loss": [loss_of(week, profile.loss_name) for week in weeks],
        "roc_auc": [area.estimate for week in weeks if (area := area_of(week))],
        "expected": _expected(profile, weeks),
    }
    found = {name: beyond_chance(figures) for name, figures in weekly.items()}
    return {name: spread for name, spread in found.items() if spread is not None}


def _expected(profile: AnswersProfile, weeks: Sequence[Answers]) -> Sequence[Estimate]:
    """The expected loss of each week by its scores; none without scores."""
    if not profile.answers.scored:
        return []
    calibration = Calibration.of(profile.answers, profile.weeks)
    by_cell = loss_figure(calibration).expected(calibration)
    counts = (calibration.counts(week)[..., :UNKNOWN].sum(axis=2) for week in weeks)
    return [mean(float((n * by_cell).sum()), float((n * by_cell**2).sum()), int(n.sum())) for n in counts]
