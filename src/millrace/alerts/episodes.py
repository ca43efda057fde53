"""Episodes as values: when observations open one, what goes on while it is open, and when it is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import cast

from millrace.alerts.types import AlertRule, Episode, EpisodeId, Observation
from millrace.core.clock import iso, parse_time

_UNNUMBERED = EpisodeId(0)


def conclusive(rule: AlertRule, observations: Sequence[Observation], seen: Mapping[str, datetime]) -> list[Observation]:
    """What the rule listens to, says something, and was not taken into account before; oldest first."""
    heard = [one for one in observations if one.kind in rule.kinds and one.bad is not None]
    return sorted((one for one in heard if one.kind not in seen or one.at > seen[one.kind]), key=_order)


def opening(rule: AlertRule, observations: Sequence[Observation]) -> Sequence[Observation] | None:
    """The observations up to the one that opens an episode, if any does; each kind counts for itself.

    An episode opens at the first observation that makes `breaches` bad ones among the last `out_of` of its kind.
    """
    for end, newest in enumerate(observations, start=1):
        last = [one for one in observations[:end] if one.kind == newest.kind][-rule.out_of :]
        if newest.bad and sum(bool(one.bad) for one in last) >= rule.breaches:
            return observations[:end]
    return None


def opened(
    rule: AlertRule, observations: Sequence[Observation], now: datetime, before: Mapping[str, datetime]
) -> Episode:
    """A new episode, without its number, from observations whose last one opens it; `before` is what the last one had seen."""
    trigger = observations[-1]
    last = [one for one in observations if one.kind == trigger.kind][-rule.out_of :]
    began = next(one for one in last if one.bad)
    data = {**trigger.data, "kinds": [trigger.kind], "clean": {trigger.kind: 0}, "told_at": iso(now)}
    data["seen"] = _seen_with({kind: iso(at) for kind, at in before.items()}, observations)
    return Episode(
        _UNNUMBERED, rule.name, trigger.subject, "open", began.at, now, trigger.at, None, trigger.reason, data
    )


def advanced(rule: AlertRule, episode: Episode, observations: Sequence[Observation], now: datetime) -> Episode:
    """The open episode after more observations, oldest first; resolved at the first one that makes all of its kinds clean."""
    for one in observations:
        episode = _after(episode, one)
        if is_clean(rule, episode):
            return resolved(episode, now)
    return episode


def is_clean(rule: AlertRule, episode: Episode) -> bool:
    """Whether every kind that was bad in the episode has been good `resolve_after` times in a row."""
    clean = cast("Mapping[str, int]", episode.data["clean"])
    return all(count >= rule.resolve_after for count in clean.values())


def resolved(episode: Episode, now: datetime, why: str = "") -> Episode:
    """The episode, over."""
    data = {**episode.data, "resolved_because": why} if why else episode.data
    return replace(episode, status="resolved", closed_at=now, data=data)


def is_due_again(rule: AlertRule, episode: Episode, now: datetime) -> bool:
    """Whether an open episode is to be told again."""
    told = parse_time(str(episode.data["told_at"]))
    return rule.repeat_after is not None and episode.status == "open" and now - told >= rule.repeat_after


def seen(episode: Episode | None) -> Mapping[str, datetime]:
    """Kind to the time of the newest observation that the episode has taken into account."""
    if episode is None:
        return {}
    return {kind: parse_time(at) for kind, at in cast("Mapping[str, str]", episode.data["seen"]).items()}


def _after(episode: Episode, one: Observation) -> Episode:
    clean = dict(cast("Mapping[str, int]", episode.data["clean"]))
    if one.bad or one.kind in clean:
        clean[one.kind] = 0 if one.bad else clean[one.kind] + 1
    data = {**episode.data, "clean": clean, "kinds": sorted(clean), "seen": _seen_with(episode.data["seen"], [one])}
    return replace(
        episode,
        last_at=max(episode.last_at, one.at) if one.bad else episode.last_at,
        reason=one.reason if one.bad else episode.reason,
        data=data,
    )


def _seen_with(before: object, observations: Sequence[Observation]) -> Mapping[str, str]:
    times = dict(cast("Mapping[str, str]", before))
    return times | {one.kind: iso(one.at) for one in observations}


def _order(one: Observation) -> tuple[datetime, str]:
    return (one.at, one.kind)
