"""What a backtest is asked, and what it found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from millrace.core.names import TableName
from millrace.pipeline.upkeep import Retrain

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

Alarm = Literal["true", "false", "unknown"]


@dataclass(frozen=True, slots=True)
class Policy:
    """A retraining policy under a name."""

    name: str
    retrain: Retrain


@dataclass(frozen=True, slots=True)
class Ask:
    """What is asked of a backtest.

    Attributes:
        start, end: the first and the last decision; nothing after `end` is looked at.
        step: the time between two decisions.
        policies: what is compared, at least one; names are distinct.
        changes: days on which something is known to have changed: an alarm that follows one is no false alarm.
    """

    start: datetime
    end: datetime
    step: timedelta
    policies: tuple[Policy, ...]
    changes: tuple[datetime, ...] = ()

    @property
    def dates(self) -> tuple[datetime, ...]:
        """When decisions are made."""
        count = (self.end - self.start) // self.step + 1
        return tuple(self.start + self.step * number for number in range(count))


@dataclass(frozen=True, slots=True)
class Scene:
    """What is replayed: who would have asked when, with what features, and what became of them.

    Attributes:
        times_us: n times of requests, rising.
        labels: n labels, 0 or 1; NaN where not known by the end.
        keys: n codes of who asks.
        features: n model inputs, an Arrow table of numbers and texts.
        notes: sentences about who is asked, for the report.
    """

    times_us: npt.NDArray[np.int64]
    labels: npt.NDArray[np.float64]
    keys: npt.NDArray[np.int64]
    features: pa.Table
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Model:
    """A model that was trained as of a date, or the reason why there is none.

    Attributes:
        at: the date of the training, which is its name.
        candidate: the winner; empty where nothing could be trained.
        refused: why nothing could be trained; empty where it could.
        rows: training rows, times the number of candidates.
        seconds: what assembling, fitting and judging took.
        trained_to: the newest label time that it was trained on.
        judged_from, judged_to: label times of the newest labelled rows, on which it met the champion.
        metrics: the winner's on the holdout.
    """

    at: datetime
    candidate: str = ""
    refused: str = ""
    rows: int = 0
    seconds: float = 0.0
    trained_to: datetime | None = None
    judged_from: datetime | None = None
    judged_to: datetime | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A training that a policy asked for.

    Attributes:
        version: the number that it got, from 1; None where it was refused.
        why: what it was for, as the policy says.
        refused: the reasons of the gates; empty where it was promoted.
    """

    at: datetime
    version: int | None
    why: str
    refused: str
    model: Model


@dataclass(frozen=True, slots=True)
class Alert:
    """An episode of the replay.

    Attributes:
        kind: of verdict.
        closed_at: None where it was open at the end.
        alarm: whether it was a true alarm, a false one, or nobody can know.
        why: the figures that say so.
    """

    number: int
    version: int
    kind: str
    began_at: datetime
    opened_at: datetime
    closed_at: datetime | None
    reason: str
    alarm: Alarm = "unknown"
    why: str = ""


@dataclass(frozen=True, slots=True)
class Day:
    """One step of the replay: what the policy said, and which version served from then on."""

    at: datetime
    version: int | None
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class Seen:
    """One verdict of the monitor, when it could be known."""

    at: datetime
    kind: str
    status: str
    severity: str
    score: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class Run:
    """What happened under one policy, oldest first."""

    policy: Policy
    days: tuple[Day, ...]
    attempts: tuple[Attempt, ...]
    alerts: tuple[Alert, ...]
    verdicts: tuple[Seen, ...]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A backtest's frame: what it reads, and its id."""

    ask: Ask
    id: str
    versions: Mapping[TableName, int]
