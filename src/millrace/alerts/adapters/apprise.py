"""Notifications through Apprise: Slack, Teams, mail, webhooks, PagerDuty and some 170 others, by URL."""

from __future__ import annotations

import logging
import warnings
from functools import lru_cache
from typing import Any

from millrace.alerts.adapters.hushed import hushed
from millrace.alerts.adapters.not_delivered import NotDelivered
from millrace.alerts.channel_names import shown
from millrace.alerts.types import Notification
from millrace.core.errors import InvalidInput

_HINT = "check the channel's URL and that its service can be reached"


def send(notification: Notification, url: str) -> None:
    """Deliver to an Apprise URL. Thread-safe; Apprise's own timeouts are 4 s to connect and 4 s to read unless the URL says otherwise.

    URLs carry secrets: errors show only what `channel_names.shown` shows, and Apprise's own log, which may show a URL, is silent.

    Raises:
        NotDelivered: the service did not take it.
        InvalidInput: a URL that Apprise does not know.
    """
    apprise, service = _library(), _service(url)
    resolved = str(notification.data.get("type", "")).endswith(".resolved")
    kind = apprise.NotifyType.SUCCESS if resolved else apprise.NotifyType.WARNING
    try:
        with hushed():
            taken = bool(service.notify(body=notification.body, title=notification.title, notify_type=kind))
    except Exception as error:  # noqa: BLE001 - the edge: a plugin may raise anything, and its text may show the URL
        raise NotDelivered(f"{shown(url)} failed with {type(error).__name__}", hint=_HINT) from None
    if not taken:
        raise NotDelivered(f"{shown(url)} did not take the notification", hint=_HINT)


def check(url: str) -> None:
    """Raise InvalidInput where Apprise does not know the URL."""
    _service(url)


def _service(url: str) -> Any:
    service = _library().Apprise()
    if not service.add(url):
        raise InvalidInput(
            f"{shown(url)} is not a URL that Apprise knows",
            hint="see Apprise's list of notification URLs; our own webhook is webhook+https://host/path",
        )
    return service


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
