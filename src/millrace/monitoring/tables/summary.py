"""The summary table: a window's verdicts and counts in one row, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.lake.lake import Lake
from millrace.monitoring.counts.sums import LossSums
from millrace.monitoring.counts.window_counts import WindowCounts
from millrace.monitoring.tables.schemas import MetricTables
from millrace.monitoring.tables.statistics import Row
from millrace.monitoring.types import MonitorSpec, Status, WindowVerdict
from millrace.monitoring.windows import Granularity

_VERSIONS = ("profile_version", "drift_version")
WindowKey = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Stored:
    """Summary rows that are there, by model version and window number."""

    rows: Mapping[WindowKey, Row]

    def counts(self, version: str, baseline: str) -> Sequence[WindowCounts]:
        """Windows of a version that were counted in the cells of this baseline, oldest first."""
        found = [
            (number, row) for (of, number), row in self.rows.items() if of == version and row["baseline"] == baseline
        ]
        return [_counts(row, number) for number, row in sorted(found, key=lambda one: one[0])]

    def same(self, key: WindowKey, row: Row) -> bool:
        """Whether the row is there already, the versions of the other tables aside."""
        there = self.rows.get(key)
        return there is not None and all(there[name] == value for name, value in row.items() if name not in _VERSIONS)

    def newest(self, name: str) -> int | None:
        """The largest `profile_version` or `drift_version`."""
        return max((cast("int", row[name]) for row in self.rows.values()), default=None)


def read_stored(lake: Lake, spec: MonitorSpec, first: int, last: int) -> Stored:
    """Summary rows of the windows numbered from first to last - 1; none where there is no table yet."""
    granularity = Granularity.parse(spec.granularity)
    name = MetricTables.of(spec).summary
    if not lake.exists(name):
        return Stored({})
    found = _read(lake, spec, granularity.start(first), granularity.start(last))
    return Stored(
        {(str(row[spec.model_id_col]), granularity.number(cast("datetime", row["window_start"]))): row for row in found}
    )


def summary_row(
    spec: MonitorSpec, window: WindowCounts, baseline: str, drift: WindowVerdict, performance: WindowVerdict | None
) -> Row:
    """The row of a window, without the versions of the other tables."""
    row: Row = {
        "date": drift.start.date(),
        "window": {"start": drift.start, "end": drift.end},
        "window_start": drift.start,
        "granularity": str(Granularity.parse(spec.granularity)),
        spec.model_id_col: drift.model_version,
        "drift_score": drift.score,
        "drifted_columns": list(drift.columns),
        "status": drift.status,
        "reason": drift.reason,
        "figures": sorted(drift.figures.items()),
        "rows": window.rows,
        "labelled": window.loss.labelled,
        "loss_sum": window.loss.total,
        "loss_squares": window.loss.squares,
        "baseline": baseline,
        "cells": [{"column_name": name, "counts": counts.tolist()} for name, counts in sorted(window.cells.items())],
    }
    names = ("score", "status", "reason", "figures")
    return row | {f"performance_{name}": _field(performance, name) for name in names}


def read_verdicts(
    lake: Lake, spec: MonitorSpec, *, since: datetime, until: datetime, model_version: str | None = None
) -> list[WindowVerdict]:
    """Verdicts that `refresh` has written, for windows that start in [since, until), oldest first; drift before performance."""
    if not lake.exists(MetricTables.of(spec).summary):
        return []
    rows = _read(lake, spec, since, until)
    verdicts = [verdict for row in rows for verdict in _verdicts(spec, row)]
    chosen = [verdict for verdict in verdicts if model_version in (None, verdict.model_version)]
    return sorted(chosen, key=lambda verdict: (verdict.start, verdict.model_version, verdict.kind))


def _read(lake: Lake, spec: MonitorSpec, since: datetime, until: datetime) -> list[Row]:
    at = pc.field("window_start")
    kind = pa.timestamp("us", tz="UTC")
    where = (at >= pa.scalar(since, kind)) & (at < pa.scalar(until, kind))
    where &= pc.field("granularity") == str(Granularity.parse(spec.granularity))
    rows: list[Row] = lake.read(MetricTables.of(spec).summary, where=where).to_pylist()
    return rows


def _counts(row: Row, number: int) -> WindowCounts:
    known = cast("Any", row)
    cells = {one["column_name"]: np.array(one["counts"], dtype=np.int64) for one in known["cells"]}
    loss = LossSums(known["labelled"], known["loss_sum"], known["loss_squares"])
    return WindowCounts(number, known["rows"], loss, cells)


def _verdicts(spec: MonitorSpec, row: Row) -> Sequence[WindowVerdict]:
    known = cast("Any", row)
    version, start, end = known[spec.model_id_col], known["window"]["start"], known["window"]["end"]
    drift = WindowVerdict(
        "drift",
        version,
        start,
        end,
        cast("Status", known["status"]),
        known["drift_score"],
        tuple(known["drifted_columns"]),
        known["reason"],
        dict(known["figures"]),
    )
    if known["performance_status"] is None:
        return [drift]
    status, score = cast("Status", known["performance_status"]), known["performance_score"]
    reason, figures = known["performance_reason"], dict(known["performance_figures"])
    return [drift, WindowVerdict("performance", version, start, end, status, score, (), reason, figures)]


def _field(verdict: WindowVerdict | None, name: str) -> object:
    if verdict is None:
        return None
    value = getattr(verdict, name)
    return sorted(value.items()) if name == "figures" else value
