"""Pausing a job's schedule and trigger, and resuming them: what passes meanwhile is not made up for."""

from __future__ import annotations

from dataclasses import replace

from millrace.jobs.job import Job, PauseStatus
from millrace.jobs.port import KeptJob
from millrace.jobs.put_job import put_job
from millrace.jobs.schedules.port import ScheduleDesk
from millrace.jobs.schedules.ticks import declared_as
from millrace.jobs.schedules.types import TickMark


def pause_job(desk: ScheduleDesk, name: str) -> KeptJob:
    """Let the job run by itself no more. Runs that are on their way go on.

    Raises:
        NotFound: there is no such job.
    """
    return put_job(desk.jobs, _with(desk.jobs.jobs.get(name).job, "PAUSED"))


def resume_job(desk: ScheduleDesk, name: str) -> KeptJob:
    """Let it run by itself again, from now on. One that is not paused stays as it is.

    Raises:
        NotFound: there is no such job.
    """
    before = desk.jobs.jobs.get(name)
    if _with(before.job, "UNPAUSED") == before.job:
        return before
    now = desk.jobs.clock.now()
    # First, so that who is killed between has it paused still: the scheduler may not have seen that it was.
    desk.marks.advance(TickMark(before.job_id, declared_as(_with(before.job, "UNPAUSED")), now))
    desk.marks.begin_anew(before.job_id)
    return put_job(desk.jobs, _with(before.job, "UNPAUSED"))


def _with(job: Job, status: PauseStatus) -> Job:
    schedule = None if job.schedule is None else replace(job.schedule, pause_status=status)
    return replace(job, schedule=schedule, pause_status=status if job.trigger else job.pause_status)
