from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest

from millrace.core.errors import Conflict, InvalidInput, InvalidState, MillraceError, NotFound, PermissionDenied
from millrace.targets.adapters.millrace_http import MillraceTarget
from millrace.targets.types import CanaryStatus, DeploymentSpec, DeploymentStatus

SPEC = DeploymentSpec("e", "m", "2", capture=("main", "logs", "p"))


def target(answer: Callable[[httpx.Request], httpx.Response], update_timeout_s: float = 60.0) -> MillraceTarget:
    transport = httpx.MockTransport(answer)
    return MillraceTarget("http://host/", "secret", transport=transport, update_timeout_s=update_timeout_s)


def shown(version: str, state: str = "NOT_UPDATING", message: str = "") -> dict[str, object]:
    """An endpoint as the server writes it."""
    return {
        "state": {"ready": "READY", "config_update": state, "message": message},
        "config": {
            "served_entities": [{"name": f"m-{version}", "entity_name": "m", "entity_version": version}],
            "traffic_config": {"routes": [{"served_entity_name": f"m-{version}", "traffic_percentage": 100}]},
            "auto_capture_config": {
                "catalog_name": "main",
                "schema_name": "logs",
                "table_name_prefix": "p",
                "enabled": True,
            },
        },
    }


def test_what_is_served_is_left_alone() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        return httpx.Response(200, json=shown("2"))

    assert target(answer).deploy(SPEC) == DeploymentStatus("e", "ready", "2")
    assert asked == ["GET"]


def test_an_update_under_way_is_waited_for_then_ours_is_sent() -> None:
    states = iter([shown("1", "IN_PROGRESS"), shown("1", "IN_PROGRESS"), shown("1"), shown("2", "IN_PROGRESS")])
    sent: list[dict[str, object]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == "Bearer secret"
        if request.method == "PUT":
            sent.append(json.loads(request.content))
            return httpx.Response(200, json={})
        return httpx.Response(200, json=next(states, shown("2")))

    assert target(answer).deploy(SPEC) == DeploymentStatus("e", "ready", "2")
    assert sent == [
        {
            "served_entities": [{"entity_name": "m", "entity_version": "2"}],
            "auto_capture_config": {
                "catalog_name": "main",
                "schema_name": "logs",
                "table_name_prefix": "p",
                "enabled": True,
            },
        }
    ]


def test_an_update_that_never_ends_is_given_up() -> None:
    with pytest.raises(InvalidState, match="still updating"):
        target(lambda _: httpx.Response(200, json=shown("1", "IN_PROGRESS")), 0.2).deploy(SPEC)


def test_a_failed_update_names_what_serves() -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=shown("1", "UPDATE_FAILED", "no such file"))

    assert target(answer).status("e") == DeploymentStatus("e", "failed", "1", "no such file")


def test_an_endpoint_that_no_worker_answers_for_is_not_ready() -> None:
    """Its configuration names what it should serve all the same."""
    told = {"ready": "NOT_READY", "config_update": "NOT_UPDATING", "message": "no worker is up"}

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={**shown("1"), "state": told})

    found = target(answer).status("e")
    assert found is not None
    assert (found.state, found.version, found.ready) == ("ready", "1", False)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "RESOURCE_DOES_NOT_EXIST", NotFound),
        (409, "ABORTED", Conflict),
        (400, "INVALID_PARAMETER_VALUE", InvalidInput),
        (400, "BAD_REQUEST", InvalidInput),
        (401, "UNAUTHENTICATED", PermissionDenied),
        (500, "INTERNAL_ERROR", InvalidState),
        (502, "", InvalidState),
    ],
)
def test_errors_come_back_as_what_they_were(status: int, code: str, kind: type[MillraceError]) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(status, json={"error_code": code, "message": "said"}) if code else httpx.Response(status)

    with pytest.raises(kind) as caught:
        target(answer).query("e", [{"a": 1}])
    assert caught.value.message == ("said" if code else "the server answered 502")
    assert caught.value.facts["status"] == status


