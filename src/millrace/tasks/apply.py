"""Putting declared jobs into force: what is new is made, what changed is changed, the rest stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from millrace.jobs.documents import job_document
from millrace.jobs.job import Job
from millrace.jobs.port import JobDesk
from millrace.jobs.put_job import put_jobs, remove_job
from millrace.tasks.declared import FILE

if TYPE_CHECKING:
    from millrace.pipeline.declare import Pipeline

Change = Literal["created", "changed", "unchanged", "deleted", "left"]


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of one job. `left`: an earlier version of the file declared it, and it was not to be deleted."""

    job: Job
    change: Change


def apply_jobs(desk: JobDesk, file: Path, jobs: Sequence[Job], *, prune: bool = False) -> list[Applied]:
    """Make the home's jobs those that a file declares; with `prune`, delete those that it declared before and does not any more.

    A job that is paused stays paused until somebody resumes it: whoever paused it need not know the file.

    Raises:
        InvalidInput: a job can't be run. Nothing is changed then.
        InvalidState: a job that is to be deleted has runs that have not ended.
    """
    before = {kept.job.name: kept.job for kept in desk.jobs.list()}
    wanted = [_as_paused(job, before.get(job.name)) for job in jobs]
    put_jobs(desk, wanted)
    applied = [Applied(job, _change(before.get(job.name), job)) for job in wanted]
    names, place = {job.name for job in jobs}, str(file.expanduser().resolve())
    for name, job in before.items():
        if name not in names and job.tags.get(FILE) == place:
            if prune:
                remove_job(desk, name)
            applied.append(Applied(job, "deleted" if prune else "left"))
    return applied


def not_applied(desk: JobDesk, pipeline: Pipeline, file: Path) -> list[str]:
    """The names of jobs that a pipeline's schedules ask for and that are not in force, or not as it declares them."""
    from millrace.pipeline.scheduled_jobs import scheduled_jobs

    path = file.expanduser().resolve()
    found = []
    for job in scheduled_jobs(pipeline, path.name, str(path.parent)):
        kept = desk.jobs.find(job.name)
        if kept is None or not _is_same(kept.job, _as_paused(job, kept.job)):
            found.append(job.name)
    return found


def _as_paused(job: Job, before: Job | None) -> Job:
    if before is None:
        return job
    if job.schedule is not None and before.schedule is not None and before.schedule.pause_status == "PAUSED":
        job = replace(job, schedule=replace(job.schedule, pause_status="PAUSED"))
    if job.trigger is not None and before.trigger is not None and before.pause_status == "PAUSED":
        job = replace(job, pause_status="PAUSED")
    return job


def _change(before: Job | None, job: Job) -> Change:
    if before is None:
        return "created"
    return "unchanged" if job_document(before) == job_document(job) else "changed"


def _is_same(one: Job, other: Job) -> bool:
    """Whether two are the same but for their tags: where one was applied from is not what it does."""
    return job_document(replace(one, tags={})) == job_document(replace(other, tags={}))
