"""A run that has begun, as the executor has it in memory: what the database says, and what goes on in this process."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from millrace.core.clock import epoch_us
from millrace.jobs import graph
from millrace.jobs.engine.child import Child
from millrace.jobs.graph import Moves, Standing
from millrace.jobs.job import Job, RunJobTask, Task
from millrace.jobs.job_run import JobRun, ResultState, RunId, TaskRun

_LONGEST_WAIT_S = 366 * 86_400.0


@dataclass
class LiveRun:
    """One run.

    Attributes:
        until_s: when the run's time-out is over, monotonic.
        attempts: of each task, oldest first.
        children: processes of attempts, by task.
        calls: runs that run-job tasks wait for, by task.
        retries: when the next attempt may begin, monotonic, by task.
        starting: tasks that may start, and wait for a process to be free.
    """

    run: JobRun
    job: Job
    until_s: float | None = None
    attempts: dict[str, list[TaskRun]] = field(default_factory=dict)
    children: dict[str, Child] = field(default_factory=dict)
    calls: dict[str, RunId] = field(default_factory=dict)
    retries: dict[str, float] = field(default_factory=dict)
    starting: set[str] = field(default_factory=set)

    @property
    def is_stopping(self) -> bool:
        """Whether it is to end before its time."""
        return self.run.life_cycle_state == "TERMINATING"

    @property
    def is_quiet(self) -> bool:
        """Whether nothing of it goes on."""
        return not self.children and not self.calls

    def take(self, attempts: Iterable[TaskRun]) -> None:
        """New states of attempts."""
        for each in attempts:
            known = self.attempts.setdefault(each.task_key, [])
            if known and known[-1].task_run_id == each.task_run_id:
                known[-1] = each
            else:
                known.append(each)

    def task(self, key: str) -> Task:
        """The task of that key."""
        return next(task for task in self.job.tasks if task.task_key == key)

    def newest(self, key: str) -> TaskRun:
        """Its newest attempt."""
        return self.attempts[key][-1]

    def of_this_repair(self, key: str) -> list[TaskRun]:
        """Its attempts since the run was begun, or repaired last."""
        return [each for each in self.attempts[key] if each.repair == self.newest(key).repair]

    def moves(self) -> Moves:
        """What may start, and what is not to run."""
        return graph.moves(self.job.tasks, self._standings())

    def result(self) -> ResultState | None:
        """As what the run ends; None where something is still to come."""
        return graph.result(self.job.tasks, self._standings())

    def reason(self) -> str:
        """What a run that failed says: which of its tasks failed, and how the first of them."""
        failed = [key for key in self._keys() if self.newest(key).result_state in {"FAILED", "TIMEDOUT"}]
        if not failed:
            return ""
        others = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        return f"task '{failed[0]}'{others}: {self.newest(failed[0]).state_message}"

    def unfinished(self) -> list[TaskRun]:
        """Attempts that have not ended."""
        return [self.newest(key) for key in self._keys() if not self.newest(key).is_over]

    def _keys(self) -> list[str]:
        return [task.task_key for task in self.job.tasks]

    def _standings(self) -> dict[str, Standing]:
        return {key: _standing(self.newest(key)) for key in self._keys()}


def calls_job(task: Task) -> bool:
    """Whether it is a run-job task."""
    return isinstance(task.work, RunJobTask)


def monotonic_of(moment: datetime | None, longest_s: float = _LONGEST_WAIT_S) -> float | None:
    """When a time by the machine's clock is, monotonic; not later than the longest from now, however the clock was put."""
    if moment is None:
        return None
    left_s = epoch_us(moment) / 1e6 - time.time()
    return time.monotonic() + min(max(left_s, 0.0), longest_s)


def _standing(attempt: TaskRun) -> Standing:
    if attempt.life_cycle_state == "BLOCKED":
        return Standing("waiting")
    if not attempt.is_over or attempt.result_state is None:
        return Standing("running")
    said = attempt.output.get("outcome")
    return Standing(attempt.result_state, said if isinstance(said, str) else None)
