from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from millrace.monitoring.types import WindowVerdict
from millrace.pipeline.heard import observation, windows

NOW, DAY = datetime(2026, 3, 20, tzinfo=UTC), timedelta(days=1)


def estimate(day: int, status: Any, **figures: float) -> WindowVerdict:
    start = NOW + day * DAY
    return WindowVerdict("estimate", "3", start, start + DAY, status, 0.1, (), "so", figures)


@pytest.mark.parametrize(
    ("status", "bad"),
    [
        ("ok", False),
        ("explained", False),
        ("drift", True),
        ("broken", True),
        ("degraded", True),
        ("insufficient_data", None),
    ],
)
@pytest.mark.parametrize("severity", ["info", "warning", "critical"])
def test_alerts_hear_what_a_verdict_means_and_how_bad_it_is(status: Any, severity: Any, *, bad: bool | None) -> None:
    verdict = WindowVerdict(
        "quality", "3", NOW, NOW + DAY, status, 0.2, ("spend",), "spend is gone", {"rows": 5}, severity
    )
    heard = observation("shop v3", verdict)
    assert (heard.bad, heard.kind, heard.at, heard.reason) == (bad, "quality", verdict.end, "spend is gone")
    assert heard.subject == "shop v3"
    assert heard.data == {"columns": ["spend"], "score": 0.2, "severity": severity, "rows": 5}


def test_an_estimate_that_labels_show_to_be_wrong_is_taken_back() -> None:
    wrong, unknown = estimate(3, "insufficient_data", trusted=0.0), estimate(3, "insufficient_data", trusted=1.0)
    assert observation("shop v3", wrong).bad is False
    assert observation("shop v3", unknown).bad is None
    before = [estimate(day, "degraded") for day in range(3)]
    assert windows([*before, unknown]) == {"estimate": [True] * 3}
    assert windows([*before, wrong]) == {"estimate": [False]}
    assert windows([*before, wrong, estimate(4, "degraded", trusted=1.0)]) == {"estimate": [False, True]}


def test_windows_of_each_kind_are_its_conclusive_ones() -> None:
    moved = WindowVerdict("drift", "3", NOW, NOW + DAY, "drift", 0.1, ("x",), "so")
    drift = [moved, replace(moved, severity="info"), replace(moved, status="explained")]
    assert windows([*drift, estimate(1, "insufficient_data")]) == {"drift": [True, False, False]}
