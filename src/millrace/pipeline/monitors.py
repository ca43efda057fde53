"""Monitors by name: their references, and a refresh of one, with or without a pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from millrace.core.errors import InvalidInput, InvalidState, NotFound
from millrace.core.names import TableName, did_you_mean
from millrace.lake.lake import Lake
from millrace.monitoring.counts.read_log import LogReader
from millrace.monitoring.counts.update import counts_table
from millrace.monitoring.known import KnownMonitor, monitors, remember
from millrace.monitoring.reference.profile import ReferenceProfile
from millrace.monitoring.refresh import Refreshed, refresh
from millrace.monitoring.types import MonitorSpec
from millrace.monitoring.windows import Granularity
from millrace.pipeline.port import Services
from millrace.pipeline.reference import reference_of
from millrace.registry.types import ModelName

if TYPE_CHECKING:
    import pyarrow as pa


def create_monitor(services: Services, spec: MonitorSpec, baseline: str) -> KnownMonitor:
    """Set up a monitor over any inference log, with a table as its reference; the table's version of now is the one that is read.

    Raises:
        NotFound: there is no such log, or no such table.
        InvalidState: its tables are those of a pipeline's monitor, or of one over another log.
        InvalidInput: the log or the table lacks a column that the monitor needs, or the table has no rows.
    """
    log = services.lake.entry(spec.table).name
    pinned = services.lake.pin(baseline)
    taken = {one.name for one in monitors(services.lake) if counts_table(one.spec) != counts_table(spec)}
    name = f"{spec.output_schema}.{log.table}" if log.table in taken else log.table
    monitor = KnownMonitor(name, spec, baseline=str(pinned))
    _refuse_another(services.lake, monitor)
    LogReader.of(services.lake, spec, references(services, monitor), {})  # refuses what can't be counted
    remember(services.lake, monitor)
    return monitor


def _refuse_another(lake: Lake, monitor: KnownMonitor) -> None:
    """Two monitors with the same tables would take turns in counting everything anew."""
    spec = monitor.spec
    for other in monitors(lake):
        if counts_table(other.spec) != counts_table(spec):
            continue
        if other.model is not None or TableName.parse(other.spec.table) != TableName.parse(spec.table):
            whose = f"pipeline {other.name}" if other.model is not None else f"the log {other.spec.table}"
            raise InvalidState(
                f"{spec.output_schema} has the tables of a monitor of this name already, that of {whose}",
                hint="give the new one's tables another --schema",
            )


def references(services: Services, monitor: KnownMonitor) -> Mapping[str, ReferenceProfile]:
    """Model version to its reference: those that were in production, or that the baseline has rows for."""
    if monitor.baseline is not None:
        return _of_table(services, monitor.spec, monitor.baseline)
    found: dict[str, ReferenceProfile] = {}
    for move in services.promotions.read(ModelName(monitor.model or "")):
        if move.alias == "production" and "run_id" in move.verdict and str(move.version) not in found:
            try:
                found[str(move.version)] = reference_of(services, str(move.verdict["run_id"]))
            except NotFound:  # its run was deleted since
                continue
    return found


def refresh_monitor(services: Services, monitor: KnownMonitor) -> Refreshed:
    """Count and judge what is new, up to the newest window that is over. Raises as `refresh` does, and InvalidState without a reference."""
    spec, known = monitor.spec, references(services, monitor)
    if not known:
        raise InvalidState(
            f"monitor '{monitor.name}' has no reference", hint="its model has no version that went into production yet"
        )
    granularity = Granularity.parse(spec.granularity)
    until = granularity.start(granularity.number(services.clock.now()))
    since = granularity.start(granularity.number(until) - 1)
    return refresh(services.lake, spec, known, since=since, until=until)


def _of_table(services: Services, spec: MonitorSpec, baseline: str) -> Mapping[str, ReferenceProfile]:
    import pyarrow.compute as pc

    name, _, version = baseline.rpartition("@")
    rows = services.lake.read(name, int(version))
    if spec.model_id_col in rows.column_names:
        of = rows.column(spec.model_id_col).cast("string")
        versions = sorted(one for one in of.unique().to_pylist() if one is not None)
        return {one: _profile(spec, rows.filter(pc.equal(of, one)), name) for one in versions}
    log = services.lake.read(spec.table, columns=[spec.model_id_col]).column(0).cast("string")
    profile = _profile(spec, rows, name)
    return {one: profile for one in log.unique().to_pylist() if one is not None}


def _profile(spec: MonitorSpec, rows: pa.Table, name: str) -> ReferenceProfile:
    given = {spec.timestamp_col, spec.prediction_col, spec.model_id_col, spec.label_col, spec.proba_col}
    features = list(spec.feature_cols) or [column for column in rows.column_names if column not in given]
    unknown = [column for column in features if column not in rows.column_names]
    if unknown:
        hint = did_you_mean(unknown[0], rows.column_names)
        raise InvalidInput(f"the baseline {name} has no column '{unknown[0]}'", hint=hint, column=unknown[0])

    def column(of: str) -> pa.Array | None:
        return rows.column(of).combine_chunks() if of in rows.column_names else None

    return ReferenceProfile.build(
        rows.select(features),
        column(spec.proba_col),
        column(spec.label_col),
        features,
        predictions=column(spec.prediction_col),
        timestamps=column(spec.timestamp_col),
    )
