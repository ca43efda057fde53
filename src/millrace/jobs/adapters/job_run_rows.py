"""Rows of runs and attempts, and the events that go with their changes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from millrace.core.clock import Clock, epoch_us, from_epoch_us
from millrace.core.errors import NotFound
from millrace.core.events import Event
from millrace.core.principal import Principal
from millrace.database.events import append_event
from millrace.database.schema import job_run_ids, job_runs, task_runs
from millrace.jobs.job_run import JobId, JobRun, RunId, TaskRun

# A database refuses to look for a longer one, which people may type all the same.
_LARGEST = 2**63 - 1


class JobRunRows:
    """What reading and changing rows takes, inside the caller's transaction."""

    def __init__(self, clock: Clock, principal: Principal) -> None:
        self.clock, self.principal = clock, principal

    def change(self, connection: Connection, run: JobRun, **values: object) -> JobRun:
        """Change a run and tell of it."""
        connection.execute(update(job_runs).where(job_runs.c.id == run.run_id).values(values))
        changed = get_run(connection, run.run_id)
        self.tell(connection, changed)
        return changed

    def change_task(self, connection: Connection, task: TaskRun, **values: object) -> TaskRun:
        """Change an attempt and tell of it."""
        connection.execute(update(task_runs).where(task_runs.c.id == task.task_run_id).values(values))
        changed = get_task(connection, task.task_run_id)
        self.tell_task(connection, changed)
        return changed

    def tell(self, connection: Connection, run: JobRun) -> None:
        """The event of the state that a run is in: `job_run.queued` and so on."""
        data: dict[str, object] = {"run_id": run.run_id, "number": run.number, "trigger": run.trigger}
        if run.is_over:
            data |= {"result": run.result_state, "message": run.state_message}
        self._append(connection, f"job_run.{run.life_cycle_state.lower()}", run.job, data)

    def tell_task(self, connection: Connection, task: TaskRun) -> None:
        """The event of the state that an attempt is in: `task_run.running` and so on."""
        data: dict[str, object] = {"run_id": task.run_id, "task_run_id": task.task_run_id}
        data |= {"task": task.task_key, "attempt": task.attempt}
        if task.is_over:
            data |= {"result": task.result_state, "message": task.state_message}
        job = get_run(connection, task.run_id).job
        self._append(connection, f"task_run.{task.life_cycle_state.lower()}", job, data)

    def now_us(self, not_before: datetime | None = None) -> int:
        """The clock's time, or where that is earlier the other: nothing ends before it began, whatever the clock does."""
        now = self.clock.now()
        return epoch_us(now if not_before is None else max(now, not_before))

    def _append(self, connection: Connection, kind: str, job: str, data: Mapping[str, object]) -> None:
        append_event(connection, Event(kind, f"job/{job}", self.clock.now(), self.principal, data))


def add_attempt(connection: Connection, run_id: RunId, task_key: str, attempt: int, repair: int) -> RunId:
    """A new attempt, BLOCKED."""
    number = next_id(connection, f"task/{task_key}")
    row = {
        "id": number,
        "run_id": run_id,
        "task_key": task_key,
        "attempt": attempt,
        "state": "BLOCKED",
        "message": "",
        "output": {},
        "repair": repair,
    }
    connection.execute(insert(task_runs).values(row))
    return number


def next_id(connection: Connection, of: str) -> RunId:
    """The next number of the series."""
    return RunId(connection.execute(insert(job_run_ids).values(of=of[:200]).returning(job_run_ids.c.id)).scalar_one())


def get_run(connection: Connection, run_id: RunId) -> JobRun:
    """The run; raises NotFound."""
    known = run_id <= _LARGEST
    row = connection.execute(select(*_RUN_COLUMNS).where(job_runs.c.id == run_id)).one_or_none() if known else None
    if row is None:
        raise NotFound(f"there is no run {run_id}", hint="see `millrace job list`", run_id=run_id)
    return run_of(row)


def get_task(connection: Connection, task_run_id: RunId) -> TaskRun:
    """The attempt; raises NotFound."""
    known = task_run_id <= _LARGEST
    row = connection.execute(select(task_runs).where(task_runs.c.id == task_run_id)).one_or_none() if known else None
    if row is None:
        raise NotFound(f"there is no task run {task_run_id}", hint="`millrace job show` lists them", run_id=task_run_id)
    return task_of(row)


# All but the settings, which may be long.
_RUN_COLUMNS = [column for column in job_runs.c if column.name != "settings"]
RUN_COLUMNS = tuple(_RUN_COLUMNS)


def run_of(row: Row[Any]) -> JobRun:
    """The run of a row."""
    return JobRun(
        run_id=RunId(row.id),
        job_id=JobId(row.job_id),
        job=row.job,
        token=row.token,
        number=row.number,
        trigger=row.trigger,
        due=_time(row.due_us),
        parameters=row.parameters,
        life_cycle_state=row.state,
        result_state=row.result,
        state_message=row.message,
        created_at=from_epoch_us(row.created_us),
        started_at=_time(row.started_us),
        ended_at=_time(row.ended_us),
        by=row.by,
        repairs=row.repairs,
        caller=None if row.caller is None else RunId(row.caller),
        deadline=_time(row.deadline_us),
        stop_as=row.stop_as,
    )


def task_of(row: Row[Any]) -> TaskRun:
    """The attempt of a row."""
    return TaskRun(
        run_id=RunId(row.run_id),
        task_run_id=RunId(row.id),
        task_key=row.task_key,
        attempt=row.attempt,
        life_cycle_state=row.state,
        result_state=row.result,
        state_message=row.message,
        started_at=_time(row.started_us),
        ended_at=_time(row.ended_us),
        output=row.output,
        log_path=row.log_path,
        repair=row.repair,
        retry_at=_time(row.retry_us),
        process=row.process,
    )


def _time(us: int | None) -> datetime | None:
    return None if us is None else from_epoch_us(us)
