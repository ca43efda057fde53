from __future__ import annotations

import math

import pytest

from millrace.core.errors import InvalidInput
from millrace.monitoring.types import MonitorSpec


@pytest.mark.parametrize(
    "change",
    [
        {"false_alarms_per_year": 0.0},
        {"false_alarms_per_year": math.nan},
        {"false_alarms_per_year": math.inf},
        {"effect_floor": 0.0},
        {"effect_floor": 1.5},
        {"effect_floor": math.nan},
        {"label_coverage": 0.0},
    ],
)
def test_impossible_specs_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(InvalidInput):
        MonitorSpec("logs.p", "metrics", **change)  # type: ignore[arg-type]
