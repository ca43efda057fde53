"""Runs, their stages, and leases in the workspace database."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, delete, insert, select, update

from millrace.core.clock import epoch_us, from_epoch_us
from millrace.core.errors import NotFound
from millrace.database.schema import leases, runs, stage_runs
from millrace.database.writes import put
from millrace.jobs.types import PipelineRun, PipelineRunId, StageRun, Status


class SqlRunStore:
    """A `RunStore` in the `runs` and `stage_runs` tables."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def start(self, pipeline: str, due: datetime, at: datetime, by: str, reason: str) -> PipelineRunId:
        """Open a run; what was left running before is interrupted, its end being the moment that this was noticed."""
        row = {
            "pipeline": pipeline,
            "due_us": epoch_us(due),
            "status": "running",
            "started_us": epoch_us(at),
            "by": by,
            "reason": reason,
        }
        with self._engine.begin() as connection:
            _interrupt(connection, pipeline, at)
            return PipelineRunId(connection.execute(insert(runs).values(row).returning(runs.c.id)).scalar_one())

    def end(self, run: PipelineRunId, status: Status, at: datetime) -> None:
        """Close a run."""
        statement = update(runs).where(runs.c.id == run).values(status=status, ended_us=epoch_us(at))
        with self._engine.begin() as connection:
            changed = connection.execute(statement)
        if not changed.rowcount:
            raise NotFound(f"run {run} does not exist", hint="see `millrace status`", run=run)

    def start_stage(self, run: PipelineRunId, pipeline: str, stage: str, fingerprint: str, at: datetime) -> int:
        """Open a stage."""
        row = {
            "run_id": run,
            "pipeline": pipeline,
            "stage": stage,
            "fingerprint": fingerprint,
            "status": "running",
            "started_us": epoch_us(at),
            "output": {},
        }
        with self._engine.begin() as connection:
            return int(connection.execute(insert(stage_runs).values(row).returning(stage_runs.c.id)).scalar_one())

    def end_stage(
        self, stage_id: int, status: Status, at: datetime, seconds: float, output: Mapping[str, object]
    ) -> None:
        """Close a stage."""
        changes = {"status": status, "ended_us": epoch_us(at), "seconds": seconds, "output": dict(output)}
        with self._engine.begin() as connection:
            changed = connection.execute(update(stage_runs).where(stage_runs.c.id == stage_id).values(changes))
        if not changed.rowcount:
            raise NotFound(f"stage run {stage_id} does not exist", stage_run=stage_id)

    def done(self, pipeline: str, stage: str, fingerprint: str) -> StageRun | None:
        """The newest finished run of this stage with this fingerprint."""
        query = select(stage_runs).where(
            stage_runs.c.pipeline == pipeline,
            stage_runs.c.stage == stage,
            stage_runs.c.fingerprint == fingerprint,
            stage_runs.c.status.in_(("done", "refused")),
        )
        return self._newest(query)

    def latest(self, pipeline: str, stage: str) -> StageRun | None:
        """The newest run of this stage that came to a result."""
        ended = stage_runs.c.status.in_(("done", "refused", "waiting"))
        return self._newest(
            select(stage_runs).where(stage_runs.c.pipeline == pipeline, stage_runs.c.stage == stage, ended)
        )

    def history(self, pipeline: str, stage: str) -> Sequence[StageRun]:
        """Those that ended `done`, oldest first, of each fingerprint the first one."""
        query = select(stage_runs).where(
            stage_runs.c.pipeline == pipeline, stage_runs.c.stage == stage, stage_runs.c.status == "done"
        )
        first: dict[str, StageRun] = {}
        for row in self._read(query.order_by(stage_runs.c.id)):
            first.setdefault(row.fingerprint, _stage_run(row))
        return list(first.values())

    def runs(self, pipeline: str | None = None, limit: int = 20) -> Sequence[PipelineRun]:
        """Newest first."""
        query = select(runs).order_by(runs.c.id.desc()).limit(limit)
        return [
            _run(row) for row in self._read(query if pipeline is None else query.where(runs.c.pipeline == pipeline))
        ]

    def stages(self, run: PipelineRunId) -> Sequence[StageRun]:
        """In the order that they started."""
        query = select(stage_runs).where(stage_runs.c.run_id == run).order_by(stage_runs.c.id)
        return [_stage_run(row) for row in self._read(query)]

    def _newest(self, query: Select[Any]) -> StageRun | None:
        found = self._read(query.order_by(stage_runs.c.id.desc()).limit(1))
        return _stage_run(found[0]) if found else None

    def _read(self, query: Select[Any]) -> Sequence[Row[Any]]:
        with self._engine.connect().execution_options(read_only=True) as connection:
            return connection.execute(query).all()


class SqlLeases:
    """`Leases` in the `leases` table.

    Args:
        engine: the workspace database.
        now_s: the machine's time in seconds; hosts that share a database must agree on it to well under a lease's length.
    """

    def __init__(self, engine: Engine, now_s: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._now_s = now_s

    def acquire(self, name: str, holder: str, ttl_s: float) -> bool:
        """Take or renew, in one statement, so that of two who try at once one gets it."""
        row = {"name": name, "holder": holder, "expires_us": self._now_us() + int(ttl_s * 1e6)}
        takeable = (leases.c.holder == holder) | (leases.c.expires_us <= self._now_us())
        with self._engine.begin() as connection:
            return put(connection, leases, row, only_where=takeable)

    def release(self, name: str, holder: str) -> None:
        """Give the lease back; nothing where the holder does not have it."""
        with self._engine.begin() as connection:
            connection.execute(delete(leases).where(leases.c.name == name, leases.c.holder == holder))

    def holder(self, name: str) -> str | None:
        """Who holds it now."""
        query = select(leases.c.holder).where(leases.c.name == name, leases.c.expires_us > self._now_us())
        with self._engine.connect().execution_options(read_only=True) as connection:
            return connection.execute(query).scalar_one_or_none()

    def _now_us(self) -> int:
        return int(self._now_s() * 1e6)


def _interrupt(connection: Connection, pipeline: str, at: datetime) -> None:
    for table in (runs, stage_runs):
        connection.execute(
            update(table)
            .where(table.c.pipeline == pipeline, table.c.status == "running")
            .values(status="interrupted", ended_us=epoch_us(at))
        )


def _run(row: Row[Any]) -> PipelineRun:
    return PipelineRun(
        id=PipelineRunId(row.id),
        pipeline=row.pipeline,
        due=from_epoch_us(row.due_us),
        status=row.status,
        started_at=from_epoch_us(row.started_us),
        ended_at=None if row.ended_us is None else from_epoch_us(row.ended_us),
        by=row.by,
        reason=row.reason,
    )


def _stage_run(row: Row[Any]) -> StageRun:
    return StageRun(
        run_id=PipelineRunId(row.run_id),
        pipeline=row.pipeline,
        stage=row.stage,
        fingerprint=row.fingerprint,
        status=row.status,
        started_at=from_epoch_us(row.started_us),
        ended_at=None if row.ended_us is None else from_epoch_us(row.ended_us),
        seconds=row.seconds,
        output=row.output,
    )
