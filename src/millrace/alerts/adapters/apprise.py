"""Notifications through Apprise: Slack, Teams, mail, webhooks, PagerDuty and some 170 others, by URL."""

from __future__ import annotations

import logging
import warnings
from functools import lru_cache
from typing import Any

from millrace.alerts.types import Notification
from millrace.core.errors import InvalidInput, MillraceError


class NotDelivered(MillraceError):
    """A channel did not take a notification."""

    error_code = "TEMPORARILY_UNAVAILABLE"


class AppriseChannels:
    """Sends by Apprise URL. Thread-safe.

    Channel URLs carry secrets: errors name a channel by its position and scheme only, and Apprise's own log, which may show a
    URL, is kept silent. A channel that took a notification is not sent it again by this object when another one failed.
    """

    def __init__(self) -> None:
        self._taken: set[tuple[str, str]] = set()

    def send(self, notification: Notification) -> None:
        """Deliver to every channel, also when one of them fails.

        Raises:
            NotDelivered: one or more channels did not take it.
            InvalidInput: a channel URL that Apprise does not know.
        """
        failures = []
        for position, url in enumerate(notification.channels, start=1):
            named = f"channel {position} ({_scheme(url)})"
            try:
                self._send_one(notification, url, named)
            except MillraceError as error:
                failures.append(error)
        if failures:
            message = "; ".join(error.message for error in failures)
            raise type(failures[0])(message, hint=failures[0].hint, key=notification.key)

    def _send_one(self, notification: Notification, url: str, named: str) -> None:
        if (notification.key, url) in self._taken:
            return
        apprise = _library()
        service = apprise.Apprise()
        if not service.add(url):
            raise InvalidInput(
                f"{named} is not a URL that Apprise knows", hint="see Apprise's list of notification URLs"
            )
        resolved = str(notification.data.get("type", "")).endswith(".resolved")
        kind = apprise.NotifyType.SUCCESS if resolved else apprise.NotifyType.WARNING
        try:
            taken = bool(service.notify(body=notification.body, title=notification.title, notify_type=kind))
        except Exception as error:  # noqa: BLE001 - the edge: a plugin may raise anything, and its text may show the URL
            raise NotDelivered(f"{named} failed with {type(error).__name__}", hint=_HINT) from None
        if not taken:
            raise NotDelivered(f"{named} did not take the notification", hint=_HINT)
        self._taken.add((notification.key, url))


_HINT = "check the channel's URL and that its service can be reached"


def _scheme(url: str) -> str:
    scheme, separator, _ = url.partition("://")
    return scheme if separator and scheme.isalnum() else "no scheme"


@lru_cache(maxsize=1)
def _library() -> Any:
    """Apprise with its plugins loaded, and its log silent."""
    with warnings.catch_warnings():
        # A plugin asks for a module of the standard library that is on its way out.
        warnings.filterwarnings("ignore", "'imghdr' is deprecated", DeprecationWarning)
        import apprise

        apprise.Apprise.instantiate("json://localhost")
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    return apprise
