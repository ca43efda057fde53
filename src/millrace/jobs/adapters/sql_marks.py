"""How far schedules and triggers have come, in the workspace database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Engine, Row, Table, or_, select, update

from millrace.core.clock import epoch_us, from_epoch_us
from millrace.database.schema import job_causes, job_ticks
from millrace.database.writes import insert_new, put
from millrace.jobs.job_run import JobId
from millrace.jobs.schedules.types import CauseMark, TickMark


class SqlMarkStore:
    """A `MarkStore` in the `job_ticks` and `job_causes` tables."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def ticks(self) -> Mapping[JobId, TickMark]:
        """The marks of all schedules."""
        rows = self._rows(job_ticks)
        return {
            JobId(row.job_id): TickMark(JobId(row.job_id), row.declared, from_epoch_us(row.seen_us)) for row in rows
        }

    def advance(self, mark: TickMark) -> None:
        """Write the mark of a schedule; of the same one it goes forward only."""
        row = {"job_id": mark.job_id, "declared": mark.declared, "seen_us": epoch_us(mark.seen)}
        further = or_(job_ticks.c.declared != mark.declared, job_ticks.c.seen_us < row["seen_us"])
        with self._engine.begin() as connection:
            put(connection, job_ticks, row, only_where=further)

    def causes(self) -> Mapping[JobId, CauseMark]:
        """The marks of all triggers."""
        return {JobId(row.job_id): _cause(row) for row in self._rows(job_causes)}

    def replace(self, mark: CauseMark) -> CauseMark | None:
        """Write the mark of a trigger where its revision is what is there."""
        written = {
            "declared": mark.declared,
            "position": dict(mark.position),
            "pending": None if mark.pending is None else dict(mark.pending),
            "number": mark.number,
            "revision": mark.revision + 1,
        }
        same = (job_causes.c.job_id == mark.job_id) & (job_causes.c.revision == mark.revision)
        with self._engine.begin() as connection:
            if mark.revision == 0:
                done = insert_new(connection, job_causes, {"job_id": mark.job_id, **written}) is not None
            else:
                done = bool(connection.execute(update(job_causes).where(same).values(written)).rowcount)
        if not done:
            return None
        return CauseMark(mark.job_id, mark.declared, mark.position, mark.pending, mark.number, mark.revision + 1)

    def begin_anew(self, job_id: JobId) -> None:
        """Let a trigger begin anew."""
        row = job_causes.c.job_id == job_id
        values = {"declared": "", "pending": None, "revision": job_causes.c.revision + 1}
        with self._engine.begin() as connection:
            connection.execute(update(job_causes).where(row).values(values))

    def _rows(self, table: Table) -> Sequence[Row[Any]]:
        with self._engine.connect().execution_options(read_only=True) as connection:
            return connection.execute(select(table)).all()


def _cause(row: Row[Any]) -> CauseMark:
    return CauseMark(JobId(row.job_id), row.declared, row.position, row.pending, row.number, row.revision)
