"""How good answers should be, by their scores alone: what became of rows with such scores in the holdout.

Confidence-based performance estimation. It sees that the rows have become harder (their distribution has changed), and never that
the same row now comes out otherwise (the concept has changed). Source: Garg et al. 2022, Leveraging unlabeled data to predict
out-of-distribution performance; calibration by Zadrozny & Elkan 2002, Transforming classifier scores into accurate probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from millrace.monitoring.reference.answers import POSITIVE, RIGHT, SCORE_CELLS, UNKNOWN, WRONG, Answers, score_centres
from millrace.monitoring.reference.cells import Floats, Ints
from millrace.monitoring.reference.performance import cell_losses
from millrace.statistics.calibration import isotonic, log_odds_line
from millrace.statistics.intervals import Area, Estimate, area, around

_PRIOR = 1.0  # rows per cell that the smooth curve weighs as much as


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """The chance that a score's class comes true, cell by cell.

    Attributes:
        problem: `binary` or `classes`.
        classes: whose scores are counted, k of them.
        chances: k x 256.
        rows: k x 256, how many rows each chance is known from.
    """

    problem: str
    classes: tuple[str, ...]
    chances: Floats
    rows: Floats

    @classmethod
    def of(cls, answers: Answers, weeks: int = 1) -> Calibration:
        """Learn from labelled answers that have scores: a line in log-odds, then isotonic steps as the rows of each cell tell.

        Args:
            answers: the holdout's.
            weeks: the same customers come back in each; a week's worth of rows counts.
        """
        counts = counts_of(answers, classes := tuple(sorted(answers.scores)))
        right, wrong = (counts[..., column].astype(np.float64) for column in (RIGHT, WRONG))
        pooled = log_odds_line(score_centres(), right.sum(axis=0), wrong.sum(axis=0))
        if len(classes) > 1:
            pooled = _steps(right.sum(axis=0), wrong.sum(axis=0), pooled)
        chances = [_steps(r, w, pooled) for r, w in zip(right, wrong, strict=True)]
        rows = (right + wrong) / weeks + _PRIOR
        return cls(answers.problem, classes, np.reshape(chances, (len(classes), SCORE_CELLS)), rows)

    def counts(self, answers: Answers) -> Ints:
        """Scores as k x 256 x 3 counts (wrong, right, unknown); those of classes that the holdout did not have are left out."""
        return counts_of(answers, self.classes)


@dataclass(frozen=True, slots=True, eq=False)
class Figure:
    """A loss per row that depends on its cell and on whether its class came true: k x 256 each."""

    if_wrong: Floats
    if_right: Floats

    def expected(self, calibration: Calibration) -> Floats:
        """Its expected value in each cell."""
        q = calibration.chances
        return np.asarray(q * self.if_right + (1 - q) * self.if_wrong)


def counts_of(answers: Answers, classes: Sequence[str]) -> Ints:
    """Scores as k x 256 x 3 counts."""
    none = np.zeros((SCORE_CELLS, UNKNOWN + 1), dtype=np.int64)
    return np.reshape([answers.scores.get(name, none) for name in classes], (len(classes), SCORE_CELLS, UNKNOWN + 1))


def loss_figure(calibration: Calibration) -> Figure:
    """The log-loss of a binary model, else whether the prediction is wrong."""
    if calibration.problem == "binary":
        wrong, right = cell_losses()
        return Figure(wrong[None, :], right[None, :])
    return Figure(np.ones_like(calibration.chances), np.zeros_like(calibration.chances))


def predicted(answers: Answers) -> tuple[int, int]:
    """How many predictions were 1, and how many there were."""
    said = sum(count for (name, _), count in answers.pairs.items() if name == POSITIVE)
    return said, sum(answers.pairs.values())


def accuracy_figure(calibration: Calibration, rows: Floats, said: tuple[int, int]) -> Figure:
    """Whether the prediction is right. A binary model predicts 1 for its highest scores, as many as there were predictions of 1.

    Args:
        calibration: the model's.
        rows: k x 256 rows.
        said: how many predictions were 1, of how many.
    """
    if calibration.problem != "binary":
        return Figure(np.zeros_like(calibration.chances), np.ones_like(calibration.chances))
    ones = rows.sum() * said[0] / max(said[1], 1)
    above = np.cumsum(rows[:, ::-1], axis=1)[:, ::-1] - rows
    share = np.clip(np.divide(ones - above, rows, out=np.zeros_like(rows), where=rows > 0), 0.0, 1.0)
    return Figure(1 - share, share)


def estimate(calibration: Calibration, figure: Figure, rows: Floats) -> Estimate:
    """The mean of a figure over rows by cell, with the interval in which the measured one should lie: chance of the outcomes, and of the calibration."""
    n = float(rows.sum())
    value = float((rows * figure.expected(calibration)).sum() / n)
    per_row = outcome_variance(calibration, figure)
    variance = float((rows * per_row).sum() / n**2 + ((rows / n) ** 2 * per_row / calibration.rows).sum())
    return around(value, sqrt(variance), int(n), (0.0, np.inf))


def outcome_variance(calibration: Calibration, figure: Figure) -> Floats:
    """The variance of the figure of one row in each cell, given its score."""
    q = calibration.chances
    return np.asarray(q * (1 - q) * (figure.if_right - figure.if_wrong) ** 2)


def expected_area(calibration: Calibration, rows: Floats) -> Area | None:
    """The ROC AUC that a binary model should have on rows by cell; None for more classes."""
    if calibration.problem != "binary":
        return None
    q = calibration.chances[0]
    return area(rows[0] * (1 - q), rows[0] * q)


def _steps(right: Floats, wrong: Floats, smooth: Floats) -> Floats:
    rows = right + wrong + _PRIOR
    return isotonic((right + _PRIOR * smooth) / rows, rows)
