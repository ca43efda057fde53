"""Refresh a monitor: count the log's windows, judge them, and bring the metric tables up to date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc

from millrace.core.clock import utc
from millrace.core.errors import InvalidInput
from millrace.core.names import TableName, did_you_mean
from millrace.lake.lake import Lake
from millrace.lake.types import TableDefinition, TableVersion
from millrace.monitoring.counts.window_counts import watched
from millrace.monitoring.reference.profile import ReferenceProfile
from millrace.monitoring.tables.schemas import (
    MetricTables,
    as_table,
    drift_schema,
    keys,
    profile_schema,
    summary_schema,
)
from millrace.monitoring.tables.statistics import Row
from millrace.monitoring.tables.summary import Stored, read_stored, summary_row
from millrace.monitoring.types import MonitorSpec, WindowVerdict
from millrace.monitoring.verdicts.drift import SCALES
from millrace.monitoring.version_log import VersionLog
from millrace.monitoring.windows import Granularity

_INSTANT = timedelta(microseconds=1)
_BEFORE = SCALES[-1] - 1
_TIME = pa.timestamp("us", tz="UTC")
_DEFINITION = TableDefinition(description="Metrics of a monitor", role="metrics")


@dataclass(slots=True)
class _Found:
    """What a refresh has to write, and what it says."""

    profile: list[Row] = field(default_factory=list)
    drift: list[Row] = field(default_factory=list)
    summary: list[Row] = field(default_factory=list)
    verdicts: list[WindowVerdict] = field(default_factory=list)


def refresh(
    lake: Lake, spec: MonitorSpec, references: Mapping[str, ReferenceProfile], *, since: datetime, until: datetime
) -> list[WindowVerdict]:
    """Judge every window with rows in [since, until), per model version that has a reference, and store what changed.

    Windows are judged with up to 27 windows before them, whose counts an earlier refresh has stored. Rows and labels that came since are
    counted: a changed window's rows in the metric tables are replaced, an unchanged one's are left alone, so doing it twice
    is doing it once, and after a crash the next refresh of the same windows completes it. One commit per table at most.
    Run one refresh of a monitor at a time.

    Args:
        lake: holds the log and the metric tables, which are made where they are missing.
        spec: the monitor.
        references: model version to its frozen reference; rows of other versions are left out.
        since: the window that holds it is the first one.
        until: rows from here on are not looked at; the last window may be unfinished.

    Returns:
        Verdicts, oldest window first: drift for each window and version with rows, performance where labels have come.

    Raises:
        NotFound: there is no such log.
        InvalidInput: the log lacks the timestamp or the model version, or the period is empty.
    """
    since, until = utc(since), utc(until)
    if since >= until:
        raise InvalidInput("the period to refresh is empty", hint="give a since that is before until")
    granularity = Granularity.parse(spec.granularity)
    first, last = granularity.number(since), granularity.number(until - _INSTANT) + 1
    pinned = lake.pin(spec.table)
    log = _read_log(lake, spec, references, pinned=pinned, start=granularity.start(first - 1), until=until)
    stored = read_stored(lake, spec, first - _BEFORE, last)
    found = _Found()
    versions = log.column(spec.model_id_col).cast(pa.string())
    for version, reference in references.items():
        part = VersionLog.of(spec, version, reference, rows=log.filter(pc.equal(versions, version)), first=first)
        if part.now:
            _take(part, stored, pinned.version, found)
    if found.summary:
        _write(lake, spec, stored, found)
    return sorted(found.verdicts, key=lambda verdict: (verdict.start, verdict.model_version, verdict.kind))


def _take(part: VersionLog, stored: Stored, log_version: int, found: _Found) -> None:
    drift, performance = part.judge(stored)
    found.verdicts += [*drift, *performance.values()]
    profile_rows, drift_rows = part.changes(stored, log_version)
    found.profile += profile_rows
    found.drift += drift_rows
    for window, verdict in zip(part.now, drift, strict=True):
        row = summary_row(part.spec, window, part.baseline, verdict, performance.get(window.number))
        if not stored.same((part.version, window.number), row):
            found.summary.append(row)


def _read_log(
    lake: Lake,
    spec: MonitorSpec,
    references: Mapping[str, ReferenceProfile],
    *,
    pinned: TableVersion,
    start: datetime,
    until: datetime,
) -> pa.Table:
    schema = lake.schema(spec.table, pinned.version)
    for name in (spec.timestamp_col, spec.model_id_col):
        if name not in schema.names:
            hint = did_you_mean(name, schema.names)
            raise InvalidInput(f"the log {spec.table} has no column '{name}'", hint=hint, column=name)
    wanted = {spec.timestamp_col, spec.model_id_col, spec.label_col, spec.prediction_col, spec.proba_col}
    wanted |= {name for reference in references.values() for name in watched(spec, reference)}
    kind = schema.field(spec.timestamp_col).type
    at = pc.field(spec.timestamp_col)
    where = (at >= pa.scalar(start, _TIME).cast(kind)) & (at < pa.scalar(until, _TIME).cast(kind))
    return lake.read(spec.table, pinned.version, [name for name in schema.names if name in wanted], where)


def _write(lake: Lake, spec: MonitorSpec, stored: Stored, found: _Found) -> None:
    """Profile, drift, then the summary: its row says that the window is complete in all three."""
    names = MetricTables.of(spec)
    metrics = (
        (names.profile, profile_schema(spec), found.profile, "profile_version"),
        (names.drift, drift_schema(spec), found.drift, "drift_version"),
    )
    versions = {}
    for name, schema, rows, recorded in metrics:
        lake.ensure(name, schema, _DEFINITION)
        # Nothing was written since the newest summary row was (by a refresh that broke off, say): then new rows are new.
        complete = lake.pin(name).version == (stored.newest(recorded) or 0)
        versions[recorded] = int(
            _put(lake, spec, name, as_table(rows, schema), is_new=complete and _new(spec, stored, rows))
        )
    schema = summary_schema(spec)
    lake.ensure(names.summary, schema, _DEFINITION)
    summary = as_table([row | versions for row in found.summary], schema)
    _put(lake, spec, names.summary, summary, is_new=_new(spec, stored, found.summary))


def _put(lake: Lake, spec: MonitorSpec, name: TableName, rows: pa.Table, *, is_new: bool) -> int:
    """Write rows in one commit and return the table's version; appending is several times faster than merging."""
    if not rows.num_rows:
        return lake.pin(name).version
    if is_new:
        return lake.append(name, rows, "monitor refresh").version
    return lake.merge(name, rows, keys(rows.schema, spec), "monitor refresh").version


def _new(spec: MonitorSpec, stored: Stored, rows: Sequence[Row]) -> bool:
    granularity = Granularity.parse(spec.granularity)
    found = {(str(row[spec.model_id_col]), granularity.number(cast("datetime", row["window_start"]))) for row in rows}
    return not found & set(stored.rows)
