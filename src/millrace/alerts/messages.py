"""What is told about an episode."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from millrace.alerts.types import ERROR, METRIC, AlertRule, Change, Episode, Notification
from millrace.core.clock import iso

TYPE: Final = "io.millrace.alert."


def notification(rule: AlertRule, episode: Episode, change: Change, at: datetime) -> Notification:
    """The message for a change of state; its key is the same for the same change, so that it is told once.

    `data` is the message for programs: `type` is `io.millrace.alert.<change>`. `at` is when it is told.
    """
    data = {
        "type": f"{TYPE}{change}",
        "rule": episode.rule,
        "subject": episode.subject,
        "kinds": [episode.kind],
        "labels": dict(rule.labels),
        "reason": episode.reason,
        "began_at": iso(episode.began_at),
        "opened_at": iso(episode.opened_at),
        "last_at": iso(episode.last_at),
        "closed_at": None if episode.closed_at is None else iso(episode.closed_at),
    }
    key = _key(episode, change, iso(at) if change == "repeated" else "")
    return Notification(key, _title(episode, change), _body(episode, change), rule.channels, at, data)


_WORDS: Mapping[Change, str] = MappingProxyType(
    {"opened": "opened", "repeated": "is still open", "resolved": "resolved"}
)


def _title(episode: Episode, change: Change) -> str:
    what = {METRIC: "alert", ERROR: "the query failed: alert"}.get(episode.kind, f"{episode.kind} alert")
    return f"{episode.subject}: {what} {_WORDS[change]}"


def _body(episode: Episode, change: Change) -> str:
    if change == "resolved":
        why = episode.data.get("resolved_because") or "everything that was bad has been good again for long enough"
        return f"It began {iso(episode.began_at)} and was last seen {iso(episode.last_at)}. Resolved: {why}."
    return f"{episode.reason}\nIt began {iso(episode.began_at)} (rule '{episode.rule}')."


def _key(episode: Episode, change: Change, when: str) -> str:
    # Opened and resolved happen once in an episode; repeats are one for each time.
    identity = "\n".join(
        [episode.rule, episode.subject, episode.kind, iso(episode.began_at), iso(episode.opened_at), when]
    )
    return f"{change}/{hashlib.sha256(identity.encode()).hexdigest()[:32]}"