def test_an_answer_names_the_version_that_gave_it() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json=shown("2"))
        body = json.loads(request.content)
        assert body["params"] == {"predict_proba": True}
        headers = {"served-model-name": "m-2", "databricks-request-id": "r1"}
        return httpx.Response(200, json={"predictions": [1], "probabilities": [0.75]}, headers=headers)

    answers = target(answer).query("e", [{"a": 1}])
    assert (answers.predictions, answers.probabilities) == ((1,), (0.75,))
    assert (answers.model_version, answers.request_id) == ("2", "r1")


def test_a_server_that_is_starting_is_waited_for() -> None:
    starting = httpx.Response(503, json={"error_code": "TEMPORARILY_UNAVAILABLE", "message": "starting"})
    answers = iter([starting, starting])
    assert target(lambda _: next(answers, httpx.Response(200, json=shown("2")))).status("e") == DeploymentStatus(
        "e", "ready", "2"
    )


CANARY = {"steps": [10, 100], "min_requests": 30}


def with_canary(outcome: str, share: int = 10) -> dict[str, object]:
    """Version 1 with a canary of version 2."""
    both = [("m-1", "1", 100 - share), ("m-2", "2", share)]
    return {
        **shown("1"),
        "config": {
            "served_entities": [{"name": name, "entity_name": "m", "entity_version": of} for name, of, _ in both],
            "traffic_config": {
                "routes": [{"served_entity_name": name, "traffic_percentage": percent} for name, _, percent in both]
            },
        },
        "canary": {"model": "m", "version": "2", "outcome": outcome, "message": "so", "canary": {"challenger": "m-2"}},
    }


def test_a_canary_is_begun_where_another_version_serves() -> None:
    sent: list[tuple[str, str, object]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json=with_canary("running") if sent else shown("1"))
        sent.append((request.method, request.url.path, json.loads(request.content)))
        return httpx.Response(200, json={})

    status = target(answer).deploy(replace(SPEC, canary=CANARY))
    body = {"entity_name": "m", "entity_version": "2", "canary_config": CANARY}
    assert sent == [("POST", "/api/millrace/endpoints/e/canary", body)]
    assert (status.version, status.canary) == ("1", CanaryStatus("m", "2", "running", 10, "so"))


def test_a_canary_under_way_is_left_alone() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        return httpx.Response(200, json=with_canary("running", 90))

    status = target(answer).deploy(replace(SPEC, canary=CANARY))
    assert asked == ["GET"]
    assert (status.version, status.canary) == ("2", CanaryStatus("m", "2", "running", 90, "so"))


def test_where_nothing_serves_a_canary_is_none() -> None:
    sent: list[tuple[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return (
                httpx.Response(200, json=shown("2"))
                if sent
                else httpx.Response(404, json={"error_code": "RESOURCE_DOES_NOT_EXIST"})
            )
        sent.append((request.method, request.url.path))
        return httpx.Response(200, json={})

    assert target(answer).deploy(replace(SPEC, canary=CANARY)) == DeploymentStatus("e", "ready", "2")
    assert sent == [("POST", "/api/2.0/serving-endpoints")]


def test_changes_of_traffic_go_to_paths_of_our_own() -> None:
    sent: list[tuple[str, str, object]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json=shown("1"))
        sent.append((request.method, request.url.path.rpartition("/")[2], json.loads(request.content)))
        return httpx.Response(200, json={})

    to = target(answer)
    for status in (to.split("e", {"m-1": 100}), to.shadow("e", "m", "2", 20), to.roll_back("e", "slow")):
        assert (status.state, status.version) == ("ready", "1")
    assert sent == [
        ("PUT", "traffic", {"traffic_config": {"routes": [{"served_entity_name": "m-1", "traffic_percentage": 100}]}}),
        ("PUT", "shadow", {"entity_name": "m", "entity_version": "2", "shadow_percentage": 20}),
        ("POST", "rollback", {"why": "slow"}),
    ]
