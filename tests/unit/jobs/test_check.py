"""What is wrong with a job is told when it is put, with what would be right."""

from __future__ import annotations

from typing import Any

import pytest

from millrace.core.errors import InvalidInput
from millrace.jobs.check import check_calls, check_job
from millrace.jobs.job import (
    AlertTrigger,
    ConditionTask,
    CronSchedule,
    Job,
    ModelTrigger,
    NotebookTask,
    RunJobTask,
    SparkPythonTask,
    SqlTask,
    TableUpdateTrigger,
    Task,
    TaskDependency,
    Work,
)

_FILE = SparkPythonTask("a.py")


def task(key: str = "a", work: Work = _FILE, *depends_on: str | TaskDependency, **more: Any) -> Task:
    return Task(key, work, depends_on=depends_on, **more)


def job(*tasks: Task, **more: Any) -> Job:
    return Job("churn", list(tasks) or [task()], **more)


_CASES: list[tuple[Job, str, str]] = [
    (Job("", [task()]), "'' can't be a job's name", "1 to 200"),
    (Job(" a", [task()]), "can't be a job's name", "no spaces"),
    (Job("a\n", [task()]), "can't be a job's name", "printable"),
    (job(task("a", SqlTask("SELECT '\udcff'"))), "has a text that is not UTF-8", "in UTF-8"),
    (Job("churn", []), "has no tasks", "one at least"),
    (job(task("a b")), "'a b' can't be a task's key", "letters, digits"),
    (job(task(), task()), "two tasks 'a'", "key of its own"),
    (job(task("load"), task("b", _FILE, "laod")), "depends on 'laod', which there is not", "did you mean 'load'?"),
    (job(task("a", _FILE, "a")), "task 'a' of job 'churn' depends on itself: a -> a", "depends_on"),
    (
        job(task("a", _FILE, "c"), task("b", _FILE, "a"), task("c", _FILE, "b")),
        "depends on itself: a -> c -> b -> a",
        "could ever start",
    ),
    (
        job(task(), task("b", _FILE, TaskDependency("a", "true"))),
        "asks for the outcome of 'a', which is no condition",
        "condition_task",
    ),
    (
        job(
            task("a", ConditionTask("EQUAL_TO", "1", "1")),
            task("b", _FILE, TaskDependency("a", "true"), TaskDependency("a", "false")),
        ),
        "depends on 'a' twice",
        "once",
    ),
    (job(task(max_retries=-2)), "task 'a' has max_retries -2", "-1 tries without end"),
    (job(task(timeout_seconds=-1)), "has timeout_seconds -1", "0 is none"),
    (job(task(min_retry_interval_millis=-1)), "has min_retry_interval_millis -1", "0 to"),
    (job(max_concurrent_runs=0), "job 'churn' has max_concurrent_runs 0", "1 to 1000"),
    (job(timeout_seconds=-5), "job 'churn' has timeout_seconds -5", "0 to"),
    (job(task(run_if="SOMETIMES")), "run_if 'SOMETIMES'", "there is"),
    (job(task("a", ConditionTask("EQUALS", "1", "1"))), "op 'EQUALS'", "EQUAL_TO"),  # type: ignore[arg-type]
    (job(task("a", SqlTask())), "neither a query nor a file", "one of them"),
    (job(task("a", SqlTask("select 1", "a.sql"))), "both a query and a file", "one of them"),
    (job(task("a", NotebookTask(""))), "names no notebook", "notebook_path"),
    (job(task("a", SparkPythonTask(""))), "names no file", "python_file"),
    (job(task("a", RunJobTask("churn"))), "runs its own job", "another job"),
    (job(parameters={"n": 3}), "default 3", 'write "3"'),
    (job(parameters={"a b": "3"}), "'a b' can't be a parameter's name", "letters"),
    (job(folder="here"), "has the folder 'here'", "absolute"),
    (job(schedule=CronSchedule("0 6 * * *")), "0 6 * * *", "0 0 6"),
    (job(schedule=CronSchedule("0 0 6 30 2 ?")), "", ""),
    (job(schedule=CronSchedule("0 0 6 * * ?", "Europe/Berln")), "Europe/Berln", "Europe/Berlin"),
    (job(trigger=TableUpdateTrigger(())), "names no table", "table_names"),
    (job(trigger=ModelTrigger("")), "names no model", "securable_name"),
    (job(trigger=ModelTrigger("ml.m.c", "MODEL_ALIAS_SET")), "names no alias", "aliases"),
    (job(trigger=AlertTrigger(())), "names no alert rule", "rules"),
]


@pytest.mark.parametrize(("wrong", "message", "hint"), _CASES, ids=[case[1] or "never" for case in _CASES])
def test_a_wrong_job_is_refused_with_the_fix(wrong: Job, message: str, hint: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        check_job(wrong)
    assert message in raised.value.message
    assert hint in raised.value.hint
    assert raised.value.hint


def test_a_right_job_passes() -> None:
    check_job(
        job(
            task("a", ConditionTask("EQUAL_TO", "{{job.parameters.day}}", "x")),
            task("b", _FILE, TaskDependency("a", "true"), max_retries=-1),
            task("c", RunJobTask("other"), "b", run_if="ALL_DONE"),
            schedule=CronSchedule("0 0 6 * * ?", "Europe/Berlin"),
            parameters={"day": "{{job.trigger.time.iso_date}}"},
            folder="/srv/churn",
        )
    )


def test_jobs_that_run_each_other_in_a_circle_are_refused() -> None:
    check_calls({"a": ["b", "c"], "b": ["c"], "c": []})
    with pytest.raises(InvalidInput, match="job 'a' runs itself: a -> b -> c -> a"):
        check_calls({"a": ["b"], "b": ["c"], "c": ["a"]})
    with pytest.raises(InvalidInput, match="job 'b' runs itself"):
        check_calls({"a": ["b"], "b": ["b"]})
