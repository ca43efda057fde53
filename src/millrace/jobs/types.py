"""A run of a pipeline and a stage of one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, NewType

PipelineRunId = NewType("PipelineRunId", int)
Status = Literal["running", "done", "skipped", "refused", "waiting", "failed", "interrupted"]


@dataclass(frozen=True, slots=True)
class PipelineRun:
    """One execution. `due` is the time that the plan was made for.

    `refused` is a gate that said no: a result, not a failure. `waiting` is for a stage that goes on outside, as a canary does: the
    next run asks how it stands.
    """

    id: PipelineRunId
    pipeline: str
    due: datetime
    status: Status
    started_at: datetime
    ended_at: datetime | None
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class StageRun:
    """One stage of a run. `fingerprint` is the hash of all that it depends on; `output` is JSON, read by later stages."""

    run_id: PipelineRunId
    pipeline: str
    stage: str
    fingerprint: str
    status: Status
    started_at: datetime
    ended_at: datetime | None
    seconds: float | None
    output: Mapping[str, object] = field(default_factory=dict)
