"""What schedules need from the world: marks, and where the things stand that triggers wait for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from millrace.jobs.job_run import JobId
from millrace.jobs.port import JobDesk
from millrace.jobs.schedules.types import CauseMark, TickMark


class MarkStore(Protocol):
    """Marks by job. Thread- and process-safe; what returned is durable."""

    def ticks(self) -> Mapping[JobId, TickMark]: ...

    def advance(self, mark: TickMark) -> None:
        """Write the mark; of the same schedule it goes forward only, an earlier one changes nothing."""
        ...

    def causes(self) -> Mapping[JobId, CauseMark]: ...

    def replace(self, mark: CauseMark) -> CauseMark | None:
        """Write the mark with the next revision, and return it; None where another was faster (the revision is not what is there)."""
        ...

    def begin_anew(self, job_id: JobId) -> None:
        """Let the trigger begin anew where it is looked at next; its number stays, as runs are known by it."""
        ...


class TableVersions(Protocol):
    """Versions of tables, cheap enough to be asked for each second."""

    def newest(self, table: str) -> int | None:
        """The newest version that changed rows; None where there is no such table."""
        ...


class ModelVersions(Protocol):
    """Versions and aliases of models, whoever made them, cheap enough to be asked for each second."""

    def newest(self, model: str) -> int | None:
        """The newest version that is ready; None where there is none."""
        ...

    def aliases(self, model: str) -> Mapping[str, int]:
        """By alias the version that has it."""
        ...


@dataclass(frozen=True, slots=True)
class ScheduleDesk:
    """All that schedules take."""

    jobs: JobDesk
    marks: MarkStore
    tables: TableVersions
    models: ModelVersions
