"""`millrace job logs`."""

from __future__ import annotations

import sys
import threading
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

from cyclopts import Parameter

from millrace.cli.job_named import RunOrJob, attempts_of, find_run
from millrace.cli.options import Home, Json
from millrace.cli.output import print_json, say
from millrace.core.errors import NotFound, UsageError

if TYPE_CHECKING:
    from millrace.jobs.job_run import JobRun, TaskRun
    from millrace.jobs.port import JobDesk

_LOOK_S = 0.3


def logs(
    run: RunOrJob,
    task: Annotated[str | None, Parameter(help="A task of it; may be left out where it has only one.")] = None,
    *,
    attempt: Annotated[int | None, Parameter(help="Which attempt, from 1; the newest by default.")] = None,
    follow: Annotated[bool, Parameter(negative="", help="Go on printing until the task has ended.")] = False,
    home: Home = None,
    json: Json = False,
) -> int:
    """Print what a task of a run wrote."""
    from millrace.workspace import require_home

    with closing(require_home(home)) as workspace:
        desk = workspace.jobs
        found = find_run(desk, run)
        chosen = _attempt(desk, found, task or _only_task(desk, found), attempt)
        if json:
            text = "" if chosen.log_path is None else _read(Path(chosen.log_path))
            print_json({"run_id": chosen.task_run_id, "task_key": chosen.task_key, "log": text})
            return 0
        if follow and not chosen.is_over:
            chosen = _follow(desk, chosen)
        elif chosen.log_path is not None:
            sys.stdout.write(_read(Path(chosen.log_path)))
        if chosen.log_path is None:
            say(f"task {chosen.task_key} has written nothing: {chosen.state_message or chosen.life_cycle_state}")
    return 0


def _only_task(desk: JobDesk, run: JobRun) -> str:
    keys = [task.task_key for task in desk.runs.declared(run.run_id).tasks]
    if len(keys) > 1:
        raise UsageError(
            f"run {run.run_id} of job '{run.job}' has {len(keys)} tasks", hint=f"name one: {', '.join(keys)}"
        )
    return keys[0]


def _attempt(desk: JobDesk, run: JobRun, key: str, number: int | None) -> TaskRun:
    attempts = attempts_of(desk, run, key)
    if number is None:
        return attempts[-1]
    for each in attempts:
        if each.attempt + 1 == number:
            return each
    raise NotFound(
        f"task '{key}' of run {run.run_id} has no attempt {number}",
        hint=f"there is: {', '.join(str(each.attempt + 1) for each in attempts)}",
    )


def _follow(desk: JobDesk, task: TaskRun) -> TaskRun:
    """Print what the attempt writes, from when it begins until it has ended; return it as it is then."""
    pause, file = threading.Event(), None
    with ExitStack() as opened:
        while True:
            now = desk.runs.task(task.task_run_id)
            if file is None and now.log_path is not None and Path(now.log_path).exists():
                file = opened.enter_context(Path(now.log_path).open("rb"))
            _pass_on(file)
            if now.is_over:
                return now
            pause.wait(_LOOK_S)


def _pass_on(file: BinaryIO | None) -> None:
    if file is not None:
        sys.stdout.write(file.read().decode(errors="replace"))
        sys.stdout.flush()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError as error:
        raise NotFound(f"the log {path} is not there any more", hint="it was deleted") from error
