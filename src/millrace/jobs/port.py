"""What jobs need from the world: jobs, runs and their attempts, task values, and what the executor needs to resume and to be alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from millrace.core.clock import Clock
from millrace.core.events import EventLog
from millrace.core.principal import Principal
from millrace.jobs.job import Job
from millrace.jobs.job_run import JobId, JobRun, ResultState, RunId, TaskRun, TriggerType
from millrace.jobs.types import PipelineRun, PipelineRunId, StageRun, Status


class RunStore(Protocol):
    """Runs and their stages. Process-safe; what returned is durable, so a killed run can be told from a finished one."""

    def start(self, pipeline: str, due: datetime, at: datetime, by: str, reason: str) -> PipelineRunId:
        """Open a run; runs of the pipeline that were still `running` become `interrupted` (their process is gone: the caller holds the lease)."""
        ...

    def end(self, run: PipelineRunId, status: Status, at: datetime) -> None: ...

    def start_stage(self, run: PipelineRunId, pipeline: str, stage: str, fingerprint: str, at: datetime) -> int:
        """Open a stage and return its id."""
        ...

    def end_stage(
        self, stage_id: int, status: Status, at: datetime, seconds: float, output: Mapping[str, object]
    ) -> None: ...

    def done(self, pipeline: str, stage: str, fingerprint: str) -> StageRun | None:
        """The newest run of this stage with this fingerprint that ended `done` or `refused`."""
        ...

    def latest(self, pipeline: str, stage: str) -> StageRun | None:
        """The newest run of this stage, whatever its fingerprint, that ended `done`, `refused` or `waiting`."""
        ...

    def history(self, pipeline: str, stage: str) -> Sequence[StageRun]:
        """Every run of this stage that ended `done`, oldest first, of each fingerprint the first one."""
        ...

    def runs(self, pipeline: str | None = None, limit: int = 20) -> Sequence[PipelineRun]:
        """Newest first."""
        ...

    def stages(self, run: PipelineRunId) -> Sequence[StageRun]:
        """In the order that they started."""
        ...


class Leases(Protocol):
    """Who may do what only one may. Times are the machine's, not the Clock's: a lease is about live processes."""

    def acquire(self, name: str, holder: str, ttl_s: float) -> bool:
        """Take or renew the lease; False where another holder has it and it has not expired."""
        ...

    def release(self, name: str, holder: str) -> None: ...

    def holder(self, name: str) -> str | None:
        """Who holds it now; None where nobody does."""
        ...


@dataclass(frozen=True, slots=True)
class KeptJob:
    """A job as it is kept."""

    job_id: JobId
    job: Job
    owner: str
    created_at: datetime
    updated_at: datetime


class JobStore(Protocol):
    """Jobs by name. Thread- and process-safe, durable; each change is in the event log. Unknown ones raise NotFound with the nearest."""

    def put(self, job: Job) -> KeptJob:
        """Write a job, or replace what it was; its id stays. Writes nothing where it is the same."""
        ...

    def get(self, name: str) -> KeptJob: ...

    def find(self, name: str) -> KeptJob | None: ...

    def of_id(self, job_id: JobId) -> KeptJob: ...

    def list(self) -> Sequence[KeptJob]:
        """By name."""
        ...

    def remove(self, name: str) -> None:
        """Delete the job; its runs stay. Its id is not given again."""
        ...


@dataclass(frozen=True, slots=True)
class RunOrder:
    """A run that somebody asks for; see `JobRun`."""

    job: KeptJob
    token: str
    trigger: TriggerType
    due: datetime | None
    parameters: Mapping[str, str]
    caller: RunId | None = None


class JobRunStore(Protocol):
    """Runs of jobs and their attempts, as everybody may ask for them. Thread- and process-safe, durable; events are written with what they tell of.

    Runs and attempts have their ids from one series, so a number is of one or the other. Unknown ids raise NotFound.
    """

    def add(self, order: RunOrder) -> JobRun:
        """Write a run, QUEUED, or SKIPPED where the job does not queue and has as many unfinished runs as it may.

        Where this job's name has a run with this token, that is returned and nothing written.
        """
        ...

    def get(self, run_id: RunId) -> JobRun: ...

    def find(self, job: str, token: str) -> JobRun | None: ...

    def list(self, job: str | None = None, limit: int = 50, *, unfinished: bool = False) -> Sequence[JobRun]:
        """Newest first."""
        ...

    def declared(self, run_id: RunId) -> Job:
        """The job as it was when the run was made, or repaired last."""
        ...

    def tasks(self, run_id: RunId) -> Sequence[TaskRun]:
        """All attempts, in the order that they were made."""
        ...

    def task(self, task_run_id: RunId) -> TaskRun: ...

    def stop(self, run_id: RunId, message: str, stop_as: Literal["CANCELED", "TIMEDOUT"] = "CANCELED") -> JobRun:
        """Let a run end: at once where it has not begun, else it is TERMINATING until the executor has ended it. Nothing where it has ended."""
        ...

    def reopen(self, run_id: RunId, job: Job, tasks: Sequence[str]) -> JobRun:
        """Put an ended run back into the queue, as this job, with a new attempt of each of these tasks.

        Its parameters stay as they were; those that the job has got since have the job's defaults.

        Raises:
            Conflict: it has not ended.
        """
        ...


class TaskValueStore(Protocol):
    """What tasks of a run tell those after them. Thread- and process-safe, durable; the last value of a name wins."""

    def set(self, run_id: RunId, task_key: str, name: str, value: object) -> None:
        """Write a JSON value."""
        ...

    def of(self, run_id: RunId) -> Mapping[str, Mapping[str, object]]:
        """By task and name."""
        ...


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt ended; `interrupted`: by the end of what ran it."""

    result: ResultState
    message: str = ""
    output: Mapping[str, object] = field(default_factory=dict)
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class Again:
    """That there is a next attempt; WAITING_FOR_RETRY until `retry_at`, by the machine's clock, where there is one."""

    retry_at: datetime | None = None


