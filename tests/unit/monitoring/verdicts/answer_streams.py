"""A model with an ROC AUC of 0.85 and what it meets: days of scores and labels, for the tests of its judges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from millrace.monitoring.counts.window_counts import WindowCounts
from millrace.monitoring.reference.answers import Answers
from millrace.monitoring.reference.answers_profile import AnswersProfile
from millrace.monitoring.reference.count_answers import AnswerColumns, count_answers
from millrace.monitoring.types import MonitorSpec

SPEC = MonitorSpec("ml.logs.churn", "ml.monitoring")
_STEEP, _LEVEL = 1.85, -1.0
MILD = 0.72  # the share of its steepness that the world keeps: an AUC of 0.79


@dataclass(frozen=True)
class World:
    """How scores and labels come about: log-odds `-1 + 1.85 z`, of which the world keeps a share `truth`, z from N(mean, sd)."""

    truth: float = 1.0
    mean: float = 0.0
    sd: float = 1.0

    def draw(self, rng: np.random.Generator, rows: int) -> tuple[Any, Any]:
        """Scores and labels."""
        z = rng.normal(self.mean, self.sd, rows)
        truth = _chance(_LEVEL * (0.5 + 0.5 * self.truth) + _STEEP * self.truth * z)
        return _chance(_LEVEL + _STEEP * z), (rng.random(rows) < truth).astype(float)


SAME = World()


def _chance(log_odds: Any) -> Any:
    return 1 / (1 + np.exp(-log_odds))


def reference(rows: int = 15_000, seed: int = 0) -> AnswersProfile:
    """The holdout's answers."""
    scores, labels = SAME.draw(np.random.default_rng(seed), rows)
    found = AnswersProfile.build(AnswerColumns(pa.array(labels), None, pa.array(scores)))
    assert found is not None
    return found


def counted(profile: AnswersProfile, scores: Any, labels: Any, days: Any) -> Sequence[WindowCounts]:
    """One window a day; a label of NaN is not known."""
    columns = AnswerColumns(pa.array(labels, from_pandas=True), None, pa.array(scores))
    found = count_answers(profile.layout, columns, days.astype(np.int64), int(days.max()) + 1)
    return [window(number, answers) for number, answers in enumerate(found)]


def window(number: int, answers: Answers) -> WindowCounts:
    """Counts of nothing but answers."""
    return WindowCounts(number, answers.rows, answers=answers)


def stream(
    profile: AnswersProfile, *, seed: int, a_day: int, days: Sequence[World], labelled: bool = True
) -> Sequence[WindowCounts]:
    """Windows of a world each."""
    rng = np.random.default_rng(seed)
    drawn = [world.draw(rng, a_day) for world in days]
    scores, labels = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    known = labels if labelled else np.full(len(labels), np.nan)
    return counted(profile, scores, known, np.repeat(np.arange(len(days)), a_day))
