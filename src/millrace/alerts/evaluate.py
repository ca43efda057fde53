"""Evaluate a rule: observations become an episode that opens, is told again, and resolves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from millrace.alerts import episodes
from millrace.alerts.messages import notification
from millrace.alerts.port import EpisodeStore
from millrace.alerts.types import AlertRule, Episode, Observation
from millrace.core.clock import Clock, iso
from millrace.core.errors import InvalidInput, InvalidState
from millrace.core.events import Event, EventLog
from millrace.core.principal import Principal, system

OPENED = "episode.opened"
RESOLVED = "episode.resolved"
_BY = system("alerts")
_MANY = 1000


def evaluate(
    store: EpisodeStore, events: EventLog, clock: Clock, rule: AlertRule, observations: Sequence[Observation]
) -> Episode | None:
    """Take the observations of one subject into account.

    Observations that an episode of this rule and subject has taken into account are skipped, so giving them again does
    nothing: give at least the last `out_of` of each kind each time. Each change of state is written with its notification or
    not at all; its event follows, and is made up for by the next evaluation if a crash came between.

    Returns:
        The open episode, else one that this call resolved, else None.

    Raises:
        InvalidInput: observations of more than one subject, or a rule that can never open.
    """
    _check(rule, observations)
    if not observations:
        return None
    now, subject = clock.now(), observations[0].subject
    episode = store.current(rule.name, subject) or _newest(store, rule.name, subject)
    if episode is not None:
        _record(events, episode)
    fresh = episodes.conclusive(rule, observations, episodes.seen(episode))
    if episode is None or episode.status == "resolved":
        trigger = episodes.opening(rule, fresh)
        if trigger is None:
            return None
        new = episodes.opened(rule, trigger, now, episodes.seen(episode))
        episode = store.open(new, notification(rule, new, "opened"))
        _record(events, episode)
        fresh = episodes.conclusive(rule, fresh, episodes.seen(episode))
    return _go_on(store, events, rule, episode, fresh=fresh, now=now)


def resolve(
    store: EpisodeStore, events: EventLog, clock: Clock, rule: AlertRule, episode: Episode, *, why: str
) -> Episode:
    """End an open episode for a reason that no observation shows: the model that it was about has been replaced.

    Raises:
        InvalidState: the episode is not open.
    """
    if episode.status != "open":
        raise InvalidState(f"episode {episode.id} is already resolved", hint="see `millrace status` for what is open")
    ended = episodes.resolved(episode, clock.now(), why)
    store.update(ended, notification(rule, ended, "resolved"))
    _record(events, ended)
    return ended


def _go_on(
    store: EpisodeStore,
    events: EventLog,
    rule: AlertRule,
    episode: Episode,
    *,
    fresh: Sequence[Observation],
    now: datetime,
) -> Episode:
    after = episodes.advanced(rule, episode, fresh, now)
    if after.status == "resolved":
        store.update(after, notification(rule, after, "resolved"))
        _record(events, after)
    elif episodes.is_due_again(rule, after, now):
        after = replace(after, data={**after.data, "told_at": iso(now)})
        store.update(after, notification(rule, after, "repeated"))
    elif after != episode:
        store.update(after)
    return after


def _check(rule: AlertRule, observations: Sequence[Observation]) -> None:
    if not 1 <= rule.breaches <= rule.out_of or rule.resolve_after < 1:
        raise InvalidInput(
            f"alert rule '{rule.name}' asks for {rule.breaches} of {rule.out_of}, resolving after {rule.resolve_after}",
            hint="give breaches from 1 to out_of, and resolve_after from 1",
        )
    subjects = sorted({one.subject for one in observations})
    if len(subjects) > 1:
        raise InvalidInput(
            f"observations of {len(subjects)} subjects: {', '.join(subjects[:3])}", hint="evaluate one at a time"
        )


def _newest(store: EpisodeStore, rule: str, subject: str) -> Episode | None:
    return next((one for one in store.list(rule, _MANY) if one.subject == subject), None)


def _record(events: EventLog, episode: Episode) -> None:
    """Write the events that belong to the episode's state and are not in the log yet."""
    _event(events, OPENED, episode, episode.opened_at, _BY)
    if episode.closed_at is not None:
        _event(events, RESOLVED, episode, episode.closed_at, _BY)


def _event(events: EventLog, kind: str, episode: Episode, at: datetime, by: Principal) -> None:
    if any(event.data.get("episode") == episode.id for event in events.read(kind=kind, subject=episode.subject)):
        return
    data = {
        "episode": episode.id,
        "rule": episode.rule,
        "reason": episode.reason,
        "began_at": iso(episode.began_at),
        "kinds": episode.data["kinds"],
    }
    events.append(Event(kind, episode.subject, at, by, data))
