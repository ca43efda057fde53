from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from millrace.jobs.job_run import RunId, TaskRun
from millrace.tasks.show import log_tail, task_json

BEGAN = datetime(2025, 3, 1, 6, tzinfo=UTC)


def attempt(log: Path | None) -> TaskRun:
    path = None if log is None else str(log)
    return TaskRun(RunId(1), RunId(2), "train", 0, "TERMINATED", "FAILED", "no rows", BEGAN, BEGAN, {"n": 1}, path)


@pytest.mark.parametrize("lines", [0, 1, 5, 10_000])
def test_the_tail_of_a_log_is_its_last_lines(tmp_path: Path, lines: int) -> None:
    log = tmp_path / "train.log"
    log.write_text("".join(f"line {number} ü\n" for number in range(lines)))
    assert log_tail(attempt(log), 3) == [f"line {number} ü" for number in range(lines)][-3:]


def test_a_task_that_wrote_nothing_has_no_tail(tmp_path: Path) -> None:
    assert log_tail(attempt(None)) == []
    assert log_tail(attempt(tmp_path / "gone.log")) == []


def test_an_attempt_is_shown_in_the_jobs_apis_words(tmp_path: Path) -> None:
    shown = task_json(attempt(tmp_path / "train.log"))
    assert shown["state"] == {
        "life_cycle_state": "TERMINATED",
        "result_state": "FAILED",
        "state_message": "no rows",
    }
    assert (shown["task_key"], shown["output"], shown["attempt_number"]) == ("train", {"n": 1}, 0)
