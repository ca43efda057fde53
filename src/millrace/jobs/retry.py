"""Whether an attempt that ended is followed by another, and when. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from millrace.jobs.job import Task
from millrace.jobs.job_run import ResultState, TaskRun

_LONGEST_WAIT_S = 3_600.0
_MOST_INTERRUPTIONS = 100
ENDLESS = -1


def wait_s(task: Task, attempts: Sequence[TaskRun], result: ResultState) -> float | None:
    """How long to wait before the next attempt; None where there is none.

    Args:
        task: as it is declared.
        attempts: those of the task in this repair of the run, the newest being the one that ends now.
        result: as what it ends.
    """
    if result not in {"FAILED", "TIMEDOUT"} or (result == "TIMEDOUT" and not task.retry_on_timeout):
        return None
    failures = 1 + sum(is_failure(each) for each in attempts[:-1])
    if task.max_retries != ENDLESS and failures > task.max_retries:
        return None
    first_s = task.min_retry_interval_millis / 1_000
    return min(first_s * 2.0 ** min(failures - 1, 64), max(first_s, _LONGEST_WAIT_S))


def may_be_resumed(attempts: Sequence[TaskRun]) -> bool:
    """Whether an interrupted task runs again: not where it was interrupted so often that it may be what kills its executor."""
    return sum(each.life_cycle_state == "INTERNAL_ERROR" for each in attempts) < _MOST_INTERRUPTIONS


def is_failure(attempt: TaskRun) -> bool:
    """Whether an attempt failed by itself; an interrupted one did not."""
    return attempt.life_cycle_state == "TERMINATED" and attempt.result_state in {"FAILED", "TIMEDOUT"}
