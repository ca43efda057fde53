"""`millrace job cancel`, `pause`, `resume` and `delete`."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from millrace.cli.job_named import JobName, RunOrJob, find_run, say_unexecuted
from millrace.cli.options import Home, Json
from millrace.cli.output import print_json, say
from millrace.core.errors import InvalidState

if TYPE_CHECKING:
    from millrace.jobs.job import PauseStatus


def cancel(
    run: RunOrJob,
    *,
    all_: Annotated[
        bool, Parameter(name="--all", negative="", help="All runs of the job that have not ended.")
    ] = False,
    home: Home = None,
    json: Json = False,
) -> int:
    """Cancel a run: its tasks are ended, and those that have not begun never begin."""
    from millrace.jobs.cancel import cancel as cancel_run
    from millrace.jobs.cancel import cancel_all
    from millrace.tasks.show import run_json
    from millrace.workspace import require_home

    with closing(require_home(home)) as workspace:
        desk = workspace.jobs
        done = cancel_all(desk, run) if all_ else [cancel_run(desk, find_run(desk, run).run_id)]
        if json:
            print_json({"runs": [run_json(each) for each in done]})
            return 0
        if not done:
            say(f"no run of job {run} is on its way")
        for each in done:
            say(f"run {each.run_id} of job {each.job} " + ("is canceled" if each.is_over else "is being canceled"))
        begun = [each.run_id for each in done if not each.is_over]
        if begun:
            say_unexecuted(workspace, begun[0])
    return 0


def pause(job: JobName, *, home: Home = None, json: Json = False) -> int:
    """Let a job's schedule and trigger rest. Runs that were asked for already go on."""
    return _set(job, "PAUSED", home, json=json)


def resume(job: JobName, *, home: Home = None, json: Json = False) -> int:
    """Let a paused job run by itself again, from its next tick on."""
    return _set(job, "UNPAUSED", home, json=json)


def delete(job: JobName, *, home: Home = None, json: Json = False) -> int:
    """Delete a job; the history of its runs stays."""
    from millrace.jobs.put_job import remove_job
    from millrace.workspace import require_home

    with closing(require_home(home)) as workspace:
        remove_job(workspace.jobs, job)
    if json:
        print_json({"job": job, "deleted": True})
    else:
        say(f"job {job} is deleted")
    return 0


def _set(name: str, status: PauseStatus, home: Home, *, json: bool) -> int:
    from millrace.jobs.schedules.pause import pause_job, resume_job
    from millrace.workspace import require_home

    with closing(require_home(home)) as workspace:
        job = workspace.jobs.jobs.get(name).job
        if job.schedule is None and job.trigger is None:
            raise InvalidState(
                f"job '{name}' has no schedule and no trigger", hint=f"it runs when asked: millrace job run {name}"
            )
        (pause_job if status == "PAUSED" else resume_job)(workspace.schedules, name)
    if json:
        print_json({"job": name, "pause_status": status})
    else:
        say(f"job {name} is paused" if status == "PAUSED" else f"job {name} runs by itself again")
    return 0
