"""The tasks of a job as lines of text: each below one that it comes after, with how it stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from millrace.jobs.documents import dependency
from millrace.jobs.graph import in_order
from millrace.jobs.job import (
    AlertTask,
    ConditionTask,
    FeatureRefreshTask,
    MonitorTask,
    NotebookTask,
    PipelineTask,
    RetrainTask,
    RunJobTask,
    SparkPythonTask,
    SqlTask,
    Task,
    Work,
)
from millrace.jobs.job_run import TaskRun

_SIGNS = {
    "EQUAL_TO": "=",
    "NOT_EQUAL": "!=",
    "GREATER_THAN": ">",
    "GREATER_THAN_OR_EQUAL": ">=",
    "LESS_THAN": "<",
    "LESS_THAN_OR_EQUAL": "<=",
}
_LONGEST = 60
_MARKS = {
    "SUCCESS": "ok",
    "FAILED": "!!",
    "TIMEDOUT": "!!",
    "CANCELED": "xx",
    "EXCLUDED": "--",
    "UPSTREAM_FAILED": "--",
    "UPSTREAM_CANCELED": "--",
    "RUNNING": "..",
    "TERMINATING": "..",
    "WAITING_FOR_RETRY": "~~",
    "INTERNAL_ERROR": "!!",
}


@dataclass(frozen=True, slots=True)
class Line:
    """A task in the drawing.

    Attributes:
        drawn: its key, behind the branches that lead to it.
        others: what else it comes after, and by which outcomes or ends of them it runs.
    """

    task: Task
    drawn: str
    others: str


def draw(tasks: Sequence[Task]) -> list[Line]:
    """Each task once, under the last of those that it comes after."""
    ordered = list(in_order(tasks))
    place = {task.task_key: number for number, task in enumerate(ordered)}
    above = {task.task_key: _above(task, place) for task in ordered}
    below: dict[str | None, list[Task]] = {}
    for task in ordered:
        below.setdefault(above[task.task_key], []).append(task)
    lines: list[Line] = []

    def add(task: Task, lead: str, branch: str, further: str) -> None:
        lines.append(Line(task, f"{lead}{branch}{task.task_key}", _others(task, above[task.task_key])))
        children = below.get(task.task_key, [])
        for child in children:
            is_last = child is children[-1]
            add(child, lead + further, "└─ " if is_last else "├─ ", "   " if is_last else "│  ")

    for root in below.get(None, []):
        add(root, "", "", "")
    return lines


def _above(task: Task, place: Mapping[str, int]) -> str | None:
    keys = [each.task_key for each in map(dependency, task.depends_on)]
    return max(keys, key=place.__getitem__) if keys else None


def _others(task: Task, above: str | None) -> str:
    said = []
    given = list(map(dependency, task.depends_on))
    rest = [each.task_key for each in given if each.task_key != above]
    if rest:
        said.append(f"also after {', '.join(rest)}")
    said += [f"if {each.task_key} is {each.outcome}" for each in given if each.outcome is not None]
    if task.run_if != "ALL_SUCCESS":
        said.append(task.run_if.lower().replace("_", " "))
    return "; ".join(said)


def does(work: Work) -> str:  # noqa: C901, PLR0911 - one line for each kind
    """What a task does, in a few words."""
    match work:
        case PipelineTask():
            return f"pipeline {work.pipeline}"
        case FeatureRefreshTask():
            return _cut(f"features of {work.pipeline}" + (f": {', '.join(work.tables)}" if work.tables else ""))
        case MonitorTask():
            return f"monitor of {work.pipeline}"
        case RetrainTask():
            return f"retraining of {work.pipeline}" + (", in any case" if work.force else "")
        case AlertTask():
            return _cut(f"alert rules {', '.join(work.rules)}" if work.rules else "all alert rules")
        case NotebookTask():
            return f"notebook {work.notebook_path}"
        case SparkPythonTask():
            return _cut(" ".join(["python", work.python_file, *work.parameters]))
        case SqlTask():
            return _cut(f"SQL {work.file or ' '.join((work.query or '').split())}")
        case ConditionTask():
            return _cut(f"{work.left} {_SIGNS[work.op]} {work.right}?")
        case RunJobTask():
            return f"job {work.job_name}"


def mark(task: TaskRun | None) -> str:
    """Two letters for how an attempt stands."""
    return "" if task is None else _MARKS.get(state(task), "")


def state(task: TaskRun | None) -> str:
    """How an attempt stands, in one word: as what it ended, where it has."""
    if task is None:
        return "-"
    return task.result_state or task.life_cycle_state


def took(task: TaskRun, now: datetime) -> str:
    """How long it ran, or runs by now."""
    return seconds_between(task.started_at, task.ended_at or (now if not task.is_over else task.started_at))


def seconds_between(start: datetime | None, end: datetime | None) -> str:
    """A span in seconds where it is short, else in its two largest units."""
    from millrace.cli.output import duration

    if start is None or end is None:
        return ""
    seconds = (end - start).total_seconds()
    return f"{seconds:.1f} s" if seconds < 60 else duration(end - start)  # noqa: PLR2004 - a minute


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
