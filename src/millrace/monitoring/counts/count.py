"""One pass over rows of a log into counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.monitoring.counts.sums import LossSums, Moments
from millrace.monitoring.counts.window_counts import WindowCounts
from millrace.monitoring.reference.cells import Floats, Ints, as_numbers, as_text, count_cells, kind_of
from millrace.monitoring.reference.column import ColumnProfile
from millrace.monitoring.reference.losses import row_losses
from millrace.monitoring.reference.profile import ReferenceProfile
from millrace.monitoring.types import MonitorSpec


def count_windows(
    log: pa.Table,
    numbers: Ints,
    columns: Mapping[str, ColumnProfile],
    losses: Floats,
    times_us: Ints | None = None,
) -> Sequence[WindowCounts]:
    """Count a log window by window, oldest first.

    Args:
        log: n rows of one model version; a watched column that it lacks counts as missing in every row.
        numbers: n window numbers.
        columns: column name to its profile.
        losses: n losses, NaN where the label is not known.
        times_us: n times in microseconds since 1970; None where the newest row's does not matter.
    """
    present, positions = np.unique(numbers, return_inverse=True)
    positions = positions.astype(np.int64)
    readable = {name: profile for name, profile in columns.items() if _readable(log, name, profile)}
    cells = {name: _cells(log, name, profile, positions, len(present)) for name, profile in columns.items()}
    rows = np.bincount(positions, minlength=len(present))
    counted = []
    for at, number in enumerate(present):
        here = positions == at
        counted.append(
            WindowCounts(
                int(number),
                int(rows[at]),
                LossSums.of(losses[here]),
                {name: counts[at] for name, counts in cells.items()},
                {name: _moments(log, name, profile, here) for name, profile in readable.items()},
                {name: int(rows[at]) for name in columns if name not in readable},
                newest_us=None if times_us is None else int(times_us[here].max()),
            )
        )
    return counted


def log_losses(log: pa.Table, spec: MonitorSpec, reference: ReferenceProfile) -> Floats:
    """The loss of each row, of the kind that the reference has (wrong or not, where it has none); NaN without a label."""
    kind = "zero_one" if reference.loss is None else reference.loss.kind
    answer = spec.proba_col if kind == "log_loss" else spec.prediction_col
    if not {spec.label_col, answer} <= set(log.column_names):
        return np.full(log.num_rows, np.nan)
    labels, answers = log.column(spec.label_col), log.column(answer)
    return row_losses(labels, answers, None) if kind == "log_loss" else row_losses(labels, None, answers)


def _readable(log: pa.Table, name: str, profile: ColumnProfile) -> bool:
    """By type, not by value: so it is the same for any part of the rows."""
    if name not in log.column_names:
        return False
    type_ = log.schema.field(name).type
    if pa.types.is_nested(type_) or pa.types.is_binary(type_):
        return False
    return profile.kind == "text" or pa.types.is_null(type_) or kind_of(type_) == "numeric"


def _cells(log: pa.Table, name: str, profile: ColumnProfile, positions: Ints, windows: int) -> Ints:
    size = len(profile.counts)
    if not _readable(log, name, profile):
        return count_cells(np.full(log.num_rows, -1, dtype=np.int64), positions, windows, size)
    return count_cells(profile.cells_of(log.column(name)), positions, windows, size)


def _moments(log: pa.Table, name: str, profile: ColumnProfile, here: Any) -> Moments:
    column = log.column(name).filter(pa.array(here))
    return Moments.of(_values(column, profile), column.null_count)


def _values(column: Any, profile: ColumnProfile) -> Floats:
    """Numbers, or the lengths of texts; null is NaN."""
    if profile.kind == "text":
        return as_numbers(pc.utf8_length(as_text(column)), profile.name)
    return as_numbers(column, profile.name)
