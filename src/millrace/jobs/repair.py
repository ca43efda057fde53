"""Running again what failed in a run, and what depends on it; what succeeded stays as it is."""

from __future__ import annotations

from collections.abc import Sequence

from millrace.core.errors import InvalidState, NotFound
from millrace.core.names import did_you_mean
from millrace.jobs.graph import after
from millrace.jobs.job import Job
from millrace.jobs.job_run import JobRun, RunId, TaskRun
from millrace.jobs.port import JobDesk

_GOOD = {"SUCCESS", "EXCLUDED"}


def repair(desk: JobDesk, run_id: RunId, *, tasks: Sequence[str] = ()) -> JobRun:
    """Put a run that has ended back into the queue: tasks that did not succeed, and all that depend on them, run again.

    The job is taken as it is kept now, so that what was wrong with its declaration can be put right as well.

    Args:
        desk: of the workspace.
        run_id: a run that has ended.
        tasks: run these again, with all that depend on them, and what did not succeed.

    Raises:
        NotFound: no such run, or no such task in its job.
        InvalidState: it has not ended, was skipped, or all of it succeeded.
    """
    run, job = desk.runs.get(run_id), _job(desk, run_id)
    if not run.is_over:
        raise InvalidState(f"run {run_id} has not ended", hint="wait for it, or cancel it first", run_id=run_id)
    if run.life_cycle_state == "SKIPPED":
        raise InvalidState(f"run {run_id} was skipped: it has no tasks", hint="run the job again", run_id=run_id)
    known = [task.task_key for task in job.tasks]
    for key in tasks:
        if key not in known:
            raise NotFound(f"job '{run.job}' has no task '{key}'", hint=did_you_mean(key, known))
    newest = latest(desk.runs.tasks(run_id))
    bad = [key for key in known if key not in newest or newest[key].result_state not in _GOOD]
    again = after(job.tasks, [*bad, *tasks])
    if not again:
        raise InvalidState(f"all tasks of run {run_id} succeeded", hint="name the tasks that should run again")
    return desk.runs.reopen(run_id, job, [key for key in known if key in again])


def latest(attempts: Sequence[TaskRun]) -> dict[str, TaskRun]:
    """The newest attempt of each task."""
    return {each.task_key: each for each in sorted(attempts, key=lambda attempt: attempt.attempt)}


def _job(desk: JobDesk, run_id: RunId) -> Job:
    kept = desk.jobs.find(desk.runs.get(run_id).job)
    return desk.runs.declared(run_id) if kept is None else kept.job
