"""Watching a run: its tasks as they begin and end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Container
from typing import TYPE_CHECKING

from millrace.cli.job_graph import state
from millrace.pipeline.port import Progress

if TYPE_CHECKING:
    from millrace.jobs.job_run import JobRun, RunId, TaskRun
    from millrace.jobs.port import JobDesk

_LOOK_S = 0.25
# How the display of a pipeline's stages, which this is as well, calls it.
_STATUS = {
    "RUNNING": "running",
    "TERMINATING": "running",
    "WAITING_FOR_RETRY": "waiting",
    "SUCCESS": "done",
    "FAILED": "failed",
    "TIMEDOUT": "failed",
    "CANCELED": "interrupted",
    "INTERNAL_ERROR": "interrupted",
    "EXCLUDED": "skipped",
    "UPSTREAM_FAILED": "skipped",
    "UPSTREAM_CANCELED": "skipped",
}


_NOT_RUN = {
    "EXCLUDED": "not to run",
    "UPSTREAM_FAILED": "did not run: one before it failed",
    "UPSTREAM_CANCELED": "did not run: one before it was canceled",
}


def watch(
    desk: JobDesk,
    run_id: RunId,
    shown: Progress,
    go_on: Callable[[], None] = lambda: None,
    *,
    known: Container[RunId] = (),
) -> JobRun:
    """Tell of each task until the run is over, and return it.

    Args:
        desk: of the workspace.
        run_id: the run.
        shown: is told.
        go_on: called at each look; raises where nothing will come any more.
        known: attempts that nothing need be told of.
    """
    told: dict[tuple[str, int], str] = {}
    pause = threading.Event()
    while True:
        run = desk.runs.get(run_id)
        for task in sorted(desk.runs.tasks(run_id), key=lambda each: each.task_run_id):
            if task.task_run_id not in known:
                _tell(task, told, shown)
        if run.is_over:
            return run
        go_on()
        pause.wait(_LOOK_S)


def _tell(task: TaskRun, told: dict[tuple[str, int], str], shown: Progress) -> None:
    now, key = state(task), (task.task_key, task.attempt)
    status = _STATUS.get(now)
    if status is None or told.get(key) == now:
        return
    told[key] = now
    name = task.task_key + (f" (attempt {task.attempt + 1})" if task.attempt else "")
    over = task.started_at is not None and task.ended_at is not None
    seconds = (task.ended_at - task.started_at).total_seconds() if over else None  # type: ignore[operator]
    said = _NOT_RUN.get(now, task.state_message.split("\n")[0])
    shown.stage(name, status, said, seconds)
