"""What a user writes about a model in production: what is watched, who is told, when it is made again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Monitor:
    """What is watched: each day's features and predictions against the training reference, and losses against late labels."""

    granularity: str = "1 day"
    false_alarms_per_year: float = 1.0
    effect_floor: float = 0.1
    schema: str = "ml.monitoring"


@dataclass(frozen=True, slots=True)
class Alert:
    """When a bad verdict becomes an episode: `breaches` of the last `out_of`; told to `channels` (Apprise URLs).

    An episode ends after `resolve_after` good days in a row: a week, because verdicts look a week back themselves.
    """

    on: tuple[str, ...] = ("drift", "performance")
    breaches: int = 2
    out_of: int = 3
    resolve_after: int = 7
    repeat_after: timedelta | None = None
    channels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Retrain:
    """When an episode leads to a retraining.

    Attributes:
        on: the kinds of episode that count.
        cooldown: the least time between two promotions.
        min_new_labels: how many labels of predictions made since the episode began must be known early enough to train on.
    """

    on: tuple[str, ...] = ("drift", "performance")
    cooldown: timedelta = timedelta(days=14)
    min_new_labels: int = 500
