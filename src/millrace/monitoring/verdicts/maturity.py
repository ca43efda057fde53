"""Have a window's labels come? Enough of them, and not just those that come early because of what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from millrace.monitoring.counts.window_counts import WindowCounts
from millrace.monitoring.reference.answers import UNKNOWN, Answers
from millrace.monitoring.reference.performance import scores_of
from millrace.monitoring.verdicts.budget import SCALES
from millrace.statistics.distances import ks_from_counts
from millrace.statistics.tests import ks_p_value

_UNLIKE = 0.1  # KS distance of the scores of rows with labels to those of rows without
_SURE = 1e-3
_ALMOST = 0.9


class Labels:
    """Which of a version's windows have matured labels.

    Not matured: no labels; labels of less than the asked share of rows; or, while fewer have come than in another window of the
    last 28 (under 9/10 of the best of them), labelled rows whose scores are unlike those of the others (KS over 0.1, p under
    0.001): labels that come early do so because of what they say. A selection that stays (only granted loans have labels) is no
    reason, since the reference has it too.
    """

    def __init__(self, windows: Sequence[WindowCounts], coverage: float) -> None:
        """Windows of one version, oldest first; and the least share of rows with labels, in (0, 1]."""
        self.answers: Mapping[int, Answers] = {window.number: answers_of(window) for window in windows}
        self._coverage = coverage
        self._unlike: dict[int, float] = {}

    def seen(self, at: int) -> range:
        """Numbers of the windows that a judge of this one looks at."""
        return range(at - SCALES[-1] + 1, at + 1)

    def unripe(self, number: int, at: int) -> str | None:
        """Why a window's labels can't be used in judging the window `at`; None where they can."""
        answers = self.answers[number]
        share = f"{answers.labelled:,} of {answers.rows:,} rows have labels"
        if not answers.labelled:
            return f"none of {answers.rows:,} rows has a label yet"
        if answers.coverage < self._coverage:
            return f"{share} ({answers.coverage:.0%}), {self._coverage:.0%} are needed"
        best = max(self.answers[other].coverage for other in self.seen(at) if other in self.answers)
        if answers.coverage < _ALMOST * best and (distance := self._distance(number)):
            rest = f"their scores are unlike those of the rest (KS {distance:.2f})"
            return f"{share}, and {rest}: the early labels are not like all"
        return None

    def ripe(self, at: int) -> Mapping[int, Answers]:
        """The answers of the windows that may be used in judging the window `at`, itself among them, oldest first."""
        numbers = (number for number in self.seen(at) if number in self.answers)
        return {number: self.answers[number] for number in numbers if self.unripe(number, at) is None}

    def _distance(self, number: int) -> float:
        if number not in self._unlike:
            self._unlike[number] = _unlike(self.answers[number])
        return self._unlike[number]


def answers_of(window: WindowCounts) -> Answers:
    """What was counted; without anything, rows of which nothing is known."""
    return Answers("binary", window.rows) if window.answers is None else window.answers


def _unlike(answers: Answers) -> float:
    """The KS distance between scores of rows with and without labels where it is large and no chance, else 0."""
    counts = scores_of(answers)
    known, waiting = counts[:, :UNKNOWN].sum(axis=1), counts[:, UNKNOWN]
    if not known.any() or not waiting.any():
        return 0.0
    distance = float(ks_from_counts(known, waiting))
    is_sure = ks_p_value(distance, float(np.sum(known)), float(np.sum(waiting))) < _SURE
    return distance if distance > _UNLIKE and is_sure else 0.0
