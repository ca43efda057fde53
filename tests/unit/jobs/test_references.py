"""References: what they may name, and what comes in their place."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from millrace.core.errors import InvalidInput
from millrace.jobs.job import ConditionTask, Job, NotebookTask, RunJobTask, SparkPythonTask, SqlTask, Task, Work
from millrace.jobs.references import Known, check_references, fill, fill_parameters, times

_RUN = {"job.run_id": "7", "task.name": "b", **times("job.trigger.time", datetime(2025, 3, 1, 6, 5, tzinfo=UTC))}
_KNOWN = Known(
    run=_RUN,
    parameters={"day": "monday", "a.b": "dotted"},
    values={"a": {"n": 3, "rate": 0.5, "ok": True, "none": None, "who": "häufig", "rows": [1, {"x": 2}]}},
    outputs={"a": {"outcome": "true", "first_row": {"total": 12}}},
    results={"a": "SUCCESS"},
    task_runs={"a": 5},
)


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("{{job.run_id}}", "7"),
        ("run {{ job.run_id }} of {{task.name}}", "run 7 of b"),
        ("{{job.trigger.time.iso_date}}", "2025-03-01"),
        ("{{job.trigger.time.iso_datetime}}", "2025-03-01T06:05:00Z"),
        ("{{job.trigger.time.iso_weekday}} {{job.trigger.time.is_weekday}}", "6 false"),
        ("{{job.trigger.time.hour}}:{{job.trigger.time.minute}}", "6:5"),
        ("{{job.trigger.time.timestamp_ms}}", "1740809100000"),
        ("{{job.parameters.day}} {{job.parameters.a.b}}", "monday dotted"),
        ("{{tasks.a.values.n}} {{tasks.a.values.rate}} {{tasks.a.values.ok}}", "3 0.5 true"),
        ("{{tasks.a.values.none}} {{tasks.a.values.who}}", "null häufig"),
        ("{{tasks.a.values.rows}}", '[1, {"x": 2}]'),
        ("{{tasks.a.output.outcome}} {{tasks.a.output.first_row.total}}", "true 12"),
        ("{{tasks.a.result_state}} {{tasks.a.run_id}}", "SUCCESS 5"),
        ("no reference { job.run_id }", "no reference { job.run_id }"),
        ("{{tasks.a.values.who}}{{job.run_id}}", "häufig7"),
    ],
)
def test_a_reference_is_replaced(text: str, filled: str) -> None:
    assert fill(SparkPythonTask("a.py", (text,)), _KNOWN) == SparkPythonTask("a.py", (filled,))


def test_what_a_value_says_is_not_read_as_a_reference() -> None:
    known = Known({}, {"x": "{{job.parameters.y}}", "y": "no"}, {}, {}, {}, {})
    assert fill(ConditionTask("EQUAL_TO", "{{job.parameters.x}}", ""), known) == ConditionTask(
        "EQUAL_TO", "{{job.parameters.y}}", ""
    )


def test_every_text_of_the_work_is_filled_in() -> None:
    reference, text = "{{job.run_id}}", "7"
    pairs: list[tuple[Work, Work]] = [
        (NotebookTask(reference, {"a": reference}), NotebookTask(text, {"a": text})),
        (SqlTask(reference, None, {"b": reference}), SqlTask(text, None, {"b": text})),
        (RunJobTask(reference, {"c": reference}), RunJobTask(text, {"c": text})),
    ]
    for given, expected in pairs:
        assert fill(given, _KNOWN) == expected


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("tasks.a.values.m", "no value 'm' set by task 'a'"),
        ("tasks.c.values.m", "no value 'm' set by task 'c'"),
        ("tasks.a.output.rows", "no output 'rows' of task 'a'"),
        ("tasks.a.output.outcome.x", "no output 'x' of task 'a'"),
        ("job.parameters.x", "no parameter 'x' of the job"),
    ],
)
def test_what_is_not_there_when_the_task_starts_is_a_failure(reference: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        fill(SparkPythonTask("a.py", (f"{{{{{reference}}}}}",)), _KNOWN)


def _job(text: str) -> Job:
    tasks = [
        Task("a", SparkPythonTask("a.py")),
        Task("aside", SparkPythonTask("a.py")),
        Task("b", SparkPythonTask("b.py", (text,)), depends_on=["a"]),
        Task("c", SparkPythonTask("c.py"), depends_on=["b"]),
    ]
    return Job("churn", tasks, parameters={"day": "today"})


@pytest.mark.parametrize(
    "reference",
    [
        "job.id",
        "job.run_id",
        "job.parameters.day",
        "job.start_time.year",
        "task.execution_count",
        "tasks.a.values.anything",
        "tasks.a.output.x.y",
        "tasks.a.result_state",
        "tasks.a.run_id",
    ],
)
def test_a_reference_that_can_be_known_passes(reference: str) -> None:
    check_references(_job(f"{{{{{reference}}}}}"))


@pytest.mark.parametrize(
    ("reference", "message", "hint"),
    [
        ("job.parameters.dya", "has no parameter 'dya'", "did you mean 'day'?"),
        ("job.runid", "no such reference", "did you mean 'job.run_id'?"),
        ("tasks.aa.values.n", "there is no task 'aa'", "did you mean 'a'?"),
        ("tasks.c.values.n", "'c' does not come before it", "let 'b' depend on 'c'"),
        ("tasks.aside.values.n", "'aside' does not come before it", "let 'b' depend on 'aside'"),
        ("tasks.b.values.n", "'b' does not come before it", ""),
        ("tasks.a.value.n", "no such reference", "tasks.a.values.NAME"),
        ("tasks.a.values", "no such reference", "tasks.a.values.NAME"),
        ("tasks.a", "no such reference", "tasks.a."),
        ("", "no such reference", ""),
        ("secrets.x.y", "no such reference", ""),
    ],
)
def test_a_reference_that_can_never_be_known_is_refused_when_the_job_is_put(
    reference: str, message: str, hint: str
) -> None:
    with pytest.raises(InvalidInput) as raised:
        check_references(_job(f"{{{{{reference}}}}}"))
    assert message in raised.value.message
    assert raised.value.message.startswith("task 'b' has {{" + reference)
    assert hint in raised.value.hint


def test_a_parameters_default_may_name_what_is_known_of_the_run() -> None:
    assert fill_parameters({"day": "{{job.trigger.time.iso_date}}"}, _RUN) == {"day": "2025-03-01"}
    wrong = Job("churn", [Task("a", SparkPythonTask("a.py"))], parameters={"day": "{{tasks.a.values.n}}"})
    with pytest.raises(InvalidInput, match="the default of parameter 'day'"):
        check_references(wrong)


@pytest.mark.parametrize("reference", ["foo", "tasks.a", "tasks.a.values", "tasks.a.output", "a.b.c", ""])
def test_a_reference_in_a_parameter_of_a_run_is_never_more_than_unknown(reference: str) -> None:
    with pytest.raises(InvalidInput, match="there is no such reference"):
        fill_parameters({"day": f"{{{{{reference}}}}}"}, _RUN)
