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


def path_of(*workers: dict[str, Any]) -> str:
    state = EndpointState(True, "NOT_UPDATING", paths={"churn-1": "pyfunc: as it was deployed"})
    return as_served(replace(endpoint("churn", 1), state=state), workers).state.paths["churn-1"]


def on(path: str, **more: Any) -> dict[str, Any]:
    return {**worker(), "paths": {"churn": {"churn-1": path}}, **more}


def test_the_path_is_what_the_workers_have_loaded() -> None:
    assert path_of(on("onnx: equal"), on("onnx: equal")) == "onnx: equal"
    # Who is not up, or has another configuration, or none, says nothing of it.
    assert path_of(on("onnx: equal"), {"ready": False}) == "onnx: equal"
    assert path_of(on("onnx: equal"), on("sklearn: other", served={"churn": 2})) == "onnx: equal"
    waits = {**worker(), "served": {}, "waiting": {"churn": "it is proved"}, "paths": {}}
    assert path_of(on("onnx: equal"), waits) == "onnx: equal"
    assert path_of(waits) == "pyfunc: as it was deployed"
    assert path_of({"ready": False}) == "pyfunc: as it was deployed"


def test_workers_on_different_paths_are_told_apart() -> None:
    said = path_of(on("onnx: equal"), on("pyfunc: no proof"), {"ready": False}, on("onnx: equal"))
    assert said == "workers differ: onnx: equal (worker-0, worker-3); pyfunc: no proof (worker-1)"
