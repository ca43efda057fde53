"""How good a version's answers were on rows that it was not trained on: what later answers are judged against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from millrace.monitoring.reference.answers import AnswerLayout, Answers, Problem, added
from millrace.monitoring.reference.cells import Ints
from millrace.monitoring.reference.count_answers import AnswerColumns, count_answers, layout_of


@dataclass(frozen=True, slots=True)
class AnswersProfile:
    """Counted answers of the holdout.

    Attributes:
        layout: how all later answers of the version are counted.
        answers: all of the holdout's.
        weeks: in how many weeks they lie; 1 without timestamps. The same customers come back each week, so it is as if
            there were one week's worth of rows.
        spread: name of a figure to the standard deviation of its weekly values beyond chance; without those that are not known.
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
        return cls(layout, total, sum(one.labelled > 0 for one in found)) if total.labelled else None

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
