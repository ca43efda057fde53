"""Rules, observations, episodes, notifications, and what keeps them from being told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, NewType

from millrace.alerts.condition import Condition
from millrace.core.errors import InvalidInput

EpisodeId = NewType("EpisodeId", int)
EpisodeStatus = Literal["open", "resolved"]
Change = Literal["opened", "repeated", "resolved"]
# What receivers are still to be told of an episode.
Owed = Literal["", "opened", "resolved"]
MatchOperator = Literal["=", "!=", "=~", "!~"]
State = Literal["ok", "bad", "unknown", "error"]

KINDS: Final = ("drift", "quality", "volume", "performance", "estimate")
METRIC: Final = "metric"  # what a rule over a metric or SQL observes
ERROR: Final = "error"  # that its SQL could not be run


@dataclass(frozen=True, slots=True)
class Inhibition:
    """While an episode of one of the kinds `by` is open, those of the kinds `of` about the same subject are not told."""

    by: tuple[str, ...]
    of: tuple[str, ...]


INHIBITIONS: Final = (
    Inhibition(("quality", "volume"), ("drift", "estimate")),
    Inhibition(("performance",), ("drift", "estimate")),
)


@dataclass(frozen=True, slots=True)
class AlertRule:
    """When observations become an episode, and who is told of it.

    Attributes:
        name: unique in the workspace.
        kinds: which kinds of observation it listens to; each has episodes of its own.
        breaches, out_of: opens when `breaches` of the last `out_of` conclusive observations of a kind are bad.
        resolve_after: resolves after so many good ones in a row.
        repeat_after: told again after this long while open; None: once.
        channels: where to: names of channels, `env:VARIABLE`, or URLs; empty: only the workspace's own log.
        notify_on_ok: whether an episode's end is told, too.
        critical_at_once: whether a bad observation with severity `critical` opens by itself.
        labels: by which silences find it, beside `rule`, `subject` and `kind`.
        inhibitions: which kinds of trouble make others redundant.
        quiet: stretches of the week in which nothing is told, as `22:00-06:00` or `Sat-Sun`; see `quiet.py`.
        condition: for a rule over a metric or SQL, what it asks; None: it hears a monitor's verdicts.
        every: the least time between two evaluations of the condition; None: each time that alerts are evaluated.
    """

    name: str
    kinds: tuple[str, ...] = KINDS
    breaches: int = 2
    out_of: int = 3
    resolve_after: int = 3
    repeat_after: timedelta | None = None
    channels: tuple[str, ...] = field(default=(), repr=False)  # a URL may hold a secret
    notify_on_ok: bool = True
    critical_at_once: bool = True
    labels: Mapping[str, str] = field(default_factory=dict)
    inhibitions: tuple[Inhibition, ...] = INHIBITIONS
    quiet: tuple[str, ...] = ()
    condition: Condition | None = None
    every: timedelta | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.breaches <= self.out_of or self.resolve_after < 1:
            raise InvalidInput(
                f"alert rule '{self.name}' asks for {self.breaches} of {self.out_of}, resolving after {self.resolve_after}",
                hint="give breaches from 1 to out_of, and resolve_after from 1",
            )
        if not all(isinstance(each, str) for pair in self.labels.items() for each in pair):
            raise InvalidInput(f"alert rule '{self.name}' has a label that is no text", hint="write {'team': 'risk'}")
        for name, span in (("repeat_after", self.repeat_after), ("every", self.every)):
            if span is not None and span <= timedelta(0):
                raise InvalidInput(f"alert rule '{self.name}': {name} is not positive", hint="write a span, as 1 day")


@dataclass(frozen=True, slots=True)
class Observation:
    """One evaluation of something: bad, good, or (None) not enough to say. `at` is the end of what was looked at.

    `data["severity"]` is `info`, `warning` or `critical`; a bad one that is only `info` counts as good.
    """

    subject: str
    kind: str
    at: datetime
    bad: bool | None
    reason: str = ""
    data: Mapping[str, object] = field(default_factory=dict)

    @property
    def is_critical(self) -> bool:
        """Whether it is bad enough to count by itself."""
        return bool(self.bad) and self.data.get("severity") == "critical"


@dataclass(frozen=True, slots=True)
class Episode:
    """A stretch of trouble of one kind, about one subject.

    Attributes:
        began_at: the end of the first bad observation in it.
        opened_at: when the rule said so.
        last_at: the end of the last bad observation.
        data: of the observation that opened it, with `kinds` (its kind), `seen` and `clean`.
        kind: of its observations.
        owed: what is still to be told; it waits for a silence, or for the next evaluation.
        revision: counts its changes; an update of what another has changed meanwhile is refused.
    """

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
    kind: str = ""
    owed: Owed = ""
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Note:
    """A line in an episode's history. Of two with the same `key` in an episode the first stays; without one it is the text itself."""

    at: datetime
    by: str
    text: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Notification:
    """A message in the outbox. `key` is the same for the same change of state, however often it is sent."""

    key: str
    title: str
    body: str
    channels: tuple[str, ...]
    created_at: datetime
    data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A notification on its way to one channel.

    Attributes:
        status: `waiting`, `sent`, or `dead`: given up, after so many attempts that it never will.
        next_at: not to be tried before.
        error: of the last attempt, without secrets.
    """

    id: int
    episode: EpisodeId
    channel: str
    notification: Notification
    status: Literal["waiting", "sent", "dead"]
    attempts: int
    next_at: datetime
    sent_at: datetime | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Matcher:
    """A condition on a label: `=`, `!=`, or a regular expression that the whole value must (`=~`) or must not (`!~`) match."""

    label: str
    operator: MatchOperator
    value: str


@dataclass(frozen=True, slots=True)
class Silence:
    """From `starts_at` to `ends_at`, episodes whose labels hold all matchers are not told."""

    id: int
    matchers: tuple[Matcher, ...]
    starts_at: datetime
    ends_at: datetime
    reason: str
    by: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Mute:
    """A rule that tells nothing, until a time or (None) until somebody says so."""

    since: datetime
    by: str
    until: datetime | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class RuleState:
    """How the condition of a rule stood when it was evaluated last.

    Attributes:
        value: what was compared; None where there was nothing.
        reason: a sentence with it.
        recent: the last conclusive observations, oldest first.
    """

    state: State
    value: float | str | bool | None
    reason: str
    at: datetime
    recent: tuple[Observation, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.value, float) and not math.isfinite(self.value):
            object.__setattr__(self, "value", str(self.value))


@dataclass(frozen=True, slots=True)
class KeptRule:
    """A rule in the workspace. `pipeline` names the one whose file declares it; None: it was made by command."""

    rule: AlertRule
    owner: str
    created_at: datetime
    updated_at: datetime
    pipeline: str | None = None
    mute: Mute | None = None
    state: RuleState | None = None


@dataclass(frozen=True, slots=True)
class Channel:
    """A place to send to, under a name. The URL may hold secrets: it is never printed."""

    name: str
    url: str = field(repr=False)
    owner: str
    created_at: datetime
