"""Windows as counts: what is kept of each window, and enough to judge it, or any sum of windows, without its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from millrace.monitoring.counts.sums import Moments
from millrace.monitoring.reference.answers import Answers
from millrace.monitoring.reference.cells import Ints
from millrace.monitoring.reference.column import ColumnProfile
from millrace.monitoring.reference.profile import ReferenceProfile
from millrace.monitoring.types import MonitorSpec

_Sum = TypeVar("_Sum", int, Ints, Moments)


@dataclass(frozen=True, slots=True)
class WindowCounts:
    """One window of one model version, of all its rows or of a slice of them. `+` adds the rows of two.

    Adding is commutative and associative (sums of floats to rounding), so that longer windows are sums of shorter ones, and rows that come later
    are added to what was counted.

    Attributes:
        number: the window's number by its granularity; a sum has the later one's.
        rows: rows of the log.
        cells: column name to 1 + k counts, missing values (null and NaN) first; k cells of the reference.
        moments: column name to sums over its values.
        absent: column name to rows that were logged without the column, or with values that can't be read as the reference's kind; they are
            among the missing ones. Columns that never were are not here.
        answers: what was said and what came true; None where the reference has no answers to compare with.
        newest_us: the time of the newest row, in microseconds since 1970; None without rows.
    """

    number: int
    rows: int
    cells: Mapping[str, Ints] = field(default_factory=dict)
    moments: Mapping[str, Moments] = field(default_factory=dict)
    absent: Mapping[str, int] = field(default_factory=dict)
    answers: Answers | None = None
    newest_us: int | None = None

    def __add__(self, other: WindowCounts) -> WindowCounts:
        """Both together. Columns must have the same cells, those of one reference."""
        newest = [at for at in (self.newest_us, other.newest_us) if at is not None]
        return WindowCounts(
            max(self.number, other.number),
            self.rows + other.rows,
            _added(self.cells, other.cells),
            _added(self.moments, other.moments),
            _added(self.absent, other.absent),
            other.answers
            if self.answers is None
            else self.answers
            if other.answers is None
            else self.answers + other.answers,
            max(newest, default=None),
        )


def watched(spec: MonitorSpec, reference: ReferenceProfile) -> Mapping[str, ColumnProfile]:
    """Column of the log to its profile: the features that the spec names (or all), then probability and prediction."""
    features = {
        column.name: column for column in reference.columns if not spec.feature_cols or column.name in spec.feature_cols
    }
    answers = {spec.proba_col: reference.probability, spec.prediction_col: reference.prediction}
    return features | {name: column for name, column in answers.items() if column is not None}


def _added(one: Mapping[str, _Sum], other: Mapping[str, _Sum]) -> Mapping[str, _Sum]:
    found = dict(one)
    for name, value in other.items():
        found[name] = found[name] + value if name in found else value
    return found
