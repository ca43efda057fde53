"""Jobs and task values in the workspace database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, delete, select, update

from millrace.core.clock import Clock, epoch_us, from_epoch_us
from millrace.core.errors import NotFound
from millrace.core.events import Event
from millrace.core.names import did_you_mean
from millrace.core.principal import Principal
from millrace.database.events import append_event
from millrace.database.schema import jobs, task_values
from millrace.database.writes import insert_new, put
from millrace.jobs.documents import job_document, job_of
from millrace.jobs.job import Job
from millrace.jobs.job_run import JobId, RunId
from millrace.jobs.port import KeptJob


class SqlJobStore:
    """A `JobStore` in the `jobs` table."""

    def __init__(self, engine: Engine, clock: Clock, principal: Principal) -> None:
        self._engine, self._clock, self._principal = engine, clock, principal

    def put(self, job: Job) -> KeptJob:
        """Write a job, or replace what it was."""
        settings, now = job_document(job), epoch_us(self._clock.now())
        with self._engine.begin() as connection:
            values = {"name": job.name, "settings": settings, "owner": str(self._principal)}
            if insert_new(connection, jobs, {**values, "created_us": now, "updated_us": now}) is not None:
                self._tell(connection, "job.created", job.name)
            row = connection.execute(select(jobs).where(jobs.c.name == job.name).with_for_update()).one()
            if row.settings != settings:
                connection.execute(update(jobs).where(jobs.c.id == row.id).values(settings=settings, updated_us=now))
                self._tell(connection, "job.updated", job.name)
            return _kept(connection.execute(select(jobs).where(jobs.c.name == job.name)).one())

    def get(self, name: str) -> KeptJob:
        """The job of that name."""
        found = self.find(name)
        if found is None:
            raise self._unknown(name)
        return found

    def find(self, name: str) -> KeptJob | None:
        """The job of that name, or None."""
        found = self._read(select(jobs).where(jobs.c.name == name))
        return _kept(found[0]) if found else None

    def of_id(self, job_id: JobId) -> KeptJob:
        """The job of that id."""
        found = self._read(select(jobs).where(jobs.c.id == job_id))
        if not found:
            raise NotFound(f"there is no job with the id {job_id}", hint="see `millrace job list`", job_id=job_id)
        return _kept(found[0])

    def list(self) -> Sequence[KeptJob]:
        """By name."""
        return [_kept(row) for row in self._read(select(jobs).order_by(jobs.c.name))]

    def remove(self, name: str) -> None:
        """Delete the job."""
        with self._engine.begin() as connection:
            gone = connection.execute(delete(jobs).where(jobs.c.name == name)).rowcount
            if gone:
                self._tell(connection, "job.deleted", name)
        if not gone:
            raise self._unknown(name)

    def _tell(self, connection: Connection, kind: str, name: str) -> None:
        append_event(connection, Event(kind, f"job/{name}", self._clock.now(), self._principal))

    def _unknown(self, name: str) -> NotFound:
        names = [row.name for row in self._read(select(jobs.c.name))]
        return NotFound(f"there is no job '{name}'", hint=did_you_mean(name, names), job=name)

    def _read(self, query: Select[Any]) -> Sequence[Row[Any]]:
        with self._engine.connect().execution_options(read_only=True) as connection:
            return connection.execute(query).all()


class SqlTaskValues:
    """A `TaskValueStore` in the `task_values` table."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def set(self, run_id: RunId, task_key: str, name: str, value: object) -> None:
        """Write a JSON value; it is kept in a list, so that null is one as well."""
        with self._engine.begin() as connection:
            put(connection, task_values, {"run_id": run_id, "task_key": task_key, "name": name, "value": [value]})

    def of(self, run_id: RunId) -> Mapping[str, Mapping[str, object]]:
        """By task and name."""
        found: dict[str, dict[str, object]] = {}
        query = select(task_values).where(task_values.c.run_id == run_id)
        with self._engine.connect().execution_options(read_only=True) as connection:
            for row in connection.execute(query):
                found.setdefault(row.task_key, {})[row.name] = row.value[0]
        return found


def _kept(row: Row[Any]) -> KeptJob:
    created, updated = from_epoch_us(row.created_us), from_epoch_us(row.updated_us)
    return KeptJob(JobId(row.id), job_of(row.settings), row.owner, created, updated)
