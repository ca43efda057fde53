"""The ticks of schedules that are due, each made a run under a token of its own: asked for twice, it is one run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice

from millrace.core.clock import iso
from millrace.jobs.job import CatchUp, CronSchedule, Job
from millrace.jobs.job_run import RunId
from millrace.jobs.port import KeptJob
from millrace.jobs.quartz import QuartzCron, parse
from millrace.jobs.schedules.port import ScheduleDesk
from millrace.jobs.schedules.types import TickMark
from millrace.jobs.submit import submit

# A tick that is older than this was missed: nothing ran when it was due.
LATE = timedelta(seconds=60)
# So many runs of one job are made at one go; the rest is due at once.
_MOST = 200


def is_scheduled(job: Job) -> bool:
    """Whether it has a schedule that is not paused."""
    return job.schedule is not None and job.schedule.pause_status == "UNPAUSED"


def cron_of(schedule: CronSchedule) -> QuartzCron:
    """The schedule, read.

    Raises:
        InvalidInput: it can't be read.
    """
    return _read(schedule.quartz_cron_expression, schedule.timezone_id)


def mark_of(kept: KeptJob, mark: TickMark | None) -> TickMark:
    """How far a job's schedule has come; one that was changed since, or paused, begins when that was done."""
    declared = declared_as(kept.job)
    if mark is not None and mark.declared == declared:
        return mark
    return TickMark(kept.job_id, declared, kept.updated_at)


def declared_as(job: Job) -> str:
    """A schedule as text; empty for none, or one that is paused."""
    schedule = job.schedule
    if schedule is None or schedule.pause_status == "PAUSED":
        return ""
    return f"{schedule.quartz_cron_expression} {schedule.timezone_id}"


def run_due(desk: ScheduleDesk, kept: KeptJob, mark: TickMark, now: datetime) -> tuple[TickMark, list[RunId]]:
    """Make the runs that are due; how far the schedule has come then, and the runs."""
    schedule = kept.job.schedule
    if schedule is None or now <= mark.seen:
        return mark, []
    due = list(islice(due_ticks(cron_of(schedule), schedule.catch_up, mark.seen, now), _MOST + 1))
    runs = [
        submit(desk.jobs, kept.job.name, token=token_of(kept, tick), trigger="PERIODIC", due=tick)
        for tick in due[:_MOST]
    ]
    # Killed before this, the same ticks are asked for again, and are the same runs.
    seen = due[_MOST - 1] if len(due) > _MOST else max(now, mark.seen)
    after = TickMark(mark.job_id, mark.declared, seen)
    desk.marks.advance(after)
    return after, runs


def due_ticks(cron: QuartzCron, catch_up: CatchUp, seen: datetime, now: datetime) -> Iterator[datetime]:
    """The ticks after `seen`, up to `now`, that are to run. The policy is about those that were missed; all others run."""
    if catch_up == "all":
        yield from cron.between(seen, now)
        return
    on_time = list[datetime]()
    for tick in cron.between(max(seen, now - LATE), now):
        on_time.append(tick)
        yield tick
    if catch_up == "last" and not on_time:
        last = cron.last_between(seen, now)
        if last is not None:
            yield last


def token_of(kept: KeptJob, tick: datetime) -> str:
    """What the run of a tick is known by."""
    return f"tick/{kept.job_id}/{iso(tick)}"


@lru_cache(maxsize=4096)
def _read(expression: str, timezone: str) -> QuartzCron:
    return parse(expression, timezone)
