"""`millrace job apply`."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from millrace.cli.options import Home, Json
from millrace.cli.output import print_json, say

if TYPE_CHECKING:
    from millrace.tasks.apply import Applied


def apply(
    file: Annotated[
        Path, Parameter(help="A Python file with jobs and pipelines, or JSON as the Jobs API has it.")
    ] = Path("pipeline.py"),
    *,
    prune: Annotated[
        bool, Parameter(negative="", help="Delete jobs that the file declared before and does not any more.")
    ] = False,
    home: Home = None,
    json: Json = False,
) -> int:
    """Put the jobs of a file, and the schedules of its pipelines, into force. Doing it again changes nothing."""
    from millrace.tasks.apply import apply_jobs
    from millrace.tasks.declared import declared_jobs
    from millrace.workspace import open_workspace

    if home is not None:
        os.environ["MILLRACE_HOME"] = str(home)  # for what the file opens by itself
    jobs = declared_jobs(file)
    with closing(open_workspace(home)) as workspace:
        applied = apply_jobs(workspace.jobs, file, jobs, prune=prune)
    if json:
        print_json({"jobs": [{"name": each.job.name, "change": each.change} for each in applied]})
        return 0
    if not applied:
        say(f"{file} declares no job, and no schedule: give a feature table, the monitor or the retraining a schedule=")
    for each in applied:
        say(_told(each))
    return 0


def _told(applied: Applied) -> str:
    name, job = applied.job.name, applied.job
    if applied.change == "left":
        return f"left       {name}: the file does not declare it any more; --prune deletes it"
    is_paused = (job.schedule is not None and job.schedule.pause_status == "PAUSED") or job.pause_status == "PAUSED"
    note = f"; it is paused: millrace job resume {name}" if is_paused and applied.change != "deleted" else ""
    return f"{applied.change:<10} {name}{note}"
