"""What alerts need from the world: episodes with their outbox, rules, silences, channels, and the lake's SQL."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from millrace.alerts.types import (
    AlertRule,
    Channel,
    Delivery,
    Episode,
    EpisodeId,
    KeptRule,
    Mute,
    Note,
    Notification,
    RuleState,
    Silence,
)
from millrace.core.clock import Clock
from millrace.core.events import EventLog
from millrace.core.principal import Principal
from millrace.lake.port import SqlReader


class EpisodeStore(Protocol):
    """Episodes, their notes, and what is posted about them. Thread- and process-safe; what returned is durable.

    A change of state and its notification are written together or not at all. Unknown ids raise NotFound.
    """

    def open(self, episode: Episode, notification: Notification | None = None) -> Episode:
        """Write a new episode (its id is given by the store); where one of the same rule, subject and kind is open, return that and write nothing."""
        ...

    def update(self, episode: Episode, notification: Notification | None = None) -> Episode:
        """Replace the episode of that id and revision, and return it with its next revision.

        Raises:
            Conflict: it was changed since it was read; nothing is written.
        """
        ...

    def current(self, rule: str, subject: str, kind: str | None = None) -> Episode | None:
        """The open episode, of several kinds the oldest; None where there is none."""
        ...

    def latest(self, rule: str, subject: str, kind: str) -> Episode | None:
        """The newest episode, open or resolved."""
        ...

    def get(self, episode: EpisodeId) -> Episode: ...

    def list(self, rule: str | None = None, limit: int = 50) -> Sequence[Episode]:
        """Newest first."""
        ...

    def open_now(self, rule: str | None = None, subject: str | None = None) -> Sequence[Episode]:
        """All that are open, oldest first."""
        ...

    def owed(self) -> Sequence[Episode]:
        """All of which something is still to be told, oldest first."""
        ...

    def note(self, episode: EpisodeId, note: Note) -> bool:
        """Add a line to the history; False where one with this key is there already."""
        ...

    def notes(self, episode: EpisodeId) -> Sequence[Note]:
        """In the order of writing."""
        ...

    def posted(self, episode: EpisodeId | None = None, limit: int = 1000) -> Sequence[Notification]:
        """What was put into the outbox, oldest first."""
        ...


class Outbox(Protocol):
    """Deliveries: each posted notification on its way to each of its channels. Thread- and process-safe, durable."""

    def alone(self) -> AbstractContextManager[bool]:
        """Hold this while delivering; False where another process delivers. It ends with the process, however that ends."""
        ...

    def waiting(self, limit: int = 10_000) -> Sequence[Delivery]:
        """Neither sent nor dead, due or not, oldest first."""
        ...

    def of(self, episode: EpisodeId) -> Sequence[Delivery]:
        """All of an episode, oldest first."""
        ...

    def dead(self, limit: int = 100) -> Sequence[Delivery]:
        """Given up; newest first."""
        ...

    def trying(self, delivery: int) -> None:
        """Count an attempt, before it is made: one that kills the process counts as well."""
        ...

    def sent(self, delivery: int, at: datetime) -> None: ...

    def failed(self, delivery: int, error: str, next_at: datetime | None) -> None:
        """Keep the error; to be tried again at that time, or (None) never."""
        ...

    def revive(self, at: datetime) -> int:
        """Put what is dead back among the waiting, with no attempts; how many."""
        ...


class RuleStore(Protocol):
    """Rules, how they stand, and silences. Thread- and process-safe; unknown names raise NotFound with the nearest."""

    def put(self, rule: AlertRule, owner: str, at: datetime, pipeline: str | None = None) -> KeptRule:
        """Write a rule, or replace its definition; its mute and state stay."""
        ...

    def get(self, name: str) -> KeptRule: ...

    def find(self, name: str) -> KeptRule | None: ...

    def list(self) -> Sequence[KeptRule]:
        """By name."""
        ...

    def remove(self, name: str) -> None: ...

    def set_mute(self, name: str, mute: Mute | None) -> None: ...

    def set_state(self, name: str, state: RuleState | None) -> None: ...

    def add_silence(self, silence: Silence) -> Silence:
        """Write it; its id is given by the store."""
        ...

    def silences(self, ending_after: datetime | None = None) -> Sequence[Silence]:
        """Oldest first; with a time, those that are in force then or later."""
        ...

    def end_silence(self, silence: int, at: datetime) -> Silence:
        """End it at that time, where it would last longer."""
        ...


class ChannelBook(Protocol):
    """Channels by name. Thread- and process-safe; an unknown name raises NotFound with the nearest."""

    def add(self, channel: Channel) -> None:
        """Raises AlreadyExists where the name is taken."""
        ...

    def get(self, name: str) -> Channel: ...

    def list(self) -> Sequence[Channel]:
        """By name."""
        ...

    def remove(self, name: str) -> None: ...


class Channels(Protocol):
    """Sends to the outside. May be called again with the same key after a crash. Thread-safe."""

    def send(self, notification: Notification, url: str) -> None:
        """Deliver to a channel, within bounded time.

        Raises:
            MillraceError: the channel did not take it; the message shows no secret.
        """
        ...

    def check(self, url: str) -> None:
        """Raise InvalidInput where that is no URL that can be sent to; the message shows no secret."""
        ...


@dataclass(frozen=True, slots=True)
class AlertDesk:
    """All that evaluating and telling takes."""

    clock: Clock
    principal: Principal
    events: EventLog
    episodes: EpisodeStore
    outbox: Outbox
    rules: RuleStore
    book: ChannelBook
    channels: Channels
    sql: SqlReader
