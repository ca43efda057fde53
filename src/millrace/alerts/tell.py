"""Tell what is owed: episodes that opened, that are still open, that ended; unless something says not to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from millrace.alerts import episodes
from millrace.alerts.messages import notification
from millrace.alerts.port import AlertDesk
from millrace.alerts.suppress import why_untold
from millrace.alerts.types import Change, Episode, EpisodeId, KeptRule, Note, Silence
from millrace.core.clock import iso
from millrace.core.errors import Conflict
from millrace.core.principal import Principal, system

_BY = str(system("alerts"))


def tell(desk: AlertDesk) -> int:
    """Post what is owed and not suppressed, and what is to be told again; how many notifications that were.

    What is suppressed stays owed, with the reason in the episode's history, and is told by the first call after that if it is
    still so. An episode that ends while it is suppressed, before anybody was told of it, is never told.
    """
    look = _Look(
        {kept.rule.name: kept for kept in desk.rules.list()},
        desk.rules.silences(ending_after=desk.clock.now()),
        desk.episodes.open_now(),
        desk.clock.now(),
    )
    due: list[tuple[Episode, Change]] = [(one, one.owed) for one in desk.episodes.owed() if one.owed]
    due += [(one, "repeated") for one in look.are_open if _is_due_again(look, one)]
    return sum(_tell_one(desk, look, episode, change) for episode, change in due)


def add_note(desk: AlertDesk, by: Principal, episode: EpisodeId, text: str, key: str = "") -> bool:
    """Write a line into an episode's history: what was done about it, and what came of that. Durable; once for each key.

    Raises:
        NotFound: there is no such episode.
    """
    return desk.episodes.note(episode, Note(desk.clock.now(), str(by), text, key))


@dataclass(frozen=True, slots=True)
class _Look:
    """What decides about telling, read once."""

    rules: Mapping[str, KeptRule]
    silences: Sequence[Silence]
    are_open: Sequence[Episode]
    now: datetime


def _is_due_again(look: _Look, episode: Episode) -> bool:
    kept = look.rules.get(episode.rule)
    return kept is not None and episodes.is_due_again(kept.rule, episode, look.now)


def _tell_one(desk: AlertDesk, look: _Look, episode: Episode, change: Change) -> int:
    kept = look.rules.get(episode.rule)
    if kept is None:
        return 0
    why = why_untold(kept, episode, look.silences, look.are_open, look.now)
    try:
        return (
            _tell_change(desk, kept, episode, change, look.now)
            if why is None
            else _hold(desk, look, episode, change, why)
        )
    except Conflict:
        return 0  # another has changed it at this moment: what it owes now is told by the next call


def _tell_change(desk: AlertDesk, kept: KeptRule, episode: Episode, change: Change, now: datetime) -> int:
    data = {key: value for key, value in episode.data.items() if key != episodes.SUPPRESSED} | {"told_at": iso(now)}
    is_late = change == "opened" and episode.status == "resolved"  # its end was faster
    after = replace(episode, data=data, owed=episodes.end_owed(kept.rule) if is_late else "")
    after = desk.episodes.update(after, notification(kept.rule, episode, change, now))
    return 1 + (_tell_change(desk, kept, after, "resolved", now) if after.owed else 0)


def _hold(desk: AlertDesk, look: _Look, episode: Episode, change: Change, why: str) -> int:
    """Say in the history why it is not told. What ended before anybody was told of it never is."""
    is_over = change == "opened" and episode.status == "resolved"
    text = f"{'it ended untold' if is_over else f'{change}, not told'}: {why}"
    desk.episodes.note(episode.id, Note(look.now, _BY, text))
    if is_over or episode.data.get(episodes.SUPPRESSED) != why:
        held = replace(episode, data={**episode.data, episodes.SUPPRESSED: why}, owed="" if is_over else episode.owed)
        desk.episodes.update(held)
    return 0
