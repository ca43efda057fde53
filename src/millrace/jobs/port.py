"""What the executor needs to resume, and to be alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

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
