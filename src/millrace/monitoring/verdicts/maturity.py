"""Have a window's labels come? Enough of them, and not just those that come early because of what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from millrace.monitoring.counts.window_counts import WindowCounts
from millrace.monitoring.reference.answers import UNKNOWN, Answers
from millrace.monitoring.reference.performance import scores_of
from millrace.statistics.distances import ks_from_counts
from millrace.statistics.tests import ks_p_value

_UNLIKE = 0.1  # KS distance of the scores of rows with labels to those of rows without
_SURE = 1e-3
_ALMOST = 0.9


def unripe(windows: Sequence[WindowCounts], coverage: float) -> Mapping[int, str]:
    """Number of each window whose labels can't be judged by yet, with the reason; the others have matured.

    Not matured: no labels; labels of less than the asked share of rows; or, while fewer have come than in older windows
    (under 9/10 of the best of them), labelled rows whose scores are unlike those of the others (KS over 0.1, p under 0.001):
    labels that come early do so because of what they say. A selection that stays (only granted loans have labels) is no
    reason, since the reference has it too.

    Args:
        windows: of one version, oldest first.
        coverage: least share of rows with labels, in (0, 1].
    """
    found, best = {}, 0.0
    for window in windows:
        answers = answers_of(window)
        if reason := _reason(answers, coverage, best):
            found[window.number] = reason
        best = max(best, answers.coverage)
    return found


def answers_of(window: WindowCounts) -> Answers:
    """What was counted; without anything, rows of which nothing is known."""
    return Answers("binary", window.rows) if window.answers is None else window.answers


def _reason(answers: Answers, coverage: float, best: float) -> str | None:
    labelled, rows = answers.labelled, answers.rows
    share = f"{labelled:,} of {rows:,} rows have labels"
    if not labelled:
        return f"none of {rows:,} rows has a label yet"
    if answers.coverage < coverage:
        return f"{share} ({answers.coverage:.0%}), {coverage:.0%} are needed"
    if answers.coverage < _ALMOST * best and (distance := _unlike(answers)):
        return f"{share}, and their scores are unlike those of the rest (KS {distance:.2f}): the early labels are not like all"
    return None


def _unlike(answers: Answers) -> float:
    """The KS distance between scores of rows with and without labels where it is large and no chance, else 0."""
    counts = scores_of(answers)
    known, waiting = counts[:, :UNKNOWN].sum(axis=1), counts[:, UNKNOWN]
    if not known.any() or not waiting.any():
        return 0.0
    distance = float(ks_from_counts(known, waiting))
    is_sure = ks_p_value(distance, float(np.sum(known)), float(np.sum(waiting))) < _SURE
    return distance if distance > _UNLIKE and is_sure else 0.0
