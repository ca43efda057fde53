"""Deliver what waits in the outbox."""

from __future__ import annotations

from millrace.alerts.port import Channels, EpisodeStore
from millrace.core.clock import Clock
from millrace.core.errors import MillraceError

_AT_ONCE = 1000


def deliver(store: EpisodeStore, channels: Channels, clock: Clock) -> int:
    """Send every waiting notification, oldest first, and return how many went out.

    One that a channel does not take stays in the outbox with its error, and is tried again the next time; the others go
    out all the same. A crash between sending and marking sends it again: receivers see each key at least once. A
    notification without channels is for the workspace's own log: it is only marked.
    """
    sent = 0
    for notification in store.unsent(_AT_ONCE):
        try:
            if notification.channels:
                channels.send(notification)
        except MillraceError as error:
            store.mark_failed(notification.key, error.message)
        else:
            store.mark_sent(notification.key, clock.now())
            sent += 1
    return sent
