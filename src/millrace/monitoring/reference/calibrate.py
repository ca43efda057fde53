"""Which windows the rows of a reference are in, and by how much their losses differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from millrace.monitoring.reference.cells import Floats, Ints, as_numbers
from millrace.monitoring.windows import Granularity

LEAST_ROWS = 30
_LEAST_LOSS_WINDOWS = 3
_SPANS = {1: "day", 7: "week"}


def spans(timestamps: Any) -> Mapping[int, Ints]:
    """Span in days (1, 7) to the number of the window that each row is in."""
    times = as_numbers(timestamps, "timestamps").astype(np.int64)
    return {span: Granularity(1, unit).numbers(times) for span, unit in _SPANS.items()}


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
