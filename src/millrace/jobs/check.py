"""What is wrong with the declaration of a job, told before it is kept."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePath

from millrace.core.names import TableName, did_you_mean
from millrace.jobs.documents import dependency, job_document, job_of
from millrace.jobs.graph import circle
from millrace.jobs.job import (
    AlertTrigger,
    ConditionTask,
    Job,
    ModelTrigger,
    NotebookTask,
    RunJobTask,
    SparkPythonTask,
    SqlTask,
    TableUpdateTrigger,
    Task,
)
from millrace.jobs.quartz import parse
from millrace.jobs.read_document import refuse
from millrace.jobs.references import check_references

_KEY = re.compile(r"[A-Za-z0-9_-]{1,100}")
_PARAMETER = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_LONGEST_NAME = 200
_MOST_TASKS = 1_000
_MOST_RUNS = 1_000
_LONGEST_S = 366 * 86_400
_ENDLESS = -1


def check_job(job: Job) -> None:
    """Refuse what can't be run.

    Raises:
        InvalidInput: with the first thing that is wrong, and how it is put right.
    """
    document = job_document(job)
    job_of(document)  # each field is of the kind that it should be
    _check_name(job.name)
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        found = error.object[max(error.start - 20, 0) : error.end + 20]
        refuse(f"job '{job.name}' has a text that is not UTF-8: {found!r}", "write it, or name its folder, in UTF-8")
    if not job.tasks:
        refuse(f"job '{job.name}' has no tasks", "give it one at least")
    if len(job.tasks) > _MOST_TASKS:
        refuse(
            f"job '{job.name}' has {len(job.tasks)} tasks", f"{_MOST_TASKS} are the most; a task may run another job"
        )
    _within(f"job '{job.name}'", "max_concurrent_runs", job.max_concurrent_runs, 1, _MOST_RUNS)
    _within(f"job '{job.name}'", "timeout_seconds", job.timeout_seconds, 0, _LONGEST_S)
    for name in job.parameters:
        if not _PARAMETER.fullmatch(name):
            refuse(f"'{name}' can't be a parameter's name", "use letters, digits, `_`, `-` and `.`")
    if job.folder and not PurePath(job.folder).is_absolute():
        refuse(f"job '{job.name}' has the folder '{job.folder}'", "give an absolute path")
    _check_when(job)
    _check_tasks(job)
    check_references(job)


def check_calls(calls: Mapping[str, Iterable[str]]) -> None:
    """Refuse jobs that run each other in a circle; `calls`: by a job's name the jobs that its tasks run.

    Raises:
        InvalidInput: there is a circle.
    """
    found = circle({name: list(called) for name, called in calls.items()})
    if found is not None:
        said = "runs itself" if len(found) == 2 else f"runs itself: {' -> '.join(found)}"  # noqa: PLR2004 - there and back
        refuse(f"job '{found[0]}' {said}", "take one of these run_job tasks out: none of them would ever end")


def called_by(job: Job) -> list[str]:
    """The jobs that a job's tasks run."""
    return [task.work.job_name for task in job.tasks if isinstance(task.work, RunJobTask)]


def _check_name(name: str) -> None:
    if not name.strip() or name != name.strip() or not name.isprintable() or len(name) > _LONGEST_NAME:
        refuse(
            f"{name!r} can't be a job's name", f"give 1 to {_LONGEST_NAME} printable characters, no spaces around them"
        )


def _check_when(job: Job) -> None:
    if job.schedule is not None:
        parse(job.schedule.quartz_cron_expression, job.schedule.timezone_id)
    match job.trigger:
        case TableUpdateTrigger() if not job.trigger.table_names:
            refuse(f"the trigger of job '{job.name}' names no table", "give table_names")
        case TableUpdateTrigger():
            for name in job.trigger.table_names:
                TableName.parse(name)
        case ModelTrigger() if not job.trigger.securable_name:
            refuse(f"the trigger of job '{job.name}' names no model", "give securable_name")
        case ModelTrigger() if job.trigger.condition == "MODEL_ALIAS_SET" and not job.trigger.aliases:
            refuse(f"the trigger of job '{job.name}' names no alias", "give aliases, as champion or production")
        case AlertTrigger() if not job.trigger.rules:
            refuse(f"the trigger of job '{job.name}' names no alert rule", "give rules")
        case _:
            pass


def _check_tasks(job: Job) -> None:
    keys = [task.task_key for task in job.tasks]
    for key in keys:
        if not _KEY.fullmatch(key):
            refuse(f"'{key}' can't be a task's key", "use 1 to 100 letters, digits, `_` and `-`")
        if keys.count(key) > 1:
            refuse(f"job '{job.name}' has two tasks '{key}'", "give each a key of its own")
    by_key = {task.task_key: task for task in job.tasks}
    for task in job.tasks:
        _check_numbers(task)
        _check_work(job, task)
        _check_dependencies(task, by_key)
    found = circle({task.task_key: [each.task_key for each in map(dependency, task.depends_on)] for task in job.tasks})
    if found is not None:
        refuse(
            f"task '{found[0]}' of job '{job.name}' depends on itself: {' -> '.join(found)}",
            f"none of them could ever start: take one depends_on out, as that of '{found[-2]}'",
        )


def _check_dependencies(task: Task, by_key: Mapping[str, Task]) -> None:
    given = [dependency(each) for each in task.depends_on]
    for each in given:
        other = by_key.get(each.task_key)
        if other is None:
            others = [key for key in by_key if key != task.task_key]
            refuse(
                f"task '{task.task_key}' depends on '{each.task_key}', which there is not",
                did_you_mean(each.task_key, others),
            )
        elif each.outcome is not None and not isinstance(other.work, ConditionTask):
            refuse(
                f"task '{task.task_key}' asks for the outcome of '{each.task_key}', which is no condition",
                "leave the outcome out, or make that a condition_task",
            )
        if sum(one.task_key == each.task_key for one in given) > 1:
            refuse(
                f"task '{task.task_key}' depends on '{each.task_key}' twice",
                "name it once; without an outcome for both outcomes of a condition",
            )


def _check_numbers(task: Task) -> None:
    name = f"task '{task.task_key}'"
    _within(name, "max_retries", task.max_retries, _ENDLESS, 2**31 - 1, more="; -1 tries without end")
    _within(name, "min_retry_interval_millis", task.min_retry_interval_millis, 0, _LONGEST_S * 1_000)
    _within(name, "timeout_seconds", task.timeout_seconds, 0, _LONGEST_S, more="; 0 is none")


def _within(whose: str, field: str, value: int, least: int, most: int, *, more: str = "") -> None:
    if not least <= value <= most:
        refuse(f"{whose} has {field} {value}", f"give {least} to {most}{more}")


def _check_work(job: Job, task: Task) -> None:
    match task.work:
        case SqlTask() if (task.work.query is None) == (task.work.file is None):
            said = "both a query and a file" if task.work.query is not None else "neither a query nor a file"
            refuse(f"task '{task.task_key}' has {said}", "give one of them")
        case NotebookTask() if not task.work.notebook_path:
            refuse(f"task '{task.task_key}' names no notebook", "give notebook_path")
        case SparkPythonTask() if not task.work.python_file:
            refuse(f"task '{task.task_key}' names no file", "give python_file")
        case RunJobTask() if task.work.job_name == job.name:
            refuse(f"task '{task.task_key}' runs its own job '{job.name}'", "it would never end: run another job")
        case _:
            pass
