"""Runs of jobs in the workspace database, as everybody may ask for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy import Connection, Engine, Row, Select, func, insert, select

from millrace.core.clock import Clock, epoch_us
from millrace.core.errors import Conflict, NotFound
from millrace.core.principal import Principal
from millrace.database.schema import job_runs, jobs, task_runs
from millrace.jobs.adapters.job_run_rows import (
    RUN_COLUMNS,
    JobRunRows,
    add_attempt,
    get_run,
    get_task,
    next_id,
    run_of,
    task_of,
)
from millrace.jobs.documents import job_document, job_of
from millrace.jobs.job import Job
from millrace.jobs.job_run import ENDED, JobRun, RunId, TaskRun
from millrace.jobs.port import RunOrder

_UNFINISHED = job_runs.c.state.in_(("QUEUED", "PENDING", "RUNNING", "TERMINATING"))


class SqlJobRunStore:
    """A `JobRunStore` in the `job_runs` and `task_runs` tables."""

    def __init__(self, engine: Engine, clock: Clock, principal: Principal) -> None:
        self._engine = engine
        self._rows = JobRunRows(clock, principal)

    def add(self, order: RunOrder) -> JobRun:
        """Write a run, or return the one that has this token."""
        job = order.job.job
        with self._engine.begin() as connection:
            # Who asks for runs of one job is let in one by one: SQLite lets one write at all, PostgreSQL locks its row.
            locked = select(jobs.c.id).where(jobs.c.id == order.job.job_id).with_for_update()
            if connection.execute(locked).one_or_none() is None:
                raise NotFound(f"the job '{job.name}' is gone", hint="put it again", job=job.name)
            known = _with_token(connection, job.name, order.token)
            return self._insert(connection, order) if known is None else known

    def _insert(self, connection: Connection, order: RunOrder) -> JobRun:
        job = order.job.job
        of_job = job_runs.c.job == job.name
        unfinished = connection.execute(select(func.count()).where(of_job, _UNFINISHED)).scalar_one()
        number = 1 + (connection.execute(select(func.max(job_runs.c.number)).where(of_job)).scalar_one() or 0)
        skipped = not job.queue and unfinished >= job.max_concurrent_runs
        now = self._rows.now_us()
        row = {
            "id": next_id(connection, f"job/{job.name}"),
            "job_id": order.job.job_id,
            "job": job.name,
            "token": order.token,
            "number": number,
            "trigger": order.trigger,
            "due_us": None if order.due is None else epoch_us(order.due),
            "parameters": dict(order.parameters),
            "settings": job_document(job),
            "state": "SKIPPED" if skipped else "QUEUED",
            "message": f"{unfinished} of {job.max_concurrent_runs} runs were on their way" if skipped else "",
            "created_us": now,
            "ended_us": now if skipped else None,
            "by": str(self._rows.principal),
            "repairs": 0,
            "caller": order.caller,
        }
        connection.execute(insert(job_runs).values(row))
        made = get_run(connection, RunId(int(str(row["id"]))))
        self._rows.tell(connection, made)
        return made

    def get(self, run_id: RunId) -> JobRun:
        """The run of that id."""
        with self._engine.connect().execution_options(read_only=True) as connection:
            return get_run(connection, run_id)

    def find(self, job: str, token: str) -> JobRun | None:
        """The job's run with that token."""
        with self._engine.connect().execution_options(read_only=True) as connection:
            return _with_token(connection, job, token)

    def list(self, job: str | None = None, limit: int = 50, *, unfinished: bool = False) -> Sequence[JobRun]:
        """Newest first."""
        query = select(*RUN_COLUMNS).order_by(job_runs.c.id.desc()).limit(limit)
        if job is not None:
            query = query.where(job_runs.c.job == job)
        return [run_of(row) for row in self._read(query.where(_UNFINISHED) if unfinished else query)]

    def declared(self, run_id: RunId) -> Job:
        """The job as it was."""
        found = self._read(select(job_runs.c.settings).where(job_runs.c.id == run_id))
        if not found:
            self.get(run_id)  # which says so
        return job_of(found[0].settings)

    def tasks(self, run_id: RunId) -> Sequence[TaskRun]:
        """All attempts, in the order that they were made."""
        query = select(task_runs).where(task_runs.c.run_id == run_id).order_by(task_runs.c.id)
        return [task_of(row) for row in self._read(query)]

    def task(self, task_run_id: RunId) -> TaskRun:
        """The attempt of that id."""
        with self._engine.connect().execution_options(read_only=True) as connection:
            return get_task(connection, task_run_id)

    def stop(self, run_id: RunId, message: str, stop_as: Literal["CANCELED", "TIMEDOUT"] = "CANCELED") -> JobRun:
        """Let a run end."""
        with self._engine.begin() as connection:
            run = _locked(connection, run_id)
            if run.is_over or run.life_cycle_state == "TERMINATING":
                return run
            if run.life_cycle_state == "QUEUED":
                return self._end_unbegun(connection, run, message, stop_as)
            return self._rows.change(connection, run, state="TERMINATING", message=message, stop_as=stop_as)

    def _end_unbegun(self, connection: Connection, run: JobRun, message: str, stop_as: str) -> JobRun:
        now = self._rows.now_us(run.created_at)
        waiting = select(task_runs).where(task_runs.c.run_id == run.run_id, task_runs.c.state == "BLOCKED")
        for row in connection.execute(waiting).all():  # a repaired run has attempts that wait
            values = {"state": "TERMINATED", "result": "CANCELED", "message": message, "ended_us": now}
            self._rows.change_task(connection, task_of(row), **values)
        values = {"state": "TERMINATED", "result": stop_as, "message": message, "ended_us": now}
        return self._rows.change(connection, run, **values)

    def reopen(self, run_id: RunId, job: Job, tasks: Sequence[str]) -> JobRun:
        """Put an ended run back into the queue."""
        with self._engine.begin() as connection:
            run = _locked(connection, run_id)
            if run.life_cycle_state not in ENDED:
                raise Conflict(f"run {run_id} has not ended", hint="wait for it, or cancel it first", run_id=run_id)
            newest = select(task_runs.c.task_key, func.max(task_runs.c.attempt)).where(task_runs.c.run_id == run_id)
            attempts = {row[0]: row[1] for row in connection.execute(newest.group_by(task_runs.c.task_key))}
            for key in tasks:
                add_attempt(connection, run_id, key, attempts.get(key, -1) + 1, run.repairs + 1)
            return self._rows.change(
                connection,
                run,
                state="QUEUED",
                result=None,
                message="",
                ended_us=None,
                deadline_us=None,
                stop_as=None,
                repairs=run.repairs + 1,
                settings=job_document(job),
                parameters={**job.parameters, **run.parameters},
            )

    def _read(self, query: Select[Any]) -> Sequence[Row[Any]]:
        with self._engine.connect().execution_options(read_only=True) as connection:
            return connection.execute(query).all()


def _with_token(connection: Connection, job: str, token: str) -> JobRun | None:
    query = select(*RUN_COLUMNS).where(job_runs.c.job == job, job_runs.c.token == token)
    row = connection.execute(query).one_or_none()
    return None if row is None else run_of(row)


def _locked(connection: Connection, run_id: RunId) -> JobRun:
    connection.execute(select(job_runs.c.id).where(job_runs.c.id == run_id).with_for_update())
    return get_run(connection, run_id)
