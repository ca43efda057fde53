"""What is told about an episode."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Literal, cast

from millrace.alerts.types import AlertRule, Episode, Notification
from millrace.core.clock import iso

Change = Literal["opened", "repeated", "resolved"]


def notification(rule: AlertRule, episode: Episode, change: Change) -> Notification:
    """The message for a change of state; its key is the same for the same change, so that it is told once.

    `data` is the message for programs: `type` is `io.millrace.alert.<change>`.
    """
    kinds = cast("list[str]", episode.data["kinds"])
    title = f"{episode.subject}: {' and '.join(kinds)} alert {_WORDS[change]}"
    told_at = _told_at(episode, change)
    data = {
        "type": f"io.millrace.alert.{change}",
        "rule": episode.rule,
        "subject": episode.subject,
        "kinds": kinds,
        "reason": episode.reason,
        "began_at": iso(episode.began_at),
        "opened_at": iso(episode.opened_at),
        "last_at": iso(episode.last_at),
    }
    return Notification(_key(episode, change, told_at), title, _body(episode, change), rule.channels, told_at, data)


_WORDS = {"opened": "opened", "repeated": "is still open", "resolved": "resolved"}


def _body(episode: Episode, change: Change) -> str:
    if change == "resolved":
        why = episode.data.get("resolved_because") or "everything that was bad has been good again for long enough"
        return f"It began {iso(episode.began_at)} and was last seen {iso(episode.last_at)}. Resolved: {why}."
    return f"{episode.reason}\nIt began {iso(episode.began_at)} (rule '{episode.rule}')."


def _told_at(episode: Episode, change: Change) -> datetime:
    if change == "resolved" and episode.closed_at is not None:
        return episode.closed_at
    return episode.opened_at if change == "opened" else datetime.fromisoformat(str(episode.data["told_at"]))


def _key(episode: Episode, change: Change, told_at: datetime) -> str:
    # Opened and resolved happen once in an episode; repeats are one for each time.
    when = iso(told_at) if change == "repeated" else ""
    identity = f"{episode.rule}\n{episode.subject}\n{iso(episode.began_at)}\n{iso(episode.opened_at)}\n{when}"
    return f"{change}/{hashlib.sha256(identity.encode()).hexdigest()[:32]}"
