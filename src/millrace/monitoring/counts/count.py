"""One pass over rows of a log into counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from millrace.monitoring.counts.kernel import count_batch, moments
from millrace.monitoring.counts.window_counts import WindowCounts, watched
from millrace.monitoring.reference.cells import Ints, kind_of
from millrace.monitoring.reference.column import ColumnProfile
from millrace.monitoring.reference.count_answers import AnswerColumns, count_answers
from millrace.monitoring.reference.profile import ReferenceProfile
from millrace.monitoring.reference.tally import Tally
from millrace.monitoring.types import MonitorSpec


def count_windows(
    log: pa.Table,
    numbers: Ints,
    columns: Mapping[str, ColumnProfile],
    times_us: Ints | None = None,
) -> Sequence[WindowCounts]:
    """Count a log window by window, oldest first.

    Args:
        log: n rows of one model version; a watched column that it lacks counts as missing in every row.
        numbers: n window numbers.
        columns: column name to its profile.
        times_us: n times in microseconds since 1970; None where the newest row's does not matter.
    """
    present, positions = np.unique(numbers, return_inverse=True)
    positions = positions.astype(np.int64)
    size = len(present)
    tallies = count_batch(
        log, {name: profile for name, profile in columns.items() if _readable(log, name, profile)}, positions, size
    )
    rows = np.bincount(positions, minlength=size)
    order = np.argsort(positions, kind="stable")
    newest = None if times_us is None else np.maximum.reduceat(times_us[order], np.cumsum([0, *rows[:-1]]))
    return [
        WindowCounts(
            int(number),
            int(rows[at]),
            {name: _cells(tallies, name, profile, at, int(rows[at])) for name, profile in columns.items()},
            {name: moments(tally, at) for name, tally in tallies.items()},
            {name: int(rows[at]) for name in columns if name not in tallies},
            newest_us=None if newest is None else int(newest[at]),
        )
        for at, number in enumerate(present)
    ]


def count_version(
    log: pa.Table, numbers: Ints, spec: MonitorSpec, reference: ReferenceProfile, times_us: Ints | None = None
) -> Sequence[WindowCounts]:
    """Count rows of one model version against its reference: columns and answers; as `count_windows`."""
    if not log.num_rows:  # a slice whose expression is null in all rows of a batch
        return []
    counted = count_windows(log, numbers, watched(spec, reference), times_us)
    if reference.answers is None:
        return counted
    present = [window.number for window in counted]
    layout, positions = reference.answers.layout, np.searchsorted(present, numbers).astype(np.int64)
    said = layout.problem == "regression"
    columns = AnswerColumns(
        _column(log, spec.label_col, numeric=said),
        _column(log, spec.prediction_col, numeric=said),
        _column(log, spec.proba_col, numeric=True),
    )
    answers = count_answers(layout, columns, positions, len(present))
    return [replace(window, answers=one) for window, one in zip(counted, answers, strict=True)]


def _column(log: pa.Table, name: str, *, numeric: bool) -> Any:
    """A column of the log; None where it is not there, or not of the kind."""
    if name not in log.column_names or not _of_kind(log.schema.field(name).type, numeric=numeric):
        return None
    return log.column(name)


def _readable(log: pa.Table, name: str, profile: ColumnProfile) -> bool:
    """By type, not by value: so it is the same for any part of the rows."""
    if name not in log.column_names:
        return False
    return _of_kind(log.schema.field(name).type, numeric=profile.kind == "numeric")


def _of_kind(type_: pa.DataType, *, numeric: bool) -> bool:
    if pa.types.is_nested(type_) or pa.types.is_binary(type_):
        return False
    return not numeric or pa.types.is_null(type_) or kind_of(type_) == "numeric"


def _cells(tallies: Mapping[str, Tally], name: str, profile: ColumnProfile, at: int, rows: int) -> Ints:
    if name in tallies:
        counted: Ints = tallies[name].cells[at].copy()
        return counted
    return np.array([rows, *([0] * len(profile.counts))], dtype=np.int64)
