"""Jobs as documents: both ways the same, and what is wrong is named."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.core.errors import InvalidInput
from millrace.jobs.documents import KINDS, job_document, job_of, kind_of, work_document, work_of
from millrace.jobs.job import (
    AlertTask,
    AlertTrigger,
    ConditionTask,
    CronSchedule,
    FeatureRefreshTask,
    Job,
    ModelTrigger,
    MonitorTask,
    NotebookTask,
    Operator,
    PipelineTask,
    RetrainTask,
    RunIf,
    RunJobTask,
    SparkPythonTask,
    SqlTask,
    TableUpdateTrigger,
    Task,
    TaskDependency,
    Work,
)

_TEXT = st.text(max_size=8)
_TEXTS = st.lists(_TEXT, max_size=3).map(tuple)
_NAMED = st.dictionaries(_TEXT, _TEXT, max_size=3)
_WORK: st.SearchStrategy[Work] = st.one_of(
    st.builds(PipelineTask, _TEXT),
    st.builds(FeatureRefreshTask, _TEXT, _TEXTS),
    st.builds(MonitorTask, _TEXT),
    st.builds(RetrainTask, _TEXT, force=st.booleans()),
    st.builds(AlertTask, _TEXTS),
    st.builds(NotebookTask, _TEXT, _NAMED),
    st.builds(SparkPythonTask, _TEXT, _TEXTS),
    st.builds(SqlTask, st.none() | _TEXT, st.none() | _TEXT, _NAMED),
    st.builds(ConditionTask, st.sampled_from(get_args(Operator)), _TEXT, _TEXT),
    st.builds(RunJobTask, _TEXT, _NAMED),
)
_TASK = st.builds(
    Task,
    _TEXT,
    _WORK,
    depends_on=st.lists(st.builds(TaskDependency, _TEXT, st.sampled_from([None, "true", "false"])), max_size=3),
    run_if=st.sampled_from(get_args(RunIf)),
    max_retries=st.integers(-1, 5),
    min_retry_interval_millis=st.integers(0, 10**6),
    retry_on_timeout=st.booleans(),
    timeout_seconds=st.integers(0, 10**6),
    description=_TEXT,
)
_PAUSE = st.sampled_from(["PAUSED", "UNPAUSED"])
_TRIGGER = st.one_of(
    st.builds(TableUpdateTrigger, _TEXTS, st.sampled_from(["ANY_UPDATED", "ALL_UPDATED"])),
    st.builds(ModelTrigger, _TEXT, st.sampled_from(["MODEL_VERSION_READY", "MODEL_ALIAS_SET"]), _TEXTS),
    st.builds(AlertTrigger, _TEXTS, _TEXTS),
)
_JOB = st.builds(
    Job,
    _TEXT,
    st.lists(_TASK, max_size=4),
    schedule=st.none() | st.builds(CronSchedule, _TEXT, _TEXT, _PAUSE, st.sampled_from(["last", "all", "skip"])),
    trigger=st.none() | _TRIGGER,
    pause_status=_PAUSE,
    parameters=_NAMED,
    max_concurrent_runs=st.integers(1, 9),
    queue=st.booleans(),
    timeout_seconds=st.integers(0, 10**6),
    tags=_NAMED,
    description=_TEXT,
    folder=_TEXT,
)


@settings(max_examples=200, deadline=None)
@given(_JOB)
def test_a_job_comes_back_from_its_document_as_it_was(job: Job) -> None:
    assert job_of(json.loads(json.dumps(job_document(job)))) == job


@settings(max_examples=200, deadline=None)
@given(_WORK)
def test_work_comes_back_from_its_document_as_it_was(work: Work) -> None:
    assert work_of(kind_of(work), json.loads(json.dumps(work_document(work)))) == work


def test_a_dependency_may_be_a_key_alone() -> None:
    job = Job("a", [Task("x", PipelineTask("p.py")), Task("y", PipelineTask("p.py"), depends_on=["x"])])
    assert job_of(job_document(job)).tasks[1].depends_on == [TaskDependency("x")]


def test_a_document_as_the_jobs_api_sends_it_is_read() -> None:
    job = job_of(
        {
            "name": "nightly",
            "schedule": {"quartz_cron_expression": "0 0 6 * * ?", "timezone_id": "UTC", "pause_status": "PAUSED"},
            "parameters": [{"name": "day", "default": "today"}],
            "tasks": [
                {"task_key": "a", "notebook_task": {"notebook_path": "a.ipynb", "source": "WORKSPACE"}},
                {
                    "task_key": "b",
                    "depends_on": [{"task_key": "a"}],
                    "sql_task": {"file": {"path": "b.sql", "source": "GIT"}},
                },
            ],
        }
    )
    assert job == Job(
        "nightly",
        [
            Task("a", NotebookTask("a.ipynb"), depends_on=[]),
            Task("b", SqlTask(file="b.sql"), depends_on=[TaskDependency("a")]),
        ],
        schedule=CronSchedule("0 0 6 * * ?", pause_status="PAUSED"),
        parameters={"day": "today"},
    )


_GOOD: dict[str, Any] = {"name": "a", "tasks": [{"task_key": "x", "spark_python_task": {"python_file": "a.py"}}]}


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        ({"max_concurent_runs": 2}, "the job has a field 'max_concurent_runs'", "max_concurrent_runs"),
        ({"max_concurrent_runs": "2"}, "the job has max_concurrent_runs '2'", "a whole number"),
        ({"max_concurrent_runs": True}, "the job has max_concurrent_runs True", "a whole number"),
        ({"name": None}, "the job has no name", "give name"),
        ({"name": 3}, "the job has name 3, and should have a text", 'write "3"'),
        ({"tasks": "x"}, "the job has tasks 'x'", "a list of objects"),
        ({"tasks": ["x"]}, "tasks[0] of the job is 'x'", "write {"),
        ({"tasks": [{"task_key": "x"}]}, "task 'x' does nothing", "notebook_task"),
        ({"queue": {"enabled": "no"}}, "queue of the job has enabled 'no'", "true or false"),
        ({"tags": {"a": 1}}, "the job has tags.a 1", 'write "1"'),
        ({"schedule": {"quartz_cron_expression": "x", "catch_up": "never"}}, "catch_up 'never'", "last"),
        ({"trigger": {"table_update": {}, "alert": {}}}, "is both table_update and alert", "one trigger"),
        ({"parameters": [{"default": "x"}]}, "parameters[0] of the job has no name", "give name"),
    ],
)
def test_what_is_wrong_in_a_document_is_named(change: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        job_of({**_GOOD, **change})
    assert message in raised.value.message
    assert hint in raised.value.hint


def test_a_task_of_two_kinds_or_with_an_unknown_field_is_refused() -> None:
    both = {"task_key": "x", "spark_python_task": {"python_file": "a.py"}, "monitor_task": {"pipeline": "p"}}
    with pytest.raises(InvalidInput, match="is both monitor_task and spark_python_task"):
        job_of({"name": "a", "tasks": [both]})
    wrong = {"task_key": "x", "spark_python_task": {"python_file": "a.py", "paramters": []}}
    with pytest.raises(InvalidInput, match="did you mean 'parameters'"):
        job_of({"name": "a", "tasks": [wrong]})
    with pytest.raises(InvalidInput, match="did you mean 'run_if'"):
        job_of({"name": "a", "tasks": [{**_GOOD["tasks"][0], "runif": "ALL_DONE"}]})


def test_each_kind_has_its_name() -> None:
    assert set(KINDS.values()) == set(get_args(Work))
    assert kind_of(replace(PipelineTask("a"))) == "pipeline_task"
