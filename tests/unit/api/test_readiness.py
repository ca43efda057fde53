from __future__ import annotations

from typing import Any

import pytest

from millrace.api.readiness import as_served
from millrace.testing.endpoints import endpoint


def worker(*asleep: str, ready: bool = True) -> dict[str, Any]:
    return {"ready": ready, "served": {"churn": 1}, "waiting": {}, "asleep": {"churn": list(asleep)} if asleep else {}}


@pytest.mark.parametrize(
    ("workers", "asleep"),
    [
        ([worker()], []),
        ([worker("churn-1")], ["churn-1"]),
        ([worker("churn-1", "churn-2"), worker("churn-2")], ["churn-2"]),
        ([worker("churn-1"), worker()], []),
        ([worker("churn-1"), {"ready": False}], ["churn-1"]),
        ([{"ready": False}], []),
    ],
)
def test_an_entity_is_asleep_where_it_is_in_all_workers(workers: list[dict[str, Any]], asleep: list[str]) -> None:
    assert list(as_served(endpoint("churn", 1), workers).state.asleep) == asleep
