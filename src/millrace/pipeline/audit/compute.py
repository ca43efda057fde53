"""What a child process does: a scratch home made and changed, the pipeline loaded in it, its functions asked again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from millrace.core.errors import MillraceError
from millrace.features.tables import check_identity
from millrace.pipeline.audit.around import look_around, look_at
from millrace.pipeline.audit.findings import Finding
from millrace.pipeline.audit.job import Answer, Job, Snapshot
from millrace.pipeline.audit.scratch import change_tables, copy_tables
from millrace.pipeline.audit.training import audit_training_set
from millrace.pipeline.audit.watch import Watch
from millrace.pipeline.declare import FeatureTable, LabelTable, Pipeline
from millrace.pipeline.load import load_pipeline
from millrace.pipeline.port import Services
from millrace.pipeline.snapshots import preview

if TYPE_CHECKING:
    import pyarrow as pa


def do(services: Services, job: Job, watch: Watch) -> Answer:
    """Do a job in a scratch home that has its facts, and no tables yet. What the user's code raises is in the answer."""
    copy_tables(services.lake, job.database_url, services.settings.database_url)
    change_tables(services.lake, job.rules, job)
    try:
        with watch:
            pipeline = load_pipeline(job.file, job.pipeline)
    except MillraceError as error:
        return Answer(error=(error.message, error.hint))
    with watch:
        rows, failures = _compute(services, pipeline, job)
    findings: list[Finding] = []
    if job.look:
        findings += [*look_around(job.file), *_functions(services, pipeline), *watch.findings()]
    if job.trains and not failures:  # last, for from here on the pipeline's own tables are what was computed
        try:
            findings += audit_training_set(services, pipeline, job, rows)
        except MillraceError as error:
            return Answer(error=(error.message, error.hint))
    return Answer(rows, failures, findings)


def _functions(services: Services, pipeline: Pipeline) -> Iterator[Finding]:
    """A look at the code of the registered functions that the pipeline names."""
    for function in pipeline.functions:
        found = services.functions.find(function.udf_name)
        if found is not None:
            yield from look_at(found.definition.source, Path(found.definition.name))


def _compute(services: Services, pipeline: Pipeline, job: Job) -> tuple[dict[Snapshot, pa.Table], dict[Snapshot, str]]:
    rows: dict[Snapshot, pa.Table] = {}
    failures: dict[Snapshot, str] = {}
    wanted: list[tuple[FeatureTable | LabelTable, datetime]] = [
        (table, time) for table in pipeline.features for time in job.features
    ]
    if isinstance(pipeline.label, LabelTable):
        wanted += [(pipeline.label, time) for time in job.labels]
    for table, time in wanted:
        try:
            rows[table.name, time] = _checked(preview(services, table, time), table)
        except MillraceError as error:
            failures[table.name, time] = str(error)
    return rows, failures


def _checked(rows: pa.Table, table: FeatureTable | LabelTable) -> pa.Table:
    check_identity(rows, (*table.keys, table.time), table.name)
    return rows
