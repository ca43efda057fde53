"""Keeping jobs, and letting go of them."""

from __future__ import annotations

from collections.abc import Sequence

from millrace.core.errors import InvalidState, NotFound
from millrace.core.names import did_you_mean
from millrace.jobs.check import called_by, check_calls, check_job
from millrace.jobs.job import Job
from millrace.jobs.port import JobDesk, KeptJob
from millrace.jobs.quartz import parse
from millrace.jobs.read_document import refuse


def put_job(desk: JobDesk, job: Job) -> KeptJob:
    """Keep a job, or replace what it was; runs that are on their way go on as they began.

    Raises:
        InvalidInput: it can't be run; see `check_job`. Or it runs a job that there is not, or that runs it.
    """
    return put_jobs(desk, [job])[0]


def put_jobs(desk: JobDesk, jobs: Sequence[Job]) -> list[KeptJob]:
    """Keep several jobs, which may run each other; nothing is kept where one of them is wrong."""
    names = [job.name for job in jobs]
    for job in jobs:
        check_job(job)
        if names.count(job.name) > 1:
            refuse(f"there are two jobs '{job.name}'", "give each a name of its own")
    calls = {kept.job.name: called_by(kept.job) for kept in desk.jobs.list()}
    calls |= {job.name: called_by(job) for job in jobs}
    for job in jobs:
        for called in calls[job.name]:
            if called not in calls:
                others = [name for name in calls if name != job.name]
                raise NotFound(
                    f"job '{job.name}' runs '{called}', which there is not", hint=did_you_mean(called, others)
                )
    check_calls({name: [each for each in called if each in calls] for name, called in calls.items()})
    for job in jobs:
        _refuse_past(desk, job)
    return [desk.jobs.put(job) for job in jobs]


def _refuse_past(desk: JobDesk, job: Job) -> None:
    """Refuse a new schedule that has no tick any more; one that is kept may have come to its end."""
    schedule, before, now = job.schedule, desk.jobs.find(job.name), desk.clock.now()
    if schedule is None or (before is not None and before.job.schedule == schedule):
        return
    if parse(schedule.quartz_cron_expression, schedule.timezone_id).next_after(now) is None:
        refuse(
            f"the schedule '{schedule.quartz_cron_expression}' of job '{job.name}' never fires again: it is {now:%d %B %Y}",
            "give a year that is to come, or leave the year out",
        )


def remove_job(desk: JobDesk, name: str) -> None:
    """Let go of a job; the history of its runs stays.

    Raises:
        NotFound: there is no such job.
        InvalidState: it has runs that have not ended.
    """
    desk.jobs.get(name)
    runs = desk.runs.list(name, 1, unfinished=True)
    if runs:
        raise InvalidState(
            f"run {runs[0].run_id} of job '{name}' has not ended", hint="cancel its runs first", run_id=runs[0].run_id
        )
    desk.jobs.remove(name)
