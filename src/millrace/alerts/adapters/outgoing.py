"""The way out: our own signed webhook, or one of Apprise's services, by the scheme of a channel's URL."""

from __future__ import annotations

from millrace.alerts.adapters import apprise, webhook
from millrace.alerts.types import Notification
from millrace.core.clock import Clock, SystemClock


class OutgoingChannels:
    """A `Channels`. Thread-safe."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()

    def send(self, notification: Notification, url: str) -> None:
        """Deliver to a channel."""
        if url.startswith(webhook.PREFIX):
            webhook.send(notification, url, self._clock)
        else:
            apprise.send(notification, url)

    def check(self, url: str) -> None:
        """Raise InvalidInput where that is no URL that can be sent to."""
        if url.startswith(webhook.PREFIX):
            webhook.parse(url)
        else:
            apprise.check(url)
