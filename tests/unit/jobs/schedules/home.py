"""A home's jobs in a database of its own in memory, and a scheduler that can be killed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import Engine

from millrace.core.clock import ManualClock
from millrace.core.principal import Principal
from millrace.database.engine import open_database
from millrace.database.events import SqlEventLog
from millrace.jobs.adapters.sql import SqlLeases
from millrace.jobs.adapters.sql_execution import SqlExecution
from millrace.jobs.adapters.sql_job_runs import SqlJobRunStore
from millrace.jobs.adapters.sql_jobs import SqlJobStore, SqlTaskValues
from millrace.jobs.adapters.sql_marks import SqlMarkStore
from millrace.jobs.job import CatchUp, ConditionTask, CronSchedule, Job, PauseStatus, Task, Trigger
from millrace.jobs.job_run import JobRun, RunId
from millrace.jobs.port import EXECUTOR, JobDesk
from millrace.jobs.put_job import put_job
from millrace.jobs.schedules.port import ScheduleDesk
from millrace.jobs.schedules.scheduler import Scheduler

BEGIN = datetime(2026, 3, 2, 5, 0, tzinfo=UTC)  # a Monday
_PRINCIPAL = Principal("user", "ada")


@dataclass
class Tables:
    """Versions of tables."""

    versions: dict[str, int] = field(default_factory=dict)

    def newest(self, table: str) -> int | None:
        return self.versions.get(table)


@dataclass
class Models:
    """Versions and aliases of one model."""

    versions: list[int] = field(default_factory=list)
    named: dict[str, int] = field(default_factory=dict)

    def newest(self, model: str) -> int | None:
        del model
        return max(self.versions, default=None)

    def aliases(self, model: str) -> Mapping[str, int]:
        del model
        return dict(self.named)


class Home:
    def __init__(self, engine: Engine | None = None) -> None:
        engine = engine or open_database("sqlite://")
        self.engine, self.clock, self.seconds = engine, ManualClock(BEGIN), 0.0
        self.events, self.tables, self.models = SqlEventLog(engine), Tables(), Models()
        self.jobs = JobDesk(
            clock=self.clock,
            principal=_PRINCIPAL,
            events=self.events,
            jobs=SqlJobStore(engine, self.clock, _PRINCIPAL),
            runs=SqlJobRunStore(engine, self.clock, _PRINCIPAL),
            values=SqlTaskValues(engine),
            leases=SqlLeases(engine),
            execution=lambda holder: SqlExecution(engine, self.clock, _PRINCIPAL, holder),
        )
        self.desk = ScheduleDesk(self.jobs, SqlMarkStore(engine), self.tables, self.models)
        self.scheduler = self.new_scheduler()

    def new_scheduler(self) -> Scheduler:
        """As after a kill: with nothing but what the database has."""
        self.scheduler = Scheduler(self.desk)
        self.scheduler.triggers.seconds = lambda: self.seconds
        return self.scheduler

    def put(
        self,
        expression: str | None = None,
        *,
        name: str = "daily",
        timezone: str = "UTC",
        catch_up: CatchUp = "last",
        trigger: Trigger | None = None,
        queue: bool = True,
        status: PauseStatus = "UNPAUSED",
    ) -> Job:
        schedule = None if expression is None else CronSchedule(expression, timezone, status, catch_up)
        task = Task("only", ConditionTask("EQUAL_TO", "1", "1"))
        job = Job(name, [task], schedule, trigger, status if trigger else "UNPAUSED", queue=queue)
        put_job(self.jobs, job)
        return job

    def look(self, at: datetime | None = None) -> list[JobRun]:
        """Look once, at a time; the runs that were made."""
        if at is not None:
            self.clock.set(at)
        return self._runs(self.scheduler.look())

    def quiet(self) -> list[JobRun]:
        """Look twice, as long after each other as a change is watched; the runs that were made."""
        first = self.look()
        self.seconds += 3
        return first + self.look()

    def all(self, name: str = "daily") -> list[JobRun]:
        """All runs of a job, oldest first."""
        return list(reversed(self.jobs.runs.list(name, 10_000)))

    def dues(self, name: str = "daily") -> list[str]:
        """The ticks that had a run, in order of making."""
        return [f"{run.due:%d %H:%M:%S}" for run in self.all(name) if run.due is not None]

    def begin_all(self) -> None:
        """Let all that is queued begin."""
        self.jobs.leases.acquire(EXECUTOR, "tests", 60)
        for run in self.jobs.runs.list(limit=1000, unfinished=True):
            self.jobs.execution("tests").begin(run.run_id, None)

    def _runs(self, ids: Iterable[RunId]) -> list[JobRun]:
        return [self.jobs.runs.get(run_id) for run_id in ids]
