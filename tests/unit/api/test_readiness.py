from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from millrace.api.readiness import as_served, unanswered
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


def test_an_endpoint_is_answered_while_every_worker_that_is_up_serves_any_generation() -> None:
    stored = replace(endpoint("churn", 2), state=EndpointState(True, "NOT_UPDATING"))
    behind = [worker(), {**worker(), "served": {"churn": 2}}, {"ready": False}]
    waits = {**worker(), "served": {}, "waiting": {"churn": "its store is away"}}
    assert unanswered(stored, behind) is None
    assert unanswered(stored, [*behind, waits]) == "its store is away"
    assert unanswered(stored, [{**worker(), "served": {}}]) == "a worker does not serve it yet"
    assert unanswered(stored, [{"ready": False}]) == "no worker is up"
    failed = replace(stored, state=EndpointState(False, "UPDATE_FAILED", "no such model"))
    assert unanswered(failed, behind) == "no such model"


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
