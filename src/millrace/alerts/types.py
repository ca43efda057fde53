"""Rules, observations, episodes and notifications."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, NewType

EpisodeId = NewType("EpisodeId", int)
EpisodeStatus = Literal["open", "resolved"]


@dataclass(frozen=True, slots=True)
class AlertRule:
    """When observations become an episode.

    Attributes:
        name: unique in the workspace.
        kinds: which verdict kinds it listens to: `drift`, `performance`.
        breaches, out_of: opens when `breaches` of the last `out_of` conclusive observations are bad.
        resolve_after: resolves after so many good ones in a row.
        repeat_after: told again after this long while open; None: once.
        channels: Apprise URLs; empty: only the workspace's own log.
    """

    name: str
    kinds: tuple[str, ...] = ("drift", "performance")
    breaches: int = 2
    out_of: int = 3
    resolve_after: int = 3
    repeat_after: timedelta | None = None
    channels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Observation:
    """One evaluation of something: bad, good, or (None) not enough to say. `at` is the end of what was looked at."""

    subject: str
    kind: str
    at: datetime
    bad: bool | None
    reason: str = ""
    data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Episode:
    """A stretch of trouble. `began_at` is the end of the first bad observation in it, `opened_at` when the rule said so."""

    id: EpisodeId
    rule: str
    subject: str
    status: EpisodeStatus
    began_at: datetime
    opened_at: datetime
    last_at: datetime
    closed_at: datetime | None
    reason: str
    data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Notification:
    """A message waiting in the outbox. `key` is the same for the same change of state, however often it is sent."""

    key: str
    title: str
    body: str
    channels: tuple[str, ...]
    created_at: datetime
    data: Mapping[str, object] = field(default_factory=dict)
