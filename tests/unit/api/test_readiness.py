from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from millrace.api.readiness import as_served
from millrace.serving.types import EndpointState
from millrace.testing.endpoints import endpoint


def worker(*asleep: str, ready: bool = True) -> dict[str, Any]:
    return {"ready": ready, "served": {"churn": 1}, "waiting": {}, "asleep": {"churn": list(asleep)} if asleep else {}}


def test_a_worker_that_serves_an_earlier_generation_is_not_ready_unless_it_is_being_told() -> None:
    stored = replace(endpoint("churn", 2), state=EndpointState(True, "NOT_UPDATING"))
    behind = [{**worker(), "served": {"churn": 2}}, worker()]
    seen = as_served(stored, behind).state
    assert (seen.ready, seen.message) == (False, "a worker still serves an earlier configuration")
    updating = replace(stored, state=EndpointState(True, "IN_PROGRESS"))
    assert as_served(updating, behind).state.ready
    assert as_served(stored, behind[:1]).state.ready


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
