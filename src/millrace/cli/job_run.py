"""`millrace job run`, `repair` and `wait`."""

from __future__ import annotations

import sys
from collections.abc import Container, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from millrace.cli.job_named import JobName, RunOrJob, find_run, say_unexecuted
from millrace.cli.options import Home, Json, named_values
from millrace.cli.output import print_json, say
from millrace.core.errors import InvalidInput, UsageError

if TYPE_CHECKING:
    from millrace.jobs.job_run import JobRun, RunId, TaskRun
    from millrace.workspace import Workspace

_FAILED, _REFUSED = 1, 3
Wait = Annotated[
    bool,
    Parameter(
        name="--wait", help="Wait for its end and tell how it went; with --no-wait it is only put into the queue."
    ),
]
Parameters = Annotated[
    list[str] | None,
    Parameter(name="--param", negative="", help="A parameter of the job, as day=2025-03-01; may be repeated."),
]


def run(
    job: JobName,
    *,
    param: Parameters = None,
    token: Annotated[
        str | None, Parameter(help="Asking again under one token gives the same run, and no second one.")
    ] = None,
    wait: Wait = True,
    home: Home = None,
    json: Json = False,
) -> int:
    """Run a job now. Where `millrace up` runs, it executes the tasks; else this command does, while it waits."""
    from millrace.jobs.submit import submit
    from millrace.workspace import require_home

    given = named_values("--param", param or (), "day=2025-03-01", may_be_empty=True)
    with closing(require_home(home)) as workspace:
        try:
            run_id = submit(workspace.jobs, job, token=token, parameters=given)
        except InvalidInput as error:
            raise UsageError(error.message, hint=error.hint) from error
        return _go_on(workspace, run_id, wait=wait, json=json)


def repair(
    run: RunOrJob,
    *,
    task: Annotated[
        list[str] | None,
        Parameter(
            name="--task", negative="", help="Run this task again, too, and all that depends on it; may be repeated."
        ),
    ] = None,
    wait: Wait = True,
    home: Home = None,
    json: Json = False,
) -> int:
    """Run again what did not succeed in a run, and what depends on it. What succeeded stays; the job is taken as it is now."""
    from millrace.jobs.repair import repair as repair_run
    from millrace.workspace import require_home

    with closing(require_home(home)) as workspace:
        desk = workspace.jobs
        found = find_run(desk, run)
        known = {each.task_run_id for each in desk.runs.tasks(found.run_id)}
        repair_run(desk, found.run_id, tasks=task or ())
        return _go_on(workspace, found.run_id, wait=wait, json=json, known=known)


def wait(run: RunOrJob, *, home: Home = None, json: Json = False) -> int:
    """Wait for a run that was asked for before, and tell how it went. Where nothing executes runs, this command does."""
    from millrace.workspace import require_home

    with closing(require_home(home)) as workspace:
        return _go_on(workspace, find_run(workspace.jobs, run).run_id, wait=True, json=json)


def _go_on(workspace: Workspace, run_id: RunId, *, wait: bool, json: bool, known: Container[RunId] = ()) -> int:
    from millrace.tasks.execute_here import is_executed
    from millrace.tasks.show import run_json

    desk = workspace.jobs
    if wait:
        return _print_end(workspace, _waited_for(workspace, run_id, known, json=json), json=json)
    run = desk.runs.get(run_id)
    if json:
        print_json(run_json(run) | {"executed": is_executed(desk, workspace.home)})
        return 0
    if run.life_cycle_state == "SKIPPED":
        say(f"run {run_id} of job {run.job} is skipped: {run.state_message}")
        return _FAILED
    say(f"run {run_id} of job {run.job} is in the queue; see millrace job show {run_id}")
    say_unexecuted(workspace, run_id)
    return 0


def _waited_for(workspace: Workspace, run_id: RunId, known: Container[RunId], *, json: bool) -> JobRun:
    from millrace.cli.job_watch import watch
    from millrace.cli.progress import progress
    from millrace.tasks.execute_here import executing

    desk = workspace.jobs
    if not json:
        sys.stderr.write(f"run {run_id} of job {desk.runs.get(run_id).job}\n")
    try:
        with executing(workspace.home, run_id) as check, progress(plain=json) as shown:
            return watch(desk, run_id, shown, check, known=known)
    except KeyboardInterrupt:
        sys.stderr.write(
            f"run {run_id} is not canceled: `millrace up` goes on with it, or `millrace job wait {run_id}`;"
            f" `millrace job cancel {run_id}` ends it\n"
        )
        raise


def _print_end(workspace: Workspace, run: JobRun, *, json: bool) -> int:
    from millrace.cli.job_show import failures, print_failures, run_state, show_run

    desk = workspace.jobs
    attempts = desk.runs.tasks(run.run_id)
    if json:
        show_run(desk, workspace.home, run, json=True)
    else:
        print_failures(attempts)
        first = run.state_message.split("\n")[0]
        say(f"run {run.run_id} of job {run.job}: {run_state(run)}" + (f": {first}" if first else ""))
        if failures(attempts) and run.result_state != "SUCCESS":
            say(f"mend what is wrong, then go on from there: millrace job repair {run.run_id}")
    if run.result_state == "SUCCESS":
        return 0
    return _REFUSED if _is_refused(failures(attempts)) else _FAILED


def _is_refused(failed: Sequence[TaskRun]) -> bool:
    """Whether all that failed is what a gate said no to."""
    from millrace.jobs.engine.end_attempt import REFUSED

    return bool(failed) and all(each.output.get(REFUSED) and each.process for each in failed)
