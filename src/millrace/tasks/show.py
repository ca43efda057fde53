"""Jobs, their runs and attempts as JSON documents, in the Jobs API's words."""

from __future__ import annotations

from pathlib import Path

from millrace.jobs.documents import job_document
from millrace.jobs.job_run import JobRun, TaskRun
from millrace.jobs.port import KeptJob

TAIL_LINES = 12
_TAIL_BYTES = 1 << 16


def job_json(kept: KeptJob) -> dict[str, object]:
    """A job as it is kept."""
    return {
        "job_id": kept.job_id,
        "creator_user_name": kept.owner,
        "created_at": kept.created_at,
        "updated_at": kept.updated_at,
        "settings": job_document(kept.job),
    }


def run_json(run: JobRun) -> dict[str, object]:
    """A run, without its tasks."""
    return {
        "run_id": run.run_id,
        "job_id": run.job_id,
        "job": run.job,
        "number": run.number,
        "trigger": run.trigger,
        "due": run.due,
        "parameters": dict(run.parameters),
        "state": {
            "life_cycle_state": run.life_cycle_state,
            "result_state": run.result_state,
            "state_message": run.state_message,
        },
        "created_at": run.created_at,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "creator_user_name": run.by,
        "repairs": run.repairs,
    }


def task_json(task: TaskRun) -> dict[str, object]:
    """One attempt of a task."""
    return {
        "run_id": task.task_run_id,
        "task_key": task.task_key,
        "attempt_number": task.attempt,
        "state": {
            "life_cycle_state": task.life_cycle_state,
            "result_state": task.result_state,
            "state_message": task.state_message,
        },
        "started_at": task.started_at,
        "ended_at": task.ended_at,
        "output": dict(task.output),
        "log": task.log_path,
    }


def log_tail(task: TaskRun, lines: int = TAIL_LINES) -> list[str]:
    """The last lines of an attempt's log; none where it never ran, or its log is gone."""
    if task.log_path is None:
        return []
    try:
        with Path(task.log_path).open("rb") as file:
            file.seek(max(file.seek(0, 2) - _TAIL_BYTES, 0))
            return file.read().decode(errors="replace").rstrip().splitlines()[-lines:]
    except FileNotFoundError:
        return []
