"""A run of a job, and of each task: one row for each attempt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NewType

JobId = NewType("JobId", int)
RunId = NewType("RunId", int)
LifeCycleState = Literal[
    "QUEUED",
    "PENDING",
    "BLOCKED",
    "WAITING_FOR_RETRY",
    "RUNNING",
    "TERMINATING",
    "TERMINATED",
    "SKIPPED",
    "INTERNAL_ERROR",
]
ENDED: frozenset[LifeCycleState] = frozenset({"TERMINATED", "SKIPPED", "INTERNAL_ERROR"})
ResultState = Literal["SUCCESS", "FAILED", "TIMEDOUT", "CANCELED", "EXCLUDED", "UPSTREAM_FAILED", "UPSTREAM_CANCELED"]
# What made a run begin.
TriggerType = Literal["ONE_TIME", "PERIODIC", "TABLE", "MODEL", "ALERT", "RUN_JOB_TASK"]


@dataclass(frozen=True, slots=True)
class JobRun:
    """One run. Times are the Clock's; `due` is the tick that it is for, where a schedule made it.

    Attributes:
        job: the job's name; the job itself may have changed or gone since: the store knows what it was.
        token: what the run is known by from outside: asking twice under one token makes one run.
        number: 1 for the job's first run.
        repairs: how often it was repaired.
        caller: the attempt of a run-job task that asked for it.
        deadline: when its time-out is over, by the machine's clock; set when it starts.
        stop_as: as what it is to end, where it is to stop.
    """

    run_id: RunId
    job_id: JobId
    job: str
    token: str
    number: int
    trigger: TriggerType
    due: datetime | None
    parameters: Mapping[str, str]
    life_cycle_state: LifeCycleState
    result_state: ResultState | None
    state_message: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    by: str
    repairs: int = 0
    caller: RunId | None = None
    deadline: datetime | None = None
    stop_as: Literal["CANCELED", "TIMEDOUT"] | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes, until somebody repairs it."""
        return self.life_cycle_state in ENDED


@dataclass(frozen=True, slots=True)
class TaskRun:
    """One attempt of a task; a task without one has a row too, `BLOCKED`, or `EXCLUDED` where it was not to run.

    Attributes:
        attempt: 0 for the first.
        output: JSON: what a notebook exited with, a condition's outcome, how many rows a query had.
        log_path: where its output is written; None where it never ran.
        repair: in which repair of the run it was made; 0: none.
        retry_at: when it may begin, by the machine's clock, where it waits for that.
        process: `HOST:TOKEN`, where it has processes: each has the token in its environment, as `MILLRACE_ATTEMPT`.
    """

    run_id: RunId
    task_run_id: RunId
    task_key: str
    attempt: int
    life_cycle_state: LifeCycleState
    result_state: ResultState | None
    state_message: str
    started_at: datetime | None
    ended_at: datetime | None
    output: Mapping[str, object] = field(default_factory=dict)
    log_path: str | None = None
    repair: int = 0
    retry_at: datetime | None = None
    process: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether this attempt has ended."""
        return self.life_cycle_state in ENDED


@dataclass(frozen=True, slots=True)
class TaskContext:
    """What an attempt is told.

    Attributes:
        folder: what paths are relative to.
        artifacts: a folder of the attempt's own, kept with the run: an executed notebook goes there.
        parameters: the job's, as the run has them; references in the work are filled in already.
    """

    home: str
    folder: str
    artifacts: str
    job: str
    run_id: RunId
    task_run_id: RunId
    task_key: str
    attempt: int
    trigger: TriggerType
    due: datetime | None
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """What an attempt came to, where it raised nothing. `refused` ends the task as FAILED, with its reasons: a gate said no."""

    output: Mapping[str, object] = field(default_factory=dict)
    message: str = ""
    refused: bool = False
