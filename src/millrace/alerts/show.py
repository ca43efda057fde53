"""Rules, episodes, silences and channels as JSON values for programs; nothing of it is secret."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from millrace.alerts.channel_names import shown
from millrace.alerts.documents import mute_document, rule_document, state_document
from millrace.alerts.port import AlertDesk
from millrace.alerts.types import Channel, Delivery, Episode, KeptRule, Silence
from millrace.core.clock import iso


def rule_json(kept: KeptRule) -> dict[str, Any]:
    """A rule with how it stands."""
    return {
        **rule_document(kept.rule),
        "owner": kept.owner,
        "pipeline": kept.pipeline,
        "created_at": iso(kept.created_at),
        "updated_at": iso(kept.updated_at),
        "mute": mute_document(kept.mute),
        "state": state_document(kept.state),
    }


def episode_json(episode: Episode) -> dict[str, Any]:
    """An episode."""
    return {
        "id": int(episode.id),
        "rule": episode.rule,
        "subject": episode.subject,
        "kind": episode.kind,
        "status": episode.status,
        "began_at": iso(episode.began_at),
        "opened_at": iso(episode.opened_at),
        "last_at": iso(episode.last_at),
        "closed_at": None if episode.closed_at is None else iso(episode.closed_at),
        "reason": episode.reason,
        "owed": episode.owed,
        "suppressed": episode.data.get("suppressed"),
    }


def history(desk: AlertDesk, episode: Episode) -> list[dict[str, Any]]:
    """What happened in an episode, in order of time: it opened, what was told to whom or why not, notes, its end."""
    lines = [_line(episode.opened_at, "opened", episode.reason)]
    lines += [_line(note.at, note.by, note.text) for note in desk.episodes.notes(episode.id)]
    lines += [_delivery_line(each) for each in desk.outbox.of(episode.id)]
    if episode.closed_at is not None:
        why = episode.data.get("resolved_because") or "good again for long enough"
        lines.append(_line(episode.closed_at, "resolved", str(why)))
    return sorted(lines, key=lambda line: (line["at"], line["by"] == "resolved"))


def delivery_json(each: Delivery) -> dict[str, Any]:
    """A notification on its way to a channel."""
    return {
        "episode": int(each.episode),
        "key": each.notification.key,
        "channel": each.channel,
        "status": each.status,
        "attempts": each.attempts,
        "next_at": iso(each.next_at) if each.status == "waiting" else None,
        "sent_at": None if each.sent_at is None else iso(each.sent_at),
        "error": each.error or None,
    }


def silence_json(silence: Silence) -> dict[str, Any]:
    """A silence."""
    times = {name: iso(getattr(silence, name)) for name in ("starts_at", "ends_at", "created_at")}
    matchers = [f"{each.label}{each.operator}{each.value}" for each in silence.matchers]
    return {**asdict(silence), **times, "matchers": matchers}


def channel_json(channel: Channel) -> dict[str, Any]:
    """A channel without what is secret in it."""
    url = channel.url if channel.url.startswith("env:") else shown(channel.url)
    return {"name": channel.name, "url": url, "owner": channel.owner, "created_at": iso(channel.created_at)}


def _line(at: datetime, by: str, text: str) -> dict[str, Any]:
    return {"at": iso(at), "by": by, "text": text}


def _delivery_line(each: Delivery) -> dict[str, Any]:
    change = each.notification.key.partition("/")[0]
    told = f"{change}: {each.status} to {each.channel}"
    attempts = f" after {each.attempts} attempts" if each.attempts > 1 else ""
    error = f" ({each.error})" if each.error else ""
    return _line(each.sent_at or each.notification.created_at, "outbox", f"{told}{attempts}{error}")
