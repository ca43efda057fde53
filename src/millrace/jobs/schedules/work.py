"""Whether a home has something for a scheduler: while it has nothing, none has to be there."""

from __future__ import annotations

from millrace.jobs.job import Job
from millrace.jobs.port import JobDesk
from millrace.jobs.schedules.causes import declared_as
from millrace.jobs.schedules.ticks import is_scheduled


def has_work(desk: JobDesk) -> bool:
    """Whether a run has not ended, or a job runs by itself."""
    return bool(desk.runs.list(limit=1, unfinished=True)) or any(runs_by_itself(kept.job) for kept in desk.jobs.list())


def runs_by_itself(job: Job) -> bool:
    """Whether it has a schedule or a trigger that is not paused."""
    return is_scheduled(job) or bool(declared_as(job))
