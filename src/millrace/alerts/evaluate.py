"""Evaluate a rule: observations become episodes that open, go on, and resolve. Telling of them is `tell`'s."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from millrace.alerts import episodes
from millrace.alerts.port import EpisodeStore
from millrace.alerts.types import AlertRule, Episode, Observation
from millrace.core.clock import Clock, iso
from millrace.core.errors import Conflict, InvalidInput, InvalidState
from millrace.core.events import Event, EventLog
from millrace.core.principal import system

OPENED = "episode.opened"
RESOLVED = "episode.resolved"
_BY = system("alerts")
_TRIES = 5
_PAGE = 1000


def evaluate(
    store: EpisodeStore, events: EventLog, clock: Clock, rule: AlertRule, observations: Sequence[Observation]
) -> Episode | None:
    """Take the observations of one subject into account; each kind has episodes of its own.

    Observations that an episode of this rule, subject and kind has taken into account are skipped, so giving them again does
    nothing: give at least the last `out_of` of each kind each time. What a change of state owes to receivers is written with
    it; its event follows, and is made up for by the next evaluation if a crash came between.

    Returns:
        The open episode (of several kinds the oldest), else the newest that is resolved, else None. All that are open:
        `store.open_now(rule.name, subject)`.

    Raises:
        InvalidInput: observations of more than one subject.
    """
    _check(observations)
    found = []
    for kind in rule.kinds:
        heard = [one for one in observations if one.kind == kind]
        if heard:
            found.append(_of_kind(store, events, clock.now(), rule, heard))
    after = [episode for episode in found if episode is not None]
    are_open = [episode for episode in after if episode.status == "open"]
    return min(are_open, key=_number) if are_open else max(after, key=_number, default=None)


def resolve(
    store: EpisodeStore, events: EventLog, clock: Clock, rule: AlertRule, episode: Episode, *, why: str
) -> Episode:
    """End an open episode for a reason that no observation shows: the model that it was about has been replaced.

    Raises:
        InvalidState: the episode is not open.
    """
    for _ in range(_TRIES):
        if episode.status != "open":
            break
        try:
            ended = store.update(episodes.resolved(rule, episode, clock.now(), why))
        except Conflict:
            episode = store.get(episode.id)
            continue
        _record(events, ended)
        return ended
    raise InvalidState(f"episode {episode.id} is already resolved", hint="see `millrace alert history`")


def _of_kind(
    store: EpisodeStore,
    events: EventLog,
    now: datetime,
    rule: AlertRule,
    observations: Sequence[Observation],
) -> Episode | None:
    # Who meets another's change looks again.
    for attempt in range(_TRIES):
        try:
            return _once(store, events, now, rule, observations)
        except Conflict:
            if attempt == _TRIES - 1:
                raise
    return None


def _once(
    store: EpisodeStore, events: EventLog, now: datetime, rule: AlertRule, observations: Sequence[Observation]
) -> Episode | None:
    episode = store.latest(rule.name, observations[0].subject, observations[0].kind)
    if episode is not None:
        _record(events, episode)
    while fresh := episodes.conclusive(observations, episodes.seen(episode)):
        if episode is None or episode.status == "resolved":
            trigger = episodes.opening(rule, fresh)
            if trigger is None:
                break
            episode = store.open(episodes.opened(rule, trigger, now))
        else:
            episode = store.update(episodes.advanced(rule, episode, fresh, now))
        _record(events, episode)
    return episode


def _number(episode: Episode) -> int:
    return episode.id


def _check(observations: Sequence[Observation]) -> None:
    subjects = sorted({one.subject for one in observations})
    if len(subjects) > 1:
        raise InvalidInput(
            f"observations of {len(subjects)} subjects: {', '.join(subjects[:3])}", hint="evaluate one at a time"
        )


def _record(events: EventLog, episode: Episode) -> None:
    """Write the events that belong to the episode's state and are not in the log yet."""
    _event(events, OPENED, episode, episode.opened_at)
    if episode.closed_at is not None:
        _event(events, RESOLVED, episode, episode.closed_at)


def _event(events: EventLog, kind: str, episode: Episode, at: datetime) -> None:
    if _is_logged(events, kind, episode):
        return
    data = {
        "episode": episode.id,
        "rule": episode.rule,
        "reason": episode.reason,
        "began_at": iso(episode.began_at),
        "kinds": episode.data.get("kinds", [episode.kind]),
    }
    events.append(Event(kind, episode.subject, at, _BY, data))


def _is_logged(events: EventLog, kind: str, episode: Episode) -> bool:
    cursor = 0
    while True:
        page = events.read(after=cursor, kind=kind, subject=episode.subject, limit=_PAGE)
        if any(event.data.get("episode") == episode.id for event in page):
            return True
        if len(page) < _PAGE:
            return False
        cursor = page[-1].cursor
