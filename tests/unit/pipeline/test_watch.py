from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from millrace.monitoring.types import WindowVerdict
from millrace.pipeline.stages.watch import _observation
from tests.unit.pipeline.conftest import NOW
from tests.unit.pipeline.shop import declared


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
        "quality", "3", NOW, NOW + timedelta(days=1), status, 0.2, ("spend",), "spend is gone", {"rows": 5}, severity
    )
    heard = _observation(declared(), verdict)
    assert (heard.bad, heard.kind, heard.at, heard.reason) == (bad, "quality", verdict.end, "spend is gone")
    assert heard.subject.endswith("v3")
    assert heard.data == {"columns": ["spend"], "score": 0.2, "severity": severity, "rows": 5}
