"""How good a version's answers were on rows that it was not trained on: what later answers are judged against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from typing import Any

import numpy as np

from millrace.monitoring.reference.answers import UNKNOWN, AnswerLayout, Answers, Problem
from millrace.monitoring.reference.cells import Bools, Ints
from millrace.monitoring.reference.count_answers import AnswerColumns, count_answers, layout_of
from millrace.monitoring.reference.expected import Calibration, loss_figure
from millrace.monitoring.reference.performance import area_of, loss_of
from millrace.statistics.intervals import Estimate, mean

LEAST_ROWS = 30
GRANTED = 0.75  # of a floor
_LEAST_SPANS = 3
_WEEK = 7


@dataclass(frozen=True, slots=True)
class AnswersProfile:
    """Counted answers of the holdout.

    Attributes:
        layout: how all later answers of the version are counted.
        answers: all of the holdout's.
        weeks: in how many weeks they lie; 1 without timestamps. The same customers come back each week, so it is as if
            there were one week's worth of rows.
        spread: span in days (1, 7) to the name of a figure (`loss`, `roc_auc`, `expected` loss by scores) to the standard deviation
            of its values over such spans, beyond chance; without those that fewer than 3 spans of 30 rows tell.
    """

    layout: AnswerLayout
    answers: Answers
    weeks: int = 1
    spread: Mapping[int, Mapping[str, float]] = field(default_factory=dict)

    @classmethod
    def build(
        cls, columns: AnswerColumns, when: Mapping[int, Ints] | None = None, problem: Problem | None = None
    ) -> AnswersProfile | None:
        """Count the rows that have a label and an answer; None where there is none.

        Args:
            columns: labels, and predictions or scores or both, null where not known.
            when: span in days (1, 7) to n numbers of the spans that the rows are in; None without timestamps.
            problem: None guesses, see `layout_of`.

        Raises:
            InvalidInput: as `count_answers` does.
        """
        layout, labels = layout_of(columns, problem), columns.labels
        given = [column for column in (columns.predictions, columns.scores) if column is not None]
        known = np.any([np.asarray(column.is_valid(), dtype=bool) for column in given], axis=0)
        known &= np.asarray(labels.is_valid(), dtype=bool)
        parts = {span: _parts(layout, columns, numbers, known) for span, numbers in (when or {}).items()}
        whole = _parts(layout, columns, np.zeros(len(labels), dtype=np.int64), known)
        if not whole or not whole[0].labelled:
            return None
        weeks = sum(one.labelled > 0 for one in parts.get(_WEEK, whole))
        profile = cls(layout, whole[0], weeks)
        spread = {span: _spreads(profile, found) for span, found in parts.items()}
        return replace(profile, spread={span: figures for span, figures in spread.items() if figures})

    def varies(self, name: str, span: timedelta) -> float | None:
        """The spread of a figure over windows of a length: that of weeks for a week or more, else of days, else what there is; None where unknown."""
        for days in (_WEEK, 1) if span >= timedelta(days=_WEEK) else (1, _WEEK):
            if name in self.spread.get(days, {}):
                return self.spread[days][name]
        return None

    @property
    def loss_name(self) -> str:
        """What later answers are judged by: `log_loss` of a binary model with scores, `squared_error` of a regression, else `error`."""
        if self.layout.problem == "regression":
            return "squared_error"
        return "log_loss" if self.layout.problem == "binary" and self.answers.scored else "error"

    def allowance(self, name: str, span: timedelta, floor: float) -> tuple[float, float]:
        """What a figure over a span may be off by without a change: (granted before chance is asked, standard deviation beyond chance).

        The deviation is that of the reference's own spans. Where it has too few to tell, three quarters of the floor are granted.
        """
        spread = self.varies(name, span)
        return (GRANTED * floor, 0.0) if spread is None else (0.0, spread)

    def to_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {
            "layout": asdict(self.layout),
            "answers": self.answers.to_dict(),
            "weeks": self.weeks,
            "spread": {str(span): dict(figures) for span, figures in self.spread.items()},
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
            {int(span): dict(figures) for span, figures in data["spread"].items()},
        )


def beyond_chance(figures: Sequence[Estimate]) -> float | None:
    """Standard deviation of figures beyond what their own errors explain; None with fewer than 3 of 30 rows.

    The method of moments for random effects: variance of the figures less their mean sampling variance (DerSimonian & Laird 1986).
    """
    known = [one for one in figures if one and one.rows >= LEAST_ROWS]
    if len(known) < _LEAST_SPANS:
        return None
    variance = np.var([one.value for one in known], ddof=1) - np.mean([one.error**2 for one in known])
    return float(np.sqrt(max(float(variance), 0.0)))


def _parts(layout: AnswerLayout, columns: AnswerColumns, numbers: Ints, known: Bools) -> Sequence[Answers]:
    """The known answers of each number."""
    present, at = np.unique(numbers[known], return_inverse=True)
    groups = np.full(len(numbers), -1, dtype=np.int64)
    groups[known] = at
    return count_answers(layout, columns, groups, len(present))


def _spreads(profile: AnswersProfile, parts: Sequence[Answers]) -> Mapping[str, float]:
    figures = {
        "loss": [loss_of(part, profile.loss_name) for part in parts],
        "roc_auc": [area.estimate for part in parts if (area := area_of(part))],
        "expected": _expected(profile, parts),
    }
    found = {name: beyond_chance(values) for name, values in figures.items()}
    return {name: spread for name, spread in found.items() if spread is not None}


def _expected(profile: AnswersProfile, parts: Sequence[Answers]) -> Sequence[Estimate]:
    """The expected loss of each part by its scores; none without scores."""
    if not profile.answers.scored:
        return []
    calibration = Calibration.of(profile.answers, profile.weeks)
    by_cell = loss_figure(calibration).expected(calibration)
    counts = (calibration.counts(part)[..., :UNKNOWN].sum(axis=2) for part in parts)
    return [mean(float((n * by_cell).sum()), float((n * by_cell**2).sum()), int(n.sum())) for n in counts]
