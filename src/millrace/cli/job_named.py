"""Jobs, runs and tasks as they are named on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from millrace.cli.output import say
from millrace.core.errors import NotFound
from millrace.core.names import did_you_mean
from millrace.jobs.job_run import JobRun, RunId, TaskRun
from millrace.jobs.port import JobDesk

if TYPE_CHECKING:
    from millrace.workspace import Workspace

JobName = Annotated[str, Parameter(help="The job's name.")]
RunOrJob = Annotated[str, Parameter(help="A run's number, or a job's name: then its newest run.")]
_SHOWN = 5


def find_run(desk: JobDesk, text: str) -> JobRun:
    """The run of this number, or the newest of the job of this name.

    Raises:
        NotFound: there is none; the hint has the nearest name, or the newest runs.
    """
    if text.isdecimal() and desk.jobs.find(text) is None:
        return _of_number(desk, int(text))
    found = desk.runs.list(text, 1)
    if found:
        return found[0]
    desk.jobs.get(text)
    raise NotFound(f"job '{text}' has no runs yet", hint=f"run it: millrace job run {text}")


def _of_number(desk: JobDesk, number: int) -> JobRun:
    try:
        return desk.runs.get(RunId(number))
    except NotFound as error:
        newest = ", ".join(f"{run.run_id} ({run.job})" for run in desk.runs.list(limit=_SHOWN))
        hint = f"the newest runs: {newest}" if newest else "nothing has run yet; see `millrace job list`"
        raise NotFound(f"there is no run {number}", hint=hint) from error


def say_unexecuted(workspace: Workspace, run_id: RunId) -> None:
    """Say so where nothing executes the home's runs: then this one stays as it is."""
    from millrace.tasks.execute_here import is_executed

    if not is_executed(workspace.jobs, workspace.home):
        say(f"nothing executes it until `millrace up` runs, or somebody waits: millrace job wait {run_id}")


def attempts_of(desk: JobDesk, run: JobRun, key: str) -> Sequence[TaskRun]:
    """The attempts of a task of a run, oldest first.

    Raises:
        NotFound: the run has no such task.
    """
    all_of_them = desk.runs.tasks(run.run_id)
    found = [task for task in all_of_them if task.task_key == key]
    if not found:
        known = {task.task_key for task in all_of_them} | {
            task.task_key for task in desk.runs.declared(run.run_id).tasks
        }
        if key in known:
            raise NotFound(f"task '{key}' of run {run.run_id} has not begun", hint="see `millrace job show`")
        raise NotFound(f"run {run.run_id} of job '{run.job}' has no task '{key}'", hint=did_you_mean(key, known))
    return sorted(found, key=lambda task: task.attempt)
