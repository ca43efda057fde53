"""What triggers wait for, and whether it has happened."""

from __future__ import annotations

from typing import assert_never

from millrace.core.events import EventLog
from millrace.jobs.job import AlertTrigger, Job, ModelTrigger, TableUpdateTrigger, Trigger
from millrace.jobs.job_run import TriggerType
from millrace.jobs.schedules.port import ScheduleDesk
from millrace.jobs.schedules.types import Position

OPENED = "episode.opened"
_CURSOR = "cursor"


def trigger_type(trigger: Trigger) -> TriggerType:
    """What a run is said to be triggered by."""
    match trigger:
        case TableUpdateTrigger():
            return "TABLE"
        case ModelTrigger():
            return "MODEL"
        case AlertTrigger():
            return "ALERT"
        case _:
            assert_never(trigger)


def declared_as(job: Job) -> str:
    """A trigger as text; empty for none, or one that is paused."""
    return "" if job.trigger is None or job.pause_status == "PAUSED" else repr(job.trigger)


def position_of(desk: ScheduleDesk, trigger: Trigger, before: Position | None) -> Position:
    """Where the things stand now that it waits for. `before`: where they stood; None to begin here."""
    match trigger:
        case TableUpdateTrigger():
            return {table: desk.tables.newest(table) for table in trigger.table_names}
        case ModelTrigger() if trigger.condition == "MODEL_VERSION_READY":
            return {trigger.securable_name: desk.models.newest(trigger.securable_name)}
        case ModelTrigger():
            found = desk.models.aliases(trigger.securable_name)
            return {alias: found.get(alias) for alias in trigger.aliases or sorted(found)}
        case AlertTrigger():
            log = desk.jobs.events
            return {_CURSOR: log.newest() if before is None else _last_opened(log, trigger, _cursor(before))}
        case _:
            assert_never(trigger)


def has_happened(trigger: Trigger, before: Position, now: Position) -> bool:
    """Whether what it waits for happened between two positions."""
    changes = [value is not None and value != before.get(name) for name, value in now.items()]
    if isinstance(trigger, TableUpdateTrigger) and trigger.condition == "ALL_UPDATED":
        return all(changes)
    return any(changes)


def _last_opened(log: EventLog, trigger: AlertTrigger, after: int) -> int:
    """The cursor of the last episode of these rules and kinds that opened; `after` where there is none."""
    found = after
    while page := log.read(after=after, kind=OPENED):
        for event in page:
            kinds = event.data.get("kinds")
            of_kind = not trigger.kinds or (isinstance(kinds, list) and bool(set(kinds) & set(trigger.kinds)))
            if event.data.get("rule") in trigger.rules and of_kind:
                found = event.cursor
        after = page[-1].cursor
    return found


def _cursor(position: Position) -> int:
    cursor = position.get(_CURSOR)
    return cursor if isinstance(cursor, int) else 0
