"""Which windows the rows of a reference are in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from millrace.monitoring.reference.cells import Ints, as_numbers
from millrace.monitoring.windows import Granularity

LEAST_ROWS = 30
_SPANS = {1: "day", 7: "week"}


def spans(timestamps: Any) -> Mapping[int, Ints]:
    """Span in days (1, 7) to the number of the window that each row is in."""
    times = as_numbers(timestamps, "timestamps").astype(np.int64)
    return {span: Granularity(1, unit).numbers(times) for span, unit in _SPANS.items()}
