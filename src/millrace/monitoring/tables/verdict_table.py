"""The table of verdicts, and the summary of them that a person or an alert reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from millrace.lake.lake import Lake
from millrace.monitoring.tables.schemas import KINDS, MetricTables
from millrace.monitoring.tables.statistics import Row
from millrace.monitoring.types import MonitorSpec, WindowVerdict
from millrace.monitoring.windows import Granularity

_TIME = pa.timestamp("us", tz="UTC")


def verdict_row(spec: MonitorSpec, verdict: WindowVerdict) -> Row:
    """The verdict as a row."""
    return {
        "window": {"start": verdict.start, "end": verdict.end},
        "window_start": verdict.start,
        "granularity": str(Granularity.parse(spec.granularity)),
        spec.model_id_col: verdict.model_version,
        "kind": verdict.kind,
        "status": verdict.status,
        "severity": verdict.severity,
        "score": verdict.score,
        "columns": list(verdict.columns),
        "reason": verdict.reason,
        "figures": sorted(verdict.figures.items()),
    }


def summary_rows(spec: MonitorSpec, verdicts: Iterable[WindowVerdict]) -> Sequence[Row]:
    """One row per window and version."""
    rows: dict[tuple[datetime, str], Row] = {}
    for verdict in verdicts:
        row = rows.setdefault((verdict.start, verdict.model_version), _window(spec, verdict))
        if verdict.kind == "drift":
            row |= {"drift_score": verdict.score, "drifted_columns": list(verdict.columns)}
            row |= {"status": verdict.status, "reason": verdict.reason}
        else:
            row |= {f"{verdict.kind}_status": verdict.status, f"{verdict.kind}_reason": verdict.reason}
        if verdict.kind == "performance":
            row["performance_score"] = verdict.score
    return list(rows.values())


def read_verdicts(
    lake: Lake, spec: MonitorSpec, *, since: datetime, until: datetime, model_version: str | None = None
) -> list[WindowVerdict]:
    """Verdicts that `refresh` has written, for windows that start in [since, until), oldest first; by kind where they are of one window."""
    name = MetricTables.of(spec).verdicts
    if not lake.exists(name):
        return []
    at = pc.field("window_start")
    rows = lake.read(name, where=(at >= pa.scalar(since, _TIME)) & (at < pa.scalar(until, _TIME))).to_pylist()
    granularity = str(Granularity.parse(spec.granularity))
    found = [_verdict(spec, row) for row in rows if row["granularity"] == granularity and row["kind"] in KINDS]
    chosen = [verdict for verdict in found if model_version in (None, verdict.model_version)]
    return sorted(chosen, key=lambda verdict: (verdict.start, verdict.model_version, verdict.kind))


def _window(spec: MonitorSpec, verdict: WindowVerdict) -> Row:
    return {
        "date": verdict.start.date(),
        "window": {"start": verdict.start, "end": verdict.end},
        "window_start": verdict.start,
        "granularity": str(Granularity.parse(spec.granularity)),
        spec.model_id_col: verdict.model_version,
    }


def _verdict(spec: MonitorSpec, row: Mapping[str, Any]) -> WindowVerdict:
    return WindowVerdict(
        row["kind"],
        row[spec.model_id_col],
        row["window"]["start"],
        row["window"]["end"],
        row["status"],
        row["score"],
        tuple(row["columns"]),
        row["reason"],
        dict(cast("Any", row["figures"])),
        row["severity"],
    )
