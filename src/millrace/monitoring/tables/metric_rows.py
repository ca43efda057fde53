"""One window of one model version as rows of the profile and drift tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from millrace.monitoring.counts.window_counts import WindowCounts
from millrace.monitoring.reference.cells import Kind
from millrace.monitoring.reference.column import ColumnProfile
from millrace.monitoring.tables.compare import baseline_counts, baseline_row, compare, deltas
from millrace.monitoring.tables.statistics import Row, column_row, table_row
from millrace.monitoring.types import MonitorSpec
from millrace.monitoring.windows import Granularity

WHOLE = ":table"
_MONITOR_VERSION = 0
_TYPES = {"int64": "bigint", "int32": "int", "bool": "boolean", "date32[day]": "date", "large_string": "string"}
_OF_KIND: Mapping[Kind, str] = {"numeric": "double", "text": "string"}


@dataclass(frozen=True, slots=True)
class Window:
    """A window with its rows at hand.

    Attributes:
        log_rows: the window's rows of the log.
        statistics: watched column to its profile statistics.
    """

    counts: WindowCounts
    log_rows: pa.Table
    statistics: Mapping[str, Row]

    @classmethod
    def of(cls, counts: WindowCounts, log_rows: pa.Table, columns: Mapping[str, ColumnProfile]) -> Window:
        """Take the statistics of each watched column; one that the log lacks is null in every row."""
        statistics = {name: column_row(_column(log_rows, name), profile) for name, profile in columns.items()}
        return cls(counts, log_rows, statistics)


def profile_rows(spec: MonitorSpec, version: str, window: Window, log_version: int) -> Iterator[Row]:
    """The `:table` row first, then one per watched column."""
    same = _same(spec, version, window) | {"log_type": "INPUT", "logging_table_commit_version": log_version}
    yield same | {"column_name": WHOLE} | table_row(window.log_rows, spec)
    for name, statistics in window.statistics.items():
        yield same | {"column_name": name, "data_type": _type(window.log_rows, name)} | statistics


def drift_rows(
    spec: MonitorSpec, version: str, window: Window, before: Window | None, columns: Mapping[str, ColumnProfile]
) -> Iterator[Row]:
    """BASELINE rows against the reference and, where the window before has rows, CONSECUTIVE rows against it."""
    same = _same(spec, version, window)
    yield from (same | row for row in _baseline(window, columns))
    if before is not None:
        compared = _period(spec, before.counts.number)
        yield from (same | {"window_cmp": compared} | row for row in _consecutive(window, before, columns))


def _baseline(window: Window, columns: Mapping[str, ColumnProfile]) -> Iterator[Row]:
    present = [name for name, profile in columns.items() if profile.missing < profile.rows]
    rows = max((profile.rows for profile in columns.values()), default=0)
    yield _whole("BASELINE", window.counts.rows - rows, present, _present(window))
    for name, profile in columns.items():
        row = compare(profile, baseline_counts(profile), window.counts.cells[name])
        yield _of_column("BASELINE", name, profile) | row | deltas(baseline_row(profile), window.statistics[name])


def _consecutive(window: Window, before: Window, columns: Mapping[str, ColumnProfile]) -> Iterator[Row]:
    yield _whole("CONSECUTIVE", window.counts.rows - before.counts.rows, _present(before), _present(window))
    for name, profile in columns.items():
        row = compare(profile, before.counts.cells[name], window.counts.cells[name])
        yield _of_column("CONSECUTIVE", name, profile) | row | deltas(before.statistics[name], window.statistics[name])


def _whole(drift_type: str, count_delta: int, before: Sequence[str], now: Sequence[str]) -> Row:
    changed = {"added": len(set(now) - set(before)), "missing": len(set(before) - set(now))}
    return {
        "drift_type": drift_type,
        "column_name": WHOLE,
        "count_delta": count_delta,
        "non_null_columns_delta": changed,
    }


def _of_column(drift_type: str, name: str, profile: ColumnProfile) -> Row:
    return {"drift_type": drift_type, "column_name": name, "data_type": _OF_KIND[profile.kind]}


def _same(spec: MonitorSpec, version: str, window: Window) -> Row:
    granularity, number = Granularity.parse(spec.granularity), window.counts.number
    return {
        "window": _period(spec, number),
        "window_start": granularity.start(number),
        "monitor_version": _MONITOR_VERSION,
        "granularity": str(granularity),
        spec.model_id_col: version,
    }


def _period(spec: MonitorSpec, number: int) -> Row:
    granularity = Granularity.parse(spec.granularity)
    return {"start": granularity.start(number), "end": granularity.start(number + 1)}


def _present(window: Window) -> Sequence[str]:
    return [name for name, cells in window.counts.cells.items() if cells[1:].sum()]


def _column(rows: pa.Table, name: str) -> Any:
    return rows.column(name) if name in rows.column_names else pa.nulls(rows.num_rows)


def _type(rows: pa.Table, name: str) -> str | None:
    if name not in rows.column_names:
        return None
    shown = str(rows.column(name).type)
    return _TYPES.get(shown, shown)