class Execution(Protocol):
    """The executor's writes. Each is refused with Conflict, and nothing written, where the executor's lease is another's by now."""

    def waiting_jobs(self) -> Mapping[str, Sequence[RunId]]:
        """By job, the runs that are QUEUED, oldest first, at most a hundred each; where there are none, this costs next to nothing."""
        ...

    def begun(self) -> Sequence[JobRun]:
        """Runs that have begun and not ended, oldest first."""
        ...

    def stopping(self) -> Sequence[RunId]:
        """Runs that are to stop."""
        ...

    def begin(self, run_id: RunId, deadline: datetime | None) -> JobRun | None:
        """QUEUED to RUNNING, with an attempt for each task that has none; None where it is QUEUED no more."""
        ...

    def end(self, run_id: RunId, result: ResultState, message: str) -> JobRun: ...

    def start_task(self, task_run_id: RunId, process: str | None, log_path: str | None) -> TaskRun:
        """To RUNNING. `process` is written before there is one."""
        ...

    def note(self, task_run_id: RunId, output: Mapping[str, object]) -> None:
        """Write the output of an attempt that goes on."""
        ...

    def past(self, keep: int, before: datetime) -> Sequence[RunId]:
        """Runs that ended before that time, but for the newest `keep` of each job's name: oldest first, a hundred at most.

        One that an attempt waits for, which has not ended, is not among them: it would be asked for again.
        """
        ...

    def forget(self, run_ids: Sequence[RunId]) -> None:
        """Delete these runs, their attempts and task values; one that was repaired meanwhile stays. Events stay, and no number is given again."""
        ...

    def end_task(self, task_run_id: RunId, ended: Ended, again: Again | None = None) -> Sequence[TaskRun]:
        """To TERMINATED; to INTERNAL_ERROR where it was interrupted. The attempt, and where there is one, the next: written together."""
        ...


@dataclass(frozen=True, slots=True)
class JobDesk:
    """All that asking for jobs takes, and executing them.

    Attributes:
        execution: the executor's writes, for the holder of the lease named `EXECUTOR`.
    """

    clock: Clock
    principal: Principal
    events: EventLog
    jobs: JobStore
    runs: JobRunStore
    values: TaskValueStore
    leases: Leases
    execution: Callable[[str], Execution]


EXECUTOR = "jobs"
ALL_RUNS = 1_000_000  # as many as there are: a listing wants a number
