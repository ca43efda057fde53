"""How good what was served turned out to be: measured when the backtest is over, by labels that no policy had seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from millrace.core.clock import epoch_us
from millrace.pipeline.backtest.types import Ask, Attempt, Run, Scene
from millrace.statistics.metrics import Floats, row_log_loss
from millrace.statistics.two_way import Mean, two_way_mean

if TYPE_CHECKING:
    import numpy.typing as npt

ScoresOf = Callable[[datetime], Floats]
"""What the model that was trained at a date says of each request of the scene."""

_DAY = timedelta(days=1)
_BLOCKS = (28 * _DAY, 14 * _DAY, 7 * _DAY)
LEAST_BLOCKS = 6  # with fewer, all of one sign may still be chance
_LEAST_ROWS = 30
_Z = 1.96


@dataclass(frozen=True, slots=True)
class Stretch:
    """Requests of one step, and how well they were answered; None where fewer than 30 have a label."""

    start: datetime
    end: datetime
    version: int | None
    rows: int
    labelled: int
    loss: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Gain:
    """How much lower the loss was than without a retraining, over the requests that its model answered."""

    at: datetime
    version: int
    until: datetime
    labelled: int
    mean: Mean


class Measured:
    """The losses of what was served."""

    def __init__(self, scene: Scene, ask: Ask, scores_of: ScoresOf, kind: str, seed: int) -> None:
        self._scene, self._ask, self._scores_of, self._kind, self._seed = scene, ask, scores_of, kind, seed
        self._losses: dict[datetime, Floats] = {}

    def of_model(self, at: datetime) -> Floats:
        """N losses of the model that was trained at a date; NaN without a label."""
        if at not in self._losses:
            labels, scores = self._scene.labels, self._scores_of(at)
            known = ~np.isnan(labels)
            losses = np.full(len(labels), np.nan)
            losses[known] = row_loss(self._kind, labels[known], scores[known])
            self._losses[at] = losses
        return self._losses[at]

    def served(self, run: Run) -> Floats:
        """N losses of what answered under a policy; NaN where nothing did, or without a label."""
        losses = np.full(len(self._scene.times_us), np.nan)
        for attempt, until in reigns(run, self._ask.end):
            rows = self.rows(attempt.at, until)
            losses[rows] = self.of_model(attempt.at)[rows]
        return losses

    def rows(self, start: datetime, end: datetime) -> slice:
        """The requests in [start, end)."""
        low, high = np.searchsorted(self._scene.times_us, [epoch_us(start), epoch_us(end)])
        return slice(int(low), int(high))

    def stretches(self, run: Run) -> Sequence[Stretch]:
        """One for each step."""
        losses, found = self.served(run), []
        for day in run.days:
            end = day.at + self._ask.step
            rows = self.rows(day.at, end)
            found.append(_stretch(day.at, end, day.version, losses[rows]))
        return found

    def mean(self, losses: Floats) -> Mean:
        """The mean of what is known, over keys and blocks of time."""
        known = ~np.isnan(losses)
        return two_way_mean(
            losses[known], self._scene.keys[known], self._blocks(self._scene.times_us[known]), seed=self._seed
        )

    def difference(self, one: Run, other: Run) -> Mean:
        """How much higher the loss under one policy was than under another, where they were answered by different models.

        A mean of what is the same everywhere else would say nothing about how sure the difference is.
        """
        return self.mean(self._where_different(self.served(one) - self.served(other), one, other))

    def gains(self, run: Run) -> Sequence[Gain]:
        """What each retraining gained over going on with the model before it."""
        kings, found = list(reigns(run, self._ask.end)), []
        for (before, _), (attempt, until) in pairwise(kings):
            rows = self.rows(attempt.at, until)
            gains = np.full(len(self._scene.times_us), np.nan)
            gains[rows] = self.of_model(before.at)[rows] - self.of_model(attempt.at)[rows]
            labelled = int((~np.isnan(gains)).sum())
            found.append(Gain(attempt.at, attempt.version or 0, until, labelled, self.mean(gains)))
        return found

    def _where_different(self, differences: Floats, one: Run, other: Run) -> Floats:
        same = np.zeros(len(differences), dtype=bool)
        for attempt, until in reigns(one, self._ask.end):
            for against, end in reigns(other, self._ask.end):
                if attempt.at == against.at:
                    same[self.rows(attempt.at, min(until, end))] = True
        return np.where(same, np.nan, differences)

    def _blocks(self, times_us: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Stretches of four weeks, or shorter ones where there would be too few."""
        start = epoch_us(self._ask.start)
        cut = [(times_us - start) // (length // timedelta(microseconds=1)) for length in (*_BLOCKS, self._ask.step)]
        return next((blocks for blocks in cut if len(np.unique(blocks)) >= LEAST_BLOCKS), cut[-1])


def reigns(run: Run, end: datetime) -> Sequence[tuple[Attempt, datetime]]:
    """Each promoted model with the time until which it answered: up to the end itself, which it answered too."""
    promoted = [attempt for attempt in run.attempts if attempt.version is not None]
    ends = [*(attempt.at for attempt in promoted[1:]), end + timedelta(microseconds=1)]
    return list(zip(promoted, ends, strict=False))  # where nothing was promoted, there is an end too many


def row_loss(kind: str, labels: Floats, scores: Floats) -> Floats:
    """The loss of each row: log-loss, squared error, or wrong or not."""
    if kind == "brier":
        return np.asarray((scores - labels) ** 2)
    if kind == "accuracy":
        return np.asarray((scores > 0.5) != (labels == 1.0), dtype=np.float64)  # noqa: PLR2004 - where predictions turn
    return row_log_loss(labels, scores)


def loss_kind(choose_by: str) -> str:
    """The loss that the pipeline's own metric is a mean of; log-loss for metrics that are no mean over rows."""
    return choose_by if choose_by in {"brier", "accuracy"} else "log_loss"


def _stretch(start: datetime, end: datetime, version: int | None, losses: Floats) -> Stretch:
    known = losses[~np.isnan(losses)]
    if len(known) < _LEAST_ROWS:
        return Stretch(start, end, version, len(losses), len(known))
    mean, error = float(known.mean()), float(known.std(ddof=1)) / sqrt(len(known))
    return Stretch(start, end, version, len(losses), len(known), mean, mean - _Z * error, mean + _Z * error)
