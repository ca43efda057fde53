"""Ending runs before their time."""

from __future__ import annotations

from millrace.core.errors import InvalidState
from millrace.jobs.job_run import JobRun, RunId
from millrace.jobs.port import ALL_RUNS, JobDesk


def cancel(desk: JobDesk, run_id: RunId) -> JobRun:
    """Cancel a run: at once where it has not begun, else it is TERMINATING, and ended by who executes it.

    Raises:
        NotFound: there is no such run.
        InvalidState: it has ended.
    """
    run = desk.runs.get(run_id)
    if run.is_over:
        ended = run.result_state or run.life_cycle_state
        raise InvalidState(f"run {run_id} has ended already: {ended}", hint="there is nothing to cancel", run_id=run_id)
    return desk.runs.stop(run_id, f"canceled by {desk.principal}")


def cancel_all(desk: JobDesk, job_name: str) -> list[JobRun]:
    """Cancel all runs of a job that have not ended."""
    runs = desk.runs.list(job_name, limit=ALL_RUNS, unfinished=True)
    if not runs:
        desk.jobs.get(job_name)  # which raises where there is no such job
    return [desk.runs.stop(run.run_id, f"canceled by {desk.principal}") for run in runs]
