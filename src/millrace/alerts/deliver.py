"""Deliver what waits in the outbox: each notification to each of its channels, at least once, always under the same key."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from millrace.alerts.channel_names import url_of
from millrace.alerts.messages import TYPE
from millrace.alerts.port import AlertDesk
from millrace.alerts.types import Delivery, Notification
from millrace.core.clock import epoch_us
from millrace.core.errors import InvalidState, MillraceError

# Standard Webhooks' schedule, https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md:
# ten attempts in about three days.
WAITS: Final = tuple(
    timedelta(seconds=wait) for wait in (5, 300, 1800, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
)
ATTEMPTS: Final = len(WAITS) + 1


class Gone(InvalidState):
    """A channel will never take anything again, and said so."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """What a delivering came to: sent now, failed now, and given up now."""

    sent: int = 0
    failed: int = 0
    dead: int = 0


def deliver(desk: AlertDesk) -> Delivered:
    """Send what is due, oldest first.

    Each delivery is for itself: one that a channel does not take waits longer each time and is given up after `ATTEMPTS`; it holds up only
    later ones of the same episode to the same channel, so that an end is never told before its beginning. An attempt is counted
    before it is made, so one that kills the process is given up as well. A crash between sending and marking sends it again,
    under the same key: receivers see each key at least once. One process delivers at a time; another returns at once.
    """
    with desk.outbox.alone() as mine:
        return _deliver(desk) if mine else Delivered()


def send_test(desk: AlertDesk, channel: str) -> str:
    """Send a test notification to a channel, past the outbox; its key.

    Raises:
        MillraceError: the channel did not take it.
    """
    now = desk.clock.now()
    key = f"test/{epoch_us(now)}"
    data = {"type": f"{TYPE}test", "rule": "test", "subject": channel}
    message = Notification(key, "Test of a channel", f"Millrace can reach {channel}.", (channel,), now, data)
    desk.channels.send(message, url_of(desk.book, channel))
    return key


def _deliver(desk: AlertDesk) -> Delivered:
    counts = {"sent": 0, "failed": 0, "dead": 0}
    held: set[tuple[int, str]] = set()
    for each in desk.outbox.waiting():
        line = (each.episode, each.channel)
        if line in held:
            continue
        if each.next_at > desk.clock.now():
            held.add(line)
            continue
        outcome = _send(desk, each)
        counts[outcome] += 1
        if outcome == "failed":
            held.add(line)
    return Delivered(**counts)


def _send(desk: AlertDesk, each: Delivery) -> str:
    if each.attempts >= ATTEMPTS:  # the last attempt did not come back
        desk.outbox.failed(each.id, each.error or "the process ended while it was sent", None)
        return "dead"
    desk.outbox.trying(each.id)
    try:
        desk.channels.send(each.notification, url_of(desk.book, each.channel))
    except MillraceError as error:
        is_last = each.attempts + 1 >= ATTEMPTS or isinstance(error, Gone)
        desk.outbox.failed(each.id, error.message, None if is_last else desk.clock.now() + WAITS[each.attempts])
        return "dead" if is_last else "failed"
    desk.outbox.sent(each.id, desk.clock.now())
    return "sent"
