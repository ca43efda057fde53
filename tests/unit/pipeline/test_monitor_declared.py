"""What a pipeline's page says of its monitor."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

import millrace as mr
from millrace.core.errors import InvalidInput
from millrace.monitoring.types import MonitorSpec
from millrace.pipeline.stages.watch import _finished  # a rule of the stage


def test_all_of_it_reaches_the_monitor() -> None:
    metric = mr.Metric("north", "count(*) FILTER (region = 'north')")
    monitor = mr.Monitor(
        "1 hour", 2.0, 0.2, "mine", ("1 day", "1 month"), ("region",), (metric,), ("amount",), label_coverage=0.9
    )
    assert monitor.spec("logs.p") == MonitorSpec(
        "logs.p",
        "mine",
        granularity="1 hour",
        granularities=("1 day", "1 month"),
        slices=("region",),
        metrics=(metric,),
        feature_cols=("amount",),
        false_alarms_per_year=2.0,
        effect_floor=0.2,
        label_coverage=0.9,
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"granularity": "1 fortnight"},
        {"granularities": ("7 minutes",), "granularity": "1 hour"},
        {"label_coverage": 0.0},
        {"false_alarms_per_year": 0.0},
    ],
)
def test_what_can_t_be_is_refused_where_it_is_written(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        mr.Monitor(**wrong)  # type: ignore[arg-type]


def test_only_windows_that_are_over_are_judged() -> None:
    wednesday = datetime(2025, 3, 12, tzinfo=UTC)
    for text, end in (
        ("1 day", wednesday),
        ("1 week", datetime(2025, 3, 10, tzinfo=UTC)),
        ("1 month", datetime(2025, 3, 1, tzinfo=UTC)),
    ):
        assert _finished(MonitorSpec("l", "m", granularity=text), wednesday) == end
