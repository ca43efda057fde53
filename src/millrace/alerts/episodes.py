"""Episodes as values: when observations open one, what goes on while it is open, and when it is over.

Each kind of trouble about a subject has episodes of its own; all functions here take observations of one subject and one kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import cast

from millrace.alerts.types import AlertRule, Episode, EpisodeId, Observation, Owed
from millrace.core.clock import iso, parse_time

SUPPRESSED = "suppressed"  # in an episode's data: why it is not told
_UNNUMBERED = EpisodeId(0)


def conclusive(observations: Sequence[Observation], after: datetime | None) -> list[Observation]:
    """What says something and is newer than what was taken into account before; oldest first, one a time, `info` as good."""
    fresh = {one.at: one for one in observations if one.bad is not None and (after is None or one.at > after)}
    return [_weighed(fresh[at]) for at in sorted(fresh)]


def opening(rule: AlertRule, observations: Sequence[Observation]) -> Sequence[Observation] | None:
    """The observations up to the one that opens an episode, if any does.

    An episode opens at the first observation that makes `breaches` bad ones among the last `out_of`, or that is critical.
    """
    for end, newest in enumerate(observations, start=1):
        last = observations[max(0, end - rule.out_of) : end]
        at_once = rule.critical_at_once and newest.is_critical
        if newest.bad and (at_once or sum(bool(one.bad) for one in last) >= rule.breaches):
            return observations[:end]
    return None


def opened(rule: AlertRule, observations: Sequence[Observation], now: datetime) -> Episode:
    """A new episode, without its number, from observations whose last one opens it."""
    trigger = observations[-1]
    began = next(one for one in observations[-rule.out_of :] if one.bad)
    data = {**trigger.data, "kinds": [trigger.kind], "clean": 0, "seen": iso(trigger.at)}
    return Episode(
        id=_UNNUMBERED,
        rule=rule.name,
        subject=trigger.subject,
        status="open",
        began_at=began.at,
        opened_at=now,
        last_at=trigger.at,
        closed_at=None,
        reason=trigger.reason,
        data=data,
        kind=trigger.kind,
        owed="opened",
    )


def advanced(rule: AlertRule, episode: Episode, observations: Sequence[Observation], now: datetime) -> Episode:
    """The open episode after more observations, oldest first; resolved at the first `resolve_after`-th good one in a row."""
    for one in observations:
        episode = _after(episode, one)
        if clean(episode) >= rule.resolve_after:
            return resolved(rule, episode, now)
    return episode


def clean(episode: Episode) -> int:
    """How many observations in a row were good, up to the last one."""
    counted = episode.data.get("clean", 0)
    return counted if isinstance(counted, int) else 0  # homes of before counted by kind


def resolved(rule: AlertRule, episode: Episode, now: datetime, why: str = "") -> Episode:
    """The episode, over. Where its beginning was suppressed, it is never told; where it was just not told yet, that is still owed."""
    data = {**episode.data, "resolved_because": why} if why else episode.data
    owed = episode.owed if episode.owed == "opened" else end_owed(rule)
    if owed == "opened" and SUPPRESSED in data:
        owed = ""
    return replace(episode, status="resolved", closed_at=now, data=data, owed=owed)


def end_owed(rule: AlertRule) -> Owed:
    """What an end owes to those who know of the beginning."""
    return "resolved" if rule.notify_on_ok else ""


def is_due_again(rule: AlertRule, episode: Episode, now: datetime) -> bool:
    """Whether an open episode that was told is to be told again."""
    told = episode.data.get("told_at")
    is_open = episode.status == "open" and not episode.owed
    return is_open and rule.repeat_after is not None and bool(told) and now - parse_time(str(told)) >= rule.repeat_after


def seen(episode: Episode | None) -> datetime | None:
    """The time of the newest observation that the episode has taken into account."""
    if episode is None:
        return None
    known = episode.data.get("seen")
    if isinstance(known, str):
        return parse_time(known)
    times = cast("dict[str, str]", known or {})  # homes of before kept them by kind
    return parse_time(times[episode.kind]) if episode.kind in times else episode.last_at


def _after(episode: Episode, one: Observation) -> Episode:
    data = {**episode.data, "clean": 0 if one.bad else clean(episode) + 1, "seen": iso(one.at)}
    if not one.bad:
        return replace(episode, data=data)
    return replace(episode, last_at=max(episode.last_at, one.at), reason=one.reason, data=data)


def _weighed(one: Observation) -> Observation:
    return replace(one, bad=False) if one.bad and one.data.get("severity") == "info" else one
