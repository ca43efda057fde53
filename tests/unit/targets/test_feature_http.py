from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from millrace.core.errors import InvalidInput, InvalidState, NotFound
from millrace.targets.adapters.feature_http import MillraceFeatureTarget
from millrace.targets.types import FeatureDeployment, FeatureStatus, ServedSpec

SERVING = FeatureDeployment(
    (ServedSpec("ml.specs.a", "a", {"workload_size": "Small"}), ServedSpec("ml.specs.b", "b2")),
    {"a": 25, "b2": 75},
    ("main", "logs", "p"),
)
SENT = {
    "served_entities": [
        {"workload_size": "Small", "name": "a", "entity_name": "ml.specs.a"},
        {"name": "b2", "entity_name": "ml.specs.b"},
    ],
    "traffic_config": {
        "routes": [
            {"served_entity_name": "a", "traffic_percentage": 25},
            {"served_entity_name": "b2", "traffic_percentage": 75},
        ]
    },
    "auto_capture_config": {
        "catalog_name": "main",
        "schema_name": "logs",
        "table_name_prefix": "p",
        "enabled": True,
    },
}


def target(answer: Callable[[httpx.Request], httpx.Response], update_timeout_s: float = 60.0) -> MillraceFeatureTarget:
    transport = httpx.MockTransport(answer)
    return MillraceFeatureTarget("http://host/", "secret", transport=transport, update_timeout_s=update_timeout_s)


def shown(state: str = "NOT_UPDATING", message: str = "", **other: Any) -> dict[str, Any]:
    """An endpoint as the server writes it."""
    return {
        "name": "e",
        "creator": "user:ada",
        "creation_timestamp": 1740808800000,
        "state": {"ready": "READY", "config_update": state, "message": message},
        "config": {**SENT, "config_version": 3},
        "endpoint_url": "http://host/serving-endpoints/e/invocations",
        **other,
    }


def test_an_endpoint_is_made_and_waited_for() -> None:
    sent: list[tuple[str, str, object]] = []
    states = iter([shown("IN_PROGRESS"), shown("IN_PROGRESS")])

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == "Bearer secret"
        if request.method == "GET":
            return httpx.Response(200, json=next(states, shown()))
        sent.append((request.method, request.url.path, json.loads(request.content)))
        return httpx.Response(200, json={})

    status = target(answer).create("e", SERVING)
    assert sent == [("POST", "/api/2.0/serving-endpoints", {"name": "e", "config": SENT})]
    assert status == FeatureStatus(
        endpoint="e",
        state="ready",
        ready=True,
        message="",
        generation=3,
        url="http://host/serving-endpoints/e/invocations",
        creator="user:ada",
        created_at=datetime(2025, 3, 1, 6, tzinfo=UTC),
        serving=SERVING,
    )
    sent.clear()
    assert target(answer).update("e", FeatureDeployment((ServedSpec("ml.specs.a"),))) == status
    assert sent == [
        ("PUT", "/api/2.0/serving-endpoints/e/config", {"served_entities": [{"entity_name": "ml.specs.a"}]})
    ]


def test_a_failed_update_says_why_and_what_serves() -> None:
    status = target(lambda _: httpx.Response(200, json=shown("UPDATE_FAILED", "no such file"))).status("e")
    assert (status.state, status.ready, status.message, status.serving) == ("failed", True, "no such file", SERVING)


def test_before_the_first_deployment_the_wanted_one_is_shown() -> None:
    nothing = {"served_entities": [], "traffic_config": {"routes": []}, "config_version": 0}
    first = shown("IN_PROGRESS", config=nothing, pending_config=SENT)
    first["state"]["ready"] = "NOT_READY"
    status = target(lambda _: httpx.Response(200, json=first)).status("e")
    assert (status.state, status.ready, status.generation, status.serving) == ("updating", False, 0, SERVING)


def test_an_update_that_never_ends_is_given_up() -> None:
    with pytest.raises(InvalidState, match="still updating"):
        target(lambda _: httpx.Response(200, json=shown("IN_PROGRESS")), 0.2).create("e", SERVING)


def test_endpoints_of_models_are_left_alone() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        if request.method == "POST":
            return httpx.Response(200, json={"predictions": [1]})
        entity = {"name": "m-1", "entity_name": "m", "entity_version": "1"}
        return httpx.Response(200, json=shown(config={**SENT, "served_entities": [entity], "config_version": 1}))

    for ask in (
        lambda: target(answer).status("e"),
        lambda: target(answer).delete("e"),
        lambda: target(answer).ask("e", [{}]),
    ):
        with pytest.raises(InvalidInput, match="serves models"):
            ask()
    assert asked == ["GET", "GET", "POST"]


def test_features_come_back_with_who_answered() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/serving-endpoints/e/invocations"
        assert json.loads(request.content) == {"dataframe_records": [{"k": 1}, {"k": 2}]}
        headers = {"served-model-name": "a", "databricks-request-id": "r1"}
        return httpx.Response(200, json={"outputs": [{"x": "1.50"}, {"x": None}]}, headers=headers)

    answers = target(answer).ask("e", [{"k": 1}, {"k": 2}])
    assert (answers.outputs, answers.served, answers.request_id) == (({"x": "1.50"}, {"x": None}), "a", "r1")


def test_an_unknown_endpoint_is_not_found() -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(404, json={"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "said"})

    with pytest.raises(NotFound, match="said"):
        target(answer).status("e")
    with pytest.raises(NotFound, match="said"):
        target(answer).delete("e")
