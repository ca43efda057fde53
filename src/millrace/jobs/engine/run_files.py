"""Where the files of a run are, and letting go of them."""

from __future__ import annotations

import shutil
from pathlib import Path

from millrace.jobs.job_run import RunId, TaskRun


def folder_of(home: Path, attempt: TaskRun) -> Path:
    """The attempt's folder of artifacts."""
    return _artifacts(home, attempt.run_id) / f"{attempt.task_key}.{attempt.attempt}"


def log_of(home: Path, attempt: TaskRun) -> Path:
    """The attempt's log."""
    return _logs(home, attempt.run_id) / f"{attempt.task_key}.{attempt.attempt}.log"


def remove_files(home: Path, run_id: RunId) -> None:
    """Delete all folders and logs of a run. What the system won't delete, as another user's, stays: it is no reason to execute nothing."""
    for folder in (_artifacts(home, run_id), _logs(home, run_id)):
        shutil.rmtree(folder, ignore_errors=True)


def _artifacts(home: Path, run_id: RunId) -> Path:
    return home / "jobs" / str(run_id)


def _logs(home: Path, run_id: RunId) -> Path:
    return home / "logs" / "jobs" / str(run_id)
