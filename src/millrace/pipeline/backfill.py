"""Computing the tables of a pipeline by themselves: what is missing, or some of it anew."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta

from millrace.core.errors import InvalidInput, NotFound
from millrace.core.names import TableName, did_you_mean
from millrace.pipeline.context import Pins, RunContext
from millrace.pipeline.declare import FeatureTable, LabelTable, Pipeline
from millrace.pipeline.definition import computed_tables
from millrace.pipeline.execute import StageReport, alone
from millrace.pipeline.plan import last_due
from millrace.pipeline.port import Progress, Services
from millrace.pipeline.snapshots import pin_sources
from millrace.pipeline.stages.refresh import CHUNK, Again, RefreshSnapshots
from millrace.targets.port import DeploymentTarget


@dataclass(frozen=True, slots=True)
class Backfill:
    """What is asked for.

    Attributes:
        table: of the pipeline; None: each of its tables.
        first: with `last`: make the snapshots of these times anew, both ends included; None: from the first.
        last: None: to the newest. Later ones are not made.
        rebuild: make all anew, whatever they are.
        chunk: how many snapshots are made before what is done is written down.
    """

    table: str | None = None
    first: datetime | None = None
    last: datetime | None = None
    rebuild: bool = False
    chunk: int = CHUNK

    def __post_init__(self) -> None:
        if self.chunk < 1:
            raise InvalidInput(f"a chunk of {self.chunk} snapshots", hint="give 1 or more")
        if self.first is not None and self.last is not None and self.first > self.last:
            raise InvalidInput("the first time is after the last", hint="exchange --from and --to")

    @property
    def again(self) -> Again | None:
        """What is made anew though nothing asks for it."""
        if not self.rebuild and self.first is None and self.last is None:
            return None
        return Again(self.first, self.last)


@dataclass(frozen=True, slots=True)
class TableReport:
    """How one table was brought up to date."""

    table: str
    stage: StageReport
    snapshots: int
    rows: int
    version: int | None


def backfill(services: Services, pipeline: Pipeline, progress: Progress, asked: Backfill) -> Sequence[TableReport]:
    """Compute tables of a pipeline, one after the other. Stopped anywhere, it goes on where it was.

    Raises:
        NotFound: the pipeline computes no such table.
        Conflict: another process is running this pipeline.
        MillraceError: a table could not be computed; the snapshots that were finished before are kept.
    """
    tables = _tables(pipeline, asked.table)
    with alone(services, pipeline.name):
        return [_refresh(services, pipeline, table, progress, asked) for table in tables]


def _refresh(
    services: Services, pipeline: Pipeline, table: FeatureTable | LabelTable, progress: Progress, asked: Backfill
) -> TableReport:
    due = last_due(pipeline, services.clock.now())
    due = due if asked.last is None else min(due, asked.last + _horizon(table))
    pinned = pin_sources(services, table, None, {})
    stage = RefreshSnapshots(table, due, pinned, chunk=asked.chunk, again=asked.again)
    progress.stage(stage.name, "running")
    begun = time.perf_counter()
    try:
        outcome = stage.run(RunContext(services, pipeline, Pins(due), _no_target, progress))
    except BaseException as error:
        status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        progress.stage(stage.name, status, str(error).split("\n")[0], time.perf_counter() - begun)
        raise
    seconds = time.perf_counter() - begun
    progress.stage(stage.name, outcome.status, outcome.detail, seconds)
    version = outcome.output.get("version")
    return TableReport(
        table=str(TableName.parse(table.name)),
        stage=StageReport(stage.name, outcome.status, seconds, outcome.detail),
        snapshots=int(str(outcome.output["snapshots"])),
        rows=int(str(outcome.output["rows"])),
        version=None if version is None else int(str(version)),
    )


def _tables(pipeline: Pipeline, name: str | None) -> list[FeatureTable | LabelTable]:
    tables = computed_tables(pipeline)
    if name is None:
        return tables
    known = {TableName.parse(table.name): table for table in tables}
    if TableName.parse(name) not in known:
        raise NotFound(
            f"pipeline {pipeline.name} computes no table '{name}'", hint=did_you_mean(name, list(map(str, known)))
        )
    return [known[TableName.parse(name)]]


def _horizon(table: FeatureTable | LabelTable) -> timedelta:
    return table.horizon if isinstance(table, LabelTable) else timedelta(0)


def _no_target() -> AbstractContextManager[DeploymentTarget]:
    raise AssertionError("a table is computed without a server")
