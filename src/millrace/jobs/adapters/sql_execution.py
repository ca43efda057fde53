"""The executor's writes, each in a transaction that sees whether the lease is still its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import Connection, Engine, delete, func, or_, select, update

from millrace.core.clock import Clock, epoch_us
from millrace.core.errors import Conflict
from millrace.core.principal import Principal
from millrace.database.schema import job_run_ids, job_runs, leases, task_runs, task_values
from millrace.jobs.adapters.job_run_rows import (
    RUN_COLUMNS,
    JobRunRows,
    add_attempt,
    get_run,
    get_task,
    run_of,
)
from millrace.jobs.documents import job_of
from millrace.jobs.job_run import ENDED, JobRun, ResultState, RunId, TaskRun
from millrace.jobs.port import EXECUTOR, Again, Ended

_MOST_WAITING = 100
_MOST_PAST = 100
_IS_OVER = job_runs.c.state.in_(ENDED)


class SqlExecution:
    """An `Execution` for one holder of the lease."""

    def __init__(self, engine: Engine, clock: Clock, principal: Principal, holder: str) -> None:
        self._engine, self._holder = engine, holder
        self._rows = JobRunRows(clock, principal)

    def waiting_jobs(self) -> Mapping[str, Sequence[RunId]]:
        """By job, the runs that are QUEUED, oldest first."""
        queued = job_runs.c.state == "QUEUED"
        names = select(job_runs.c.job).where(queued).distinct()
        found: dict[str, Sequence[RunId]] = {}
        with self._engine.connect().execution_options(read_only=True) as connection:
            for name in connection.execute(names).scalars().all():
                oldest = select(job_runs.c.id).where(queued, job_runs.c.job == name).order_by(job_runs.c.id)
                found[name] = [RunId(each) for each in connection.execute(oldest.limit(_MOST_WAITING)).scalars()]
        return found

    def begun(self) -> Sequence[JobRun]:
        """Runs that have begun and not ended."""
        query = select(*RUN_COLUMNS).where(job_runs.c.state.in_(("RUNNING", "TERMINATING"))).order_by(job_runs.c.id)
        with self._engine.connect().execution_options(read_only=True) as connection:
            return [run_of(row) for row in connection.execute(query)]

    def stopping(self) -> Sequence[RunId]:
        """Runs that are to stop."""
        query = select(job_runs.c.id).where(job_runs.c.state == "TERMINATING")
        with self._engine.connect().execution_options(read_only=True) as connection:
            return [RunId(each) for each in connection.execute(query).scalars()]

    def begin(self, run_id: RunId, deadline: datetime | None) -> JobRun | None:
        """QUEUED to RUNNING, with an attempt for each task that has none."""
        with self._mine() as connection:
            row = connection.execute(
                select(job_runs.c.state, job_runs.c.settings).where(job_runs.c.id == run_id).with_for_update()
            ).one()
            if row.state != "QUEUED":
                return None
            run = get_run(connection, run_id)
            has = set(connection.execute(select(task_runs.c.task_key).where(task_runs.c.run_id == run_id)).scalars())
            for task in job_of(row.settings).tasks:
                if task.task_key not in has:
                    add_attempt(connection, run_id, task.task_key, 0, run.repairs)
            started = self._rows.now_us(run.created_at) if run.started_at is None else epoch_us(run.started_at)
            values = {"state": "RUNNING", "started_us": started, "deadline_us": _us(deadline)}
            return self._rows.change(connection, run, **values)

    def end(self, run_id: RunId, result: ResultState, message: str) -> JobRun:
        """The run has ended."""
        with self._mine() as connection:
            run = get_run(connection, run_id)
            values = {"state": "TERMINATED", "result": result, "message": message}
            return self._rows.change(connection, run, **values, ended_us=self._rows.now_us(run.started_at))

    def start_task(self, task_run_id: RunId, process: str | None, log_path: str | None) -> TaskRun:
        """To RUNNING."""
        with self._mine() as connection:
            task = get_task(connection, task_run_id)
            values = {"state": "RUNNING", "process": process, "log_path": log_path, "retry_us": None}
            started = self._rows.now_us(get_run(connection, task.run_id).started_at)
            return self._rows.change_task(connection, task, **values, started_us=started)

    def note(self, task_run_id: RunId, output: Mapping[str, object]) -> None:
        """Write the output of an attempt that goes on."""
        with self._mine() as connection:
            connection.execute(update(task_runs).where(task_runs.c.id == task_run_id).values(output=dict(output)))

    def end_task(self, task_run_id: RunId, ended: Ended, again: Again | None = None) -> Sequence[TaskRun]:
        """The attempt has ended, and the next one is there."""
        with self._mine() as connection:
            task = get_task(connection, task_run_id)
            begun = task.started_at or get_run(connection, task.run_id).started_at
            over = self._rows.change_task(
                connection,
                task,
                state="INTERNAL_ERROR" if ended.interrupted else "TERMINATED",
                result=ended.result,
                message=ended.message,
                output=dict(ended.output),
                ended_us=self._rows.now_us(begun),
                retry_us=None,
            )
            return [over] if again is None else [over, self._next(connection, over, again)]

    def past(self, keep: int, before: datetime) -> Sequence[RunId]:
        """Runs that are to be kept no longer."""
        newest = select(job_runs.c.job, func.max(job_runs.c.number).label("number")).group_by(job_runs.c.job).subquery()
        waiting = select(task_runs.c.id).where(task_runs.c.state.not_in(ENDED))
        query = (
            select(job_runs.c.id)
            .join(newest, newest.c.job == job_runs.c.job)
            .where(_IS_OVER, job_runs.c.number <= newest.c.number - keep, job_runs.c.ended_us < epoch_us(before))
            .where(or_(job_runs.c.caller.is_(None), job_runs.c.caller.not_in(waiting)))
            .order_by(job_runs.c.id)
            .limit(_MOST_PAST)
        )
        with self._engine.connect().execution_options(read_only=True) as connection:
            return [RunId(each) for each in connection.execute(query).scalars()]

    def forget(self, run_ids: Sequence[RunId]) -> None:
        """Delete runs."""
        with self._mine() as connection:
            over = select(job_runs.c.id).where(job_runs.c.id.in_(run_ids), _IS_OVER).with_for_update()
            gone = connection.execute(over).scalars().all()
            attempts = select(task_runs.c.id).where(task_runs.c.run_id.in_(gone))
            for numbers in (attempts, gone):
                connection.execute(delete(job_run_ids).where(job_run_ids.c.id.in_(numbers)))
            for column in (task_values.c.run_id, task_runs.c.run_id, job_runs.c.id):
                connection.execute(delete(column.table).where(column.in_(gone)))

    def _next(self, connection: Connection, task: TaskRun, again: Again) -> TaskRun:
        number = add_attempt(connection, task.run_id, task.task_key, task.attempt + 1, task.repair)
        made = get_task(connection, number)
        if again.retry_at is None:
            return made
        return self._rows.change_task(connection, made, state="WAITING_FOR_RETRY", retry_us=_us(again.retry_at))

    @contextmanager
    def _mine(self) -> Iterator[Connection]:
        """A transaction that holds the lease's row: who takes the lease waits for its end."""
        with self._engine.begin() as connection:
            held = select(leases.c.holder).where(leases.c.name == EXECUTOR).with_for_update(read=True)
            holder = connection.execute(held).scalar_one_or_none()
            if holder != self._holder:
                raise Conflict("another process executes jobs by now", hint="it goes on with what was begun here")
            yield connection


def _us(moment: datetime | None) -> int | None:
    return None if moment is None else epoch_us(moment)
