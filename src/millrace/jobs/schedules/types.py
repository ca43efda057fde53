"""How far the schedule and the trigger of a job have come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from millrace.jobs.job_run import JobId

# Where the things stand that a trigger waits for, by name, as JSON: a table's version, a model's, an alias's, an event's cursor.
Position = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class TickMark:
    """Of a schedule.

    Attributes:
        declared: the schedule as it was then; another one begins anew.
        seen: no tick up to here is looked at again.
    """

    job_id: JobId
    declared: str
    seen: datetime


@dataclass(frozen=True, slots=True)
class CauseMark:
    """Of a trigger.

    Attributes:
        declared: the trigger as it was then; another one begins anew.
        position: what a run was made for.
        pending: what a run is being made for; None where none is.
        number: of the last run that was made or is being made; its token has it.
        revision: grows with each write, so that of two writers one is told to look again.
    """

    job_id: JobId
    declared: str
    position: Position
    pending: Position | None = None
    number: int = 0
    revision: int = 0
