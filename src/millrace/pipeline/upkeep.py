"""What a user writes about a model in production: what is watched, who is told, when it is made again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, cast

from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean

KINDS = ("drift", "performance", "estimate", "quality", "volume")


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
    """When a model is made again. A person can always ask for it: `millrace run --retrain`.

    Attributes:
        on: what counts as a cause: kinds of verdict, `drift`, `performance` (measured loss), `estimate` (estimated loss), `quality`,
            `volume`; kinds joined by `+` must all be bad: `drift+estimate`. Empty: no episode leads to a retraining.
        breaches, out_of: a kind is bad while `breaches` of its last `out_of` conclusive windows are.
        every: also on a schedule: a distance of ticks, or `month` (the first of each month, UTC).
        cooldown: the least time after a promotion, or after a retraining that was refused.
        per_month: how many retrainings, refused ones too, may begin in a calendar month (UTC); None: any number.
        min_new_labels: how many new labels must be known early enough to train on: of predictions made since the episode began,
            or since what a refused attempt was trained on; for a scheduled retraining, since what the champion was trained on.
        labels: `wait` for those of the time since the episode began; or, while the `estimate` is bad, go by it, and take any that
            the champion was not trained on.

    Raises:
        InvalidInput: an unknown kind, or a number that can't be.
    """

    on: tuple[str, ...] = ("performance", "drift+estimate")
    cooldown: timedelta = timedelta(days=14)
    min_new_labels: int = 500
    breaches: int = 1
    out_of: int = 7
    per_month: int | None = None
    labels: Literal["wait", "estimate"] = "wait"
    every: timedelta | Literal["month"] | None = None

    def __post_init__(self) -> None:
        _check_causes(self.on)
        if not 1 <= self.breaches <= self.out_of:
            raise InvalidInput(
                f"Retrain asks for {self.breaches} of {self.out_of} windows", hint="give breaches from 1 to out_of"
            )
        if self.labels not in {"wait", "estimate"}:
            raise InvalidInput(f"labels is '{self.labels}'", hint="give labels='wait' or labels='estimate'")
        if isinstance(self.every, str) and self.every != "month":
            raise InvalidInput(f"every is '{self.every}'", hint="give a timedelta, or 'month'")
        if isinstance(self.every, timedelta) and self.every <= timedelta(0):
            raise InvalidInput("every is not positive", hint="give a timedelta, as timedelta(days=30), or 'month'")
        if self.cooldown < timedelta(0) or self.min_new_labels < 0 or (self.per_month or 0) < 0:
            raise InvalidInput(
                "cooldown, min_new_labels or per_month is negative", hint="give 0 or more; per_month=None is any number"
            )

    @property
    def causes(self) -> tuple[frozenset[str], ...]:
        """`on`, with the kinds of each cause apart."""
        return tuple(frozenset(cause.split("+")) for cause in self.on)


def _check_causes(on: object) -> None:
    if isinstance(on, str):
        raise InvalidInput(f"on is the text '{on}'", hint=f"give a tuple: on=('{on}',)")
    for kind in (kind for cause in cast("Iterable[str]", on) for kind in cause.split("+")):
        if kind not in KINDS:
            raise InvalidInput(f"'{kind}' is no kind of verdict", hint=did_you_mean(kind, KINDS))
