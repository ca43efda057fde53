from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest

from millrace.core.errors import InvalidInput, InvalidState
from millrace.feature_engineering import (
    AutoCaptureConfig,
    EndpointCoreConfig,
    FeatureEngineeringClient,
    FeatureServingEndpoint,
    ServedEntity,
    endpoint_methods,
)
from millrace.targets.local_server import ServerInfo
from millrace.targets.types import FeatureDeployment, FeatureStatus, ServedSpec
from millrace.workspace import Workspace

ONE = EndpointCoreConfig(ServedEntity("ml.specs.a"))
STATUS = FeatureStatus(
    endpoint="e",
    state="ready",
    ready=True,
    message="",
    generation=2,
    url="http://host/serving-endpoints/e/invocations",
    creator="user:ada",
    created_at=datetime(2025, 3, 1, tzinfo=UTC),
    serving=FeatureDeployment(
        (ServedSpec("ml.specs.a", "a", {"workload_size": "Small", "workload_type": "CPU"}),),
        {"a": 100},
        ("ml", "logs", "p"),
    ),
)


def test_without_a_server_the_hint_is_how_to_start_one(client: FeatureEngineeringClient) -> None:
    for ask in (
        lambda: client.create_feature_serving_endpoint(name="e", config=ONE),
        lambda: client.update_feature_serving_endpoint(name="e", config=ONE),
        lambda: client.get_feature_serving_endpoint(name="e"),
        lambda: client.delete_feature_serving_endpoint(name="e"),
    ):
        with pytest.raises(InvalidState, match="no server runs on the home") as caught:
            ask()
        assert "millrace up --home" in caught.value.hint


@dataclass
class OneEndpoint:
    """A target that answers every change with one status."""

    status: FeatureStatus
    asked: list[object]

    def create(self, endpoint: str, wanted: FeatureDeployment) -> FeatureStatus:
        self.asked.append((endpoint, wanted))
        return self.status

    update = create


def test_a_deployment_that_failed_is_an_error_with_its_reason(
    client: FeatureEngineeringClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ServerInfo("http://host", 1, "i")
    target = OneEndpoint(replace(STATUS, state="failed", message="worker-1 stopped"), [])
    monkeypatch.setattr(endpoint_methods, "find_server", lambda _: server)
    monkeypatch.setattr(Workspace, "feature_target", lambda *_: target)
    for change in (client.create_feature_serving_endpoint, client.update_feature_serving_endpoint):
        with pytest.raises(InvalidState, match="'e' could not be deployed: worker-1 stopped"):
            change(name="e", config=ONE)
    assert target.asked == [("e", ONE.to_deploy())] * 2
    target.status = STATUS
    assert client.update_feature_serving_endpoint(name="e", config=ONE) == FeatureServingEndpoint.of(STATUS)


def test_what_is_no_configuration_is_refused(client: FeatureEngineeringClient) -> None:
    with pytest.raises(InvalidInput, match="not an EndpointCoreConfig"):
        client.create_feature_serving_endpoint(name="e", config={"served_entities": []})  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="not a ServedEntity"):
        client.create_feature_serving_endpoint(name="e", config=EndpointCoreConfig(["ml.specs.a"]))  # type: ignore[list-item]
    with pytest.raises(InvalidInput, match="not a ServedEntity"):
        client.create_feature_serving_endpoint(name="e", config=EndpointCoreConfig("ml.specs.a"))  # type: ignore[arg-type]


def test_a_configuration_is_deployed_as_it_is_written() -> None:
    assert ONE.to_deploy() == FeatureDeployment((ServedSpec("ml.specs.a"),))
    several = EndpointCoreConfig(
        [ServedEntity("ml.specs.a", workload_size="Small", scale_to_zero_enabled=False), ServedEntity("b", name="two")],
        traffic={"a": 10, "two": 90},
        auto_capture_config=AutoCaptureConfig("logs", "p", "other"),
    )
    assert several.to_deploy() == FeatureDeployment(
        (
            ServedSpec("ml.specs.a", None, {"workload_size": "Small", "scale_to_zero_enabled": False}),
            ServedSpec("b", "two"),
        ),
        {"a": 10, "two": 90},
        ("other", "logs", "p"),
    )


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        (STATUS, ("READY", "NOT_UPDATING")),
        (replace(STATUS, ready=False, state="updating"), ("NOT_READY", "IN_PROGRESS")),
        (replace(STATUS, state="failed"), ("READY", "UPDATE_FAILED")),
    ],
)
def test_an_endpoint_is_shown_in_the_words_of_serving_endpoints(status: FeatureStatus, shown: object) -> None:
    endpoint = FeatureServingEndpoint.of(status)
    assert (endpoint.state, endpoint.config_update) == shown
    assert endpoint.config == EndpointCoreConfig(
        (ServedEntity("ml.specs.a", "a", workload_size="Small"),), {"a": 100}, AutoCaptureConfig("logs", "p", "ml")
    )
    assert (endpoint.name, endpoint.config_version, endpoint.creator) == ("e", 2, "user:ada")
