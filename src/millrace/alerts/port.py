"""What alerts need from the world: episodes and an outbox in one store, and a way to send."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from millrace.alerts.types import Episode, EpisodeId, Notification


class EpisodeStore(Protocol):
    """Episodes and the outbox, in one transaction: a change of state and its notification are written together or not at all."""

    def open(self, episode: Episode, notification: Notification) -> Episode:
        """Write a new episode (its id is given by the store); where one of the same rule and subject is open, return that and write nothing."""
        ...

    def update(self, episode: Episode, notification: Notification | None = None) -> None: ...

    def current(self, rule: str, subject: str) -> Episode | None:
        """The open episode; None where there is none."""
        ...

    def get(self, episode: EpisodeId) -> Episode: ...

    def list(self, rule: str | None = None, limit: int = 50) -> Sequence[Episode]:
        """Newest first."""
        ...

    def unsent(self, limit: int = 100) -> Sequence[Notification]:
        """Oldest first."""
        ...

    def mark_sent(self, key: str, at: datetime) -> None: ...

    def mark_failed(self, key: str, error: str) -> None:
        """Count the attempt; the notification stays in the outbox."""
        ...


class Channels(Protocol):
    """Sends to the outside. May be called again with the same key after a crash."""

    def send(self, notification: Notification) -> None:
        """Deliver to all its channels.

        Raises:
            MillraceError: a channel did not take it; the message names the channel with its secrets left out.
        """
        ...
