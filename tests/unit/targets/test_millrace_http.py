from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest

from millrace.core.errors import Conflict, InvalidInput, InvalidState, MillraceError, NotFound, PermissionDenied
from millrace.targets.adapters.millrace_http import MillraceTarget
from millrace.targets.types import DeploymentSpec, DeploymentStatus

SPEC = DeploymentSpec("e", "m", "2", capture=("main", "logs", "p"))


def target(answer: Callable[[httpx.Request], httpx.Response]) -> MillraceTarget:
    return MillraceTarget("http://host/", "secret", transport=httpx.MockTransport(answer), update_timeout_s=0.2)


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
        target(lambda _: httpx.Response(200, json=shown("1", "IN_PROGRESS"))).deploy(SPEC)


def test_a_failed_update_names_what_serves() -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=shown("1", "UPDATE_FAILED", "no such file"))

    assert target(answer).status("e") == DeploymentStatus("e", "failed", "1", "no such file")


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
