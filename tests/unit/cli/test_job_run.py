from __future__ import annotations

from datetime import UTC, datetime

import pytest

from millrace.cli.job_run import _is_refused
from millrace.cli.job_watch import _tell
from millrace.jobs.job_run import ResultState, RunId, TaskRun

BEGAN = datetime(2025, 3, 1, 6, tzinfo=UTC)


def attempt(output: dict[str, object], process: str | None = "host:token", result: ResultState = "FAILED") -> TaskRun:
    return TaskRun(
        RunId(1), RunId(2), "train", 0, "TERMINATED", result, "roc_auc 0.5 < 0.8", BEGAN, BEGAN, output, process=process
    )


@pytest.mark.parametrize(
    ("failed", "refused"),
    [
        ([], False),
        ([attempt({"refused": True})], True),
        ([attempt({"refused": True}), attempt({})], False),
        ([attempt({"refused": True}, process=None)], False),  # a reference that can't be filled in, and no gate
    ],
)
def test_a_run_is_refused_where_all_that_failed_is_what_a_gate_said_no_to(failed: list[TaskRun], refused: bool) -> None:  # noqa: FBT001
    assert _is_refused(failed) is refused


class Told:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str, str]] = []

    def stage(self, name: str, status: str, detail: str = "", seconds: float | None = None) -> None:
        del seconds
        self.lines.append((name, status, detail))

    def advance(self, name: str, done: int, total: int) -> None:
        raise AssertionError((name, done, total))


def test_each_change_of_a_task_is_told_once() -> None:
    shown, known = Told(), dict[tuple[str, int], str]()
    for each in (attempt({}), attempt({}), attempt({}, result="UPSTREAM_FAILED")):
        _tell(each, known, shown)
    assert shown.lines == [
        ("train", "failed", "roc_auc 0.5 < 0.8"),
        ("train", "skipped", "did not run: one before it failed"),
    ]
