"""Whether an attempt is followed by another, and when; conditions; what an attempt came to."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.core.errors import InvalidInput
from millrace.jobs.attempt_files import TaskFailure, read_attempt, read_outcome, write_attempt, write_outcome
from millrace.jobs.condition import outcome
from millrace.jobs.engine.end_attempt import INTERRUPTED, REFUSED, TIMED_OUT, ended
from millrace.jobs.job import ConditionTask, NotebookTask, SparkPythonTask, Task
from millrace.jobs.job_run import LifeCycleState, ResultState, RunId, TaskContext, TaskOutcome, TaskRun
from millrace.jobs.port import Ended
from millrace.jobs.retry import may_be_resumed, wait_s


def attempt(number: int, state: LifeCycleState = "TERMINATED", result: ResultState | None = "FAILED") -> TaskRun:
    return TaskRun(RunId(1), RunId(2 + number), "a", number, state, result, "", None, None)


def task(**more: Any) -> Task:
    return Task("a", SparkPythonTask("a.py"), **more)


def test_pauses_double_up_to_an_hour() -> None:
    waits = [wait_s(task(max_retries=-1), [attempt(n) for n in range(count)], "FAILED") for count in range(1, 15)]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600]
    long = task(max_retries=-1, min_retry_interval_millis=7_200_000)
    assert wait_s(long, [attempt(n) for n in range(5_000)], "FAILED") == 7_200


def test_retries_end_and_interruptions_are_not_counted() -> None:
    interrupted = attempt(0, "INTERNAL_ERROR")
    two = task(max_retries=2)
    assert wait_s(two, [attempt(0), attempt(1)], "FAILED") == 2
    assert wait_s(two, [attempt(0), attempt(1), attempt(2)], "FAILED") is None
    assert wait_s(two, [interrupted, attempt(1), interrupted, attempt(3)], "FAILED") == 2
    assert wait_s(task(), [attempt(0)], "FAILED") is None


def test_a_time_out_is_tried_again_where_the_task_says_so() -> None:
    assert wait_s(task(max_retries=2), [attempt(0)], "TIMEDOUT") is None
    assert wait_s(task(max_retries=2, retry_on_timeout=True), [attempt(0)], "TIMEDOUT") == 1
    results: tuple[ResultState, ...] = ("SUCCESS", "CANCELED")
    for result in results:
        assert wait_s(task(max_retries=2), [attempt(0)], result) is None


def test_what_was_interrupted_a_hundred_times_is_not_resumed() -> None:
    interrupted = [attempt(number, "INTERNAL_ERROR") for number in range(100)]
    assert may_be_resumed(interrupted[:99])
    assert not may_be_resumed(interrupted)


@pytest.mark.parametrize(
    ("left", "op", "right", "expected"),
    [
        ("7", "EQUAL_TO", "7.0", "true"),
        ("10", "GREATER_THAN", "9", "true"),
        ("b10", "GREATER_THAN", "b9", "false"),
        ("0.1", "EQUAL_TO", "0.10000000000000000001", "false"),
        ("true", "EQUAL_TO", "true", "true"),
        ("True", "EQUAL_TO", "true", "false"),
        ("nan", "EQUAL_TO", "nan", "true"),
        ("1_0", "EQUAL_TO", "10", "false"),
        ("", "NOT_EQUAL", "0", "true"),
        (" 5 ", "LESS_THAN_OR_EQUAL", "5", "true"),
        ("-1e3", "LESS_THAN", "-999", "true"),
    ],
)
def test_a_condition_compares_numbers_as_numbers(left: str, op: Any, right: str, expected: str) -> None:
    assert outcome(ConditionTask(op, left, right)) == expected


@settings(max_examples=200, deadline=None)
@given(st.decimals(allow_nan=False, allow_infinity=False), st.decimals(allow_nan=False, allow_infinity=False))
def test_of_two_numbers_each_operator_says_what_it_says(left: Decimal, right: Decimal) -> None:
    said = {op: outcome(ConditionTask(op, str(left), str(right))) == "true" for op in _OPERATORS}
    assert said == {
        "EQUAL_TO": left == right,
        "NOT_EQUAL": left != right,
        "GREATER_THAN": left > right,
        "GREATER_THAN_OR_EQUAL": left >= right,
        "LESS_THAN": left < right,
        "LESS_THAN_OR_EQUAL": left <= right,
    }


_OPERATORS: Any = (
    "EQUAL_TO",
    "NOT_EQUAL",
    "GREATER_THAN",
    "GREATER_THAN_OR_EQUAL",
    "LESS_THAN",
    "LESS_THAN_OR_EQUAL",
)


def test_an_attempt_reads_what_it_is_told(tmp_path: Path) -> None:
    context = TaskContext(
        "/home", "/job", str(tmp_path / "a"), "churn", RunId(1), RunId(2), "a", 0, "PERIODIC", None, {"day": "häufig"}
    )
    path = write_attempt(context, NotebookTask("a.ipynb", {"x": "1"}))
    assert read_attempt(path) == (context, NotebookTask("a.ipynb", {"x": "1"}))
    path.write_text("{}")
    with pytest.raises(InvalidInput):
        read_attempt(path)


def test_an_outcome_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    assert read_outcome(tmp_path) is None
    with pytest.raises(InvalidInput, match="not JSON"):
        write_outcome(tmp_path, TaskOutcome({"a": object()}))
    assert read_outcome(tmp_path) is None
    for said in (TaskOutcome({"rows": 3}, "done"), TaskFailure("no", "try", {"cell": 7}), TaskOutcome(refused=True)):
        write_outcome(tmp_path, said)
        assert read_outcome(tmp_path) == said
    (tmp_path / "outcome.json").write_text(json.dumps([1]))
    assert read_outcome(tmp_path) is None


def test_what_an_attempt_came_to(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("first\n  last  \n\n")

    def said(code: int | None, reason: str = "") -> Ended:
        return ended(tmp_path, log, code, reason)

    assert said(3) == Ended("FAILED", "ended with code 3: last")
    assert said(0) == Ended("FAILED", "ended without an outcome: last")
    assert said(137) == Ended("FAILED", "killed by SIGKILL: last")
    assert said(255) == Ended("FAILED", "ended with code 255: last")
    assert said(None) == Ended("FAILED", "what kept its process was killed", {}, interrupted=True)
    assert said(143, f"{TIMED_OUT} after 5 s") == Ended("TIMEDOUT", "timed out after 5 s")
    assert said(143, INTERRUPTED) == Ended("FAILED", INTERRUPTED, {}, interrupted=True)
    assert said(143, "canceled by user:ada") == Ended("CANCELED", "canceled by user:ada")
    write_outcome(tmp_path, TaskFailure("cell 7 failed", "see the notebook", {"cell": 7}))
    assert said(1) == Ended("FAILED", "cell 7 failed\n  hint: see the notebook", {"cell": 7})
    write_outcome(tmp_path, TaskOutcome({"auc": 0.6}, "below 0.8", refused=True))
    assert said(0) == Ended("FAILED", "below 0.8", {"auc": 0.6, REFUSED: True})
    write_outcome(tmp_path, TaskOutcome({"rows": 3}))
    # What was done before it was ended was done.
    assert said(None, INTERRUPTED) == said(137) == said(0) == Ended("SUCCESS", "", {"rows": 3})
