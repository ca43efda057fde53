"""Windows as counts: what is kept of each window, and enough to judge it, or any sum of windows, without its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum
from typing import Any

import numpy as np
import pyarrow as pa

from millrace.monitoring.reference.cells import Floats, Ints, count_cells
from millrace.monitoring.reference.losses import row_losses
from millrace.monitoring.reference.profile import ColumnProfile, ReferenceProfile
from millrace.monitoring.types import MonitorSpec


@dataclass(frozen=True, slots=True)
class LossSums:
    """Labelled rows and the sums of their losses and squared losses, exactly rounded: row order does not matter."""

    labelled: int = 0
    total: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, losses: Floats) -> LossSums:
        """Sum the losses that are known (not NaN)."""
        known = losses[~np.isnan(losses)]
        return cls(len(known), fsum(known), fsum(known * known))


@dataclass(frozen=True, slots=True)
class WindowCounts:
    """One window of one model version.

    Attributes:
        number: the window's number by its granularity.
        rows: rows of the log.
        cells: column name to 1 + k counts, missing values first.
    """

    number: int
    rows: int
    loss: LossSums
    cells: Mapping[str, Ints] = field(default_factory=dict)


def watched(spec: MonitorSpec, reference: ReferenceProfile) -> Mapping[str, ColumnProfile]:
    """Column of the log to its profile: the features that the spec names (or all), then probability and prediction."""
    features = {
        column.name: column for column in reference.columns if not spec.feature_cols or column.name in spec.feature_cols
    }
    answers = {spec.proba_col: reference.probability, spec.prediction_col: reference.prediction}
    return features | {name: column for name, column in answers.items() if column is not None}


def count_windows(
    log: pa.Table, numbers: Ints, columns: Mapping[str, ColumnProfile], losses: Floats
) -> Sequence[WindowCounts]:
    """Count a log window by window, oldest first.

    Args:
        log: n rows of one model version; a watched column that it lacks counts as missing in every row.
        numbers: n window numbers.
        columns: column name to its profile.
        losses: n losses, NaN where the label is not known.
    """
    present, positions = np.unique(numbers, return_inverse=True)
    positions = positions.astype(np.int64)
    counted = {
        name: count_cells(_cells(log, name, profile), positions, len(present), len(profile.counts))
        for name, profile in columns.items()
    }
    rows = np.bincount(positions, minlength=len(present))
    return [
        WindowCounts(
            int(number),
            int(rows[at]),
            LossSums.of(losses[positions == at]),
            {name: counts[at] for name, counts in counted.items()},
        )
        for at, number in enumerate(present)
    ]


def log_losses(log: pa.Table, spec: MonitorSpec, reference: ReferenceProfile) -> Floats:
    """The loss of each row, of the kind that the reference has (wrong or not, where it has none); NaN without a label."""
    kind = "zero_one" if reference.loss is None else reference.loss.kind
    answer = spec.proba_col if kind == "log_loss" else spec.prediction_col
    if not {spec.label_col, answer} <= set(log.column_names):
        return np.full(log.num_rows, np.nan)
    labels, answers = log.column(spec.label_col), log.column(answer)
    return row_losses(labels, answers, None) if kind == "log_loss" else row_losses(labels, None, answers)


def _cells(log: pa.Table, name: str, profile: ColumnProfile) -> Any:
    if name not in log.column_names:
        return np.full(log.num_rows, -1, dtype=np.int64)
    return profile.cells_of(log.column(name))
