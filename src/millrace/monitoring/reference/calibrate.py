"""How much the reference varies by itself: its own windows against the rest of it.

Rows of neighbouring windows are about the same customers and the same season, so they are not independent, and a p-value alone
cries wolf. What the reference's windows did among themselves is what normal looks like.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from millrace.monitoring.reference.cells import Floats, Ints, Kind, as_numbers
from millrace.monitoring.reference.effects import effects, shares
from millrace.monitoring.reference.past import ReferenceWindows
from millrace.monitoring.windows import Granularity

LEAST_ROWS = 30
_LEAST_WINDOWS = 6
_LEAST_LOSS_WINDOWS = 3
_SPANS = {1: "day", 7: "week"}
_SURE = 6.0
_TYPICAL = 2.0


@dataclass(frozen=True, slots=True)
class Variation:
    """Distances between the reference's windows and the rest of the reference, chance taken off.

    Attributes:
        windows: how many.
        mean, sd: of their distances.
    """

    windows: int
    mean: float
    sd: float

    @property
    def limit(self) -> float:
        """What no such window comes near: mean + 6 sd."""
        return self.mean + _SURE * self.sd

    @property
    def typical(self) -> float:
        """What such windows do reach: mean + 2 sd."""
        return self.mean + _TYPICAL * self.sd


def spans(timestamps: Any) -> Mapping[int, Ints]:
    """Span in days (1, 7) to the number of the window that each row is in."""
    times = as_numbers(timestamps, "timestamps").astype(np.int64)
    return {span: Granularity(1, unit).numbers(times) for span, unit in _SPANS.items()}


def column_variation(
    kind: Kind, windows: Mapping[int, ReferenceWindows]
) -> tuple[Mapping[int, Variation], Mapping[int, Variation]]:
    """By span: the variation of the distribution, and that of the share of missing values."""
    found: dict[int, Variation] = {}
    missing: dict[int, Variation] = {}
    for span, kept in windows.items():
        counts = np.column_stack([np.array(kept.missing, dtype=np.int64), np.array(kept.counts, dtype=np.int64)])
        rest = counts.sum(axis=0) - counts
        values, values_rest = counts[:, 1:], rest[:, 1:]
        enough = (values.sum(axis=1) >= LEAST_ROWS) & (values_rest.sum(axis=1) >= LEAST_ROWS)
        _enter(found, span, effects(kind, values_rest, values)[enough])
        enough = (counts.sum(axis=1) >= LEAST_ROWS) & (rest.sum(axis=1) >= LEAST_ROWS)
        _enter(missing, span, np.abs(shares(counts)[:, 0] - shares(rest)[:, 0])[enough])
    return found, missing


def loss_spread(losses: Floats, weeks: Ints) -> float:
    """Standard deviation of the weekly mean loss beyond what chance explains; 0 with fewer than 3 weeks of 30 rows.

    The method of moments for random effects: variance of the means less their mean sampling variance.
    """
    groups = [losses[weeks == week] for week in np.unique(weeks)]
    groups = [group for group in groups if len(group) >= LEAST_ROWS]
    if len(groups) < _LEAST_LOSS_WINDOWS:
        return 0.0
    means = np.array([group.mean() for group in groups])
    sampling = np.mean([group.var(ddof=1) / len(group) for group in groups])
    return float(np.sqrt(max(means.var(ddof=1) - sampling, 0.0)))


def _enter(into: dict[int, Variation], span: int, values: Floats) -> None:
    if len(values) >= _LEAST_WINDOWS:
        into[span] = Variation(len(values), float(values.mean()), float(values.std(ddof=1)))
