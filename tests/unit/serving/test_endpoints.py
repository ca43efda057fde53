from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from millrace.core.clock import ManualClock
from millrace.core.errors import AlreadyExists, Conflict, InvalidInput, InvalidState, NotFound
from millrace.core.principal import Principal
from millrace.database.engine import open_database
from millrace.registry.port import Registry
from millrace.registry.types import ModelName, ModelVersion, VersionEntry
from millrace.serving import endpoints
from millrace.serving.adapters.sql_endpoints import SqlEndpointStore
from millrace.serving.port import EndpointStore
from millrace.serving.types import Capture, EndpointConfig, EndpointName, LoadPlan

ADA = Principal("user", "ada")
ONE = endpoints.served_entity("ml.models.churn", "1")
TWO = endpoints.served_entity("ml.models.churn", "2")


@dataclass
class FolderRegistry:
    """A registry of folders: enough of the port for `prepare`."""

    folders: Mapping[tuple[str, str], Path]

    def versions(self, model: ModelName) -> Sequence[VersionEntry]:
        at = datetime(2025, 1, 1, tzinfo=UTC)
        return [
            VersionEntry(model, ModelVersion(version), "", None, at) for name, version in self.folders if name == model
        ]

    def models(self) -> Sequence[ModelName]:
        return [ModelName(name) for name, _ in self.folders]

    def download(self, model: ModelName, version: ModelVersion) -> Path:
        return self.folders[model, version]


def registry_of(folders: Mapping[tuple[str, str], Path]) -> Registry:
    return cast("Registry", FolderRegistry(folders))


@pytest.fixture
def store(tmp_path: Path) -> EndpointStore:
    return SqlEndpointStore(open_database(f"sqlite:///{tmp_path / 'millrace.db'}"))


def make(store: EndpointStore, clock: ManualClock, config: EndpointConfig | None = None) -> None:
    created = endpoints.create(store, clock, ADA, "churn", config or endpoints.endpoint_config(ONE))
    endpoints.activate(store, clock, endpoints.candidate(created, plans_of(created.pending)), {ONE.name: "xgboost: ok"})


def plans_of(config: EndpointConfig | None) -> tuple[LoadPlan, ...]:
    assert config is not None
    return tuple(LoadPlan(entity, "/models/1", "xgboost", (("a", "double"),), None) for entity in config.served)


def test_a_new_endpoint_is_not_ready_until_it_is_activated(store: EndpointStore, clock: ManualClock) -> None:
    config = endpoints.endpoint_config(ONE, capture=Capture("ml", "logs", "churn"))
    created = endpoints.create(store, clock, ADA, "churn", config)
    assert (created.generation, created.state.ready, created.state.config_update) == (0, False, "IN_PROGRESS")
    clock.advance(timedelta(seconds=3))
    active = endpoints.activate(
        store, clock, endpoints.candidate(created, plans_of(config)), {"churn-1": "xgboost: ok"}
    )
    assert store.get(EndpointName("churn")) == active
    assert (active.generation, active.config, active.pending) == (1, config, None)
    assert (active.state.ready, active.state.config_update) == (True, "NOT_UPDATING")
    assert active.updated_at - active.created_at == timedelta(seconds=3)
    assert active.owner == "user:ada"


def test_a_failed_update_keeps_what_serves(store: EndpointStore, clock: ManualClock) -> None:
    make(store, clock)
    before = store.get(EndpointName("churn"))
    endpoints.update(store, clock, "churn", endpoints.endpoint_config(TWO))
    after = endpoints.fail(store, clock, "churn", "no such file")
    assert (after.generation, after.config, after.plans) == (before.generation, before.config, before.plans)
    assert (after.state.ready, after.state.config_update) == (True, "UPDATE_FAILED")
    assert after.state.message == "no such file"
    assert after.state.paths == before.state.paths
    with pytest.raises(InvalidState, match="no pending configuration"):
        endpoints.candidate(after, ())


def test_a_second_update_while_one_is_in_progress_is_refused(store: EndpointStore, clock: ManualClock) -> None:
    make(store, clock)
    endpoints.update(store, clock, "churn", endpoints.endpoint_config(TWO))
    with pytest.raises(Conflict, match="being updated"):
        endpoints.update(store, clock, "churn", endpoints.endpoint_config(ONE))


def test_of_two_activations_the_later_one_is_refused(store: EndpointStore, clock: ManualClock) -> None:
    make(store, clock)
    pending = endpoints.update(store, clock, "churn", endpoints.endpoint_config(TWO))
    ready = endpoints.candidate(pending, plans_of(pending.pending))
    endpoints.activate(store, clock, ready, {})
    with pytest.raises(Conflict):
        endpoints.activate(store, clock, ready, {})


def test_names_are_unique_and_can_be_deleted(store: EndpointStore, clock: ManualClock) -> None:
    make(store, clock)
    with pytest.raises(AlreadyExists):
        make(store, clock)
    endpoints.delete(store, "churn")
    with pytest.raises(NotFound):
        endpoints.delete(store, "churn")
    make(store, clock)


@pytest.mark.parametrize("name", ["", "a/b", "-a", "ä", "a b", "x" * 129])
def test_bad_endpoint_names_are_refused(store: EndpointStore, clock: ManualClock, name: str) -> None:
    with pytest.raises(InvalidInput, match="can't be the name of an endpoint"):
        endpoints.create(store, clock, ADA, name, endpoints.endpoint_config(ONE))


def test_the_only_entity_takes_all_traffic() -> None:
    assert endpoints.endpoint_config(ONE).traffic == {"churn-1": 100}


def test_wrong_configurations_are_refused() -> None:
    with pytest.raises(InvalidInput, match="something to serve"):
        endpoints.endpoint_config()
    with pytest.raises(InvalidInput, match="one name"):
        endpoints.endpoint_config(ONE, ONE, traffic={"churn-1": 100})
    with pytest.raises(InvalidInput, match="sums to 0"):
        endpoints.endpoint_config(ONE, TWO)
    with pytest.raises(InvalidInput, match="sums to 90"):
        endpoints.endpoint_config(ONE, TWO, traffic={"churn-1": 50, "churn-2": 40})
    with pytest.raises(InvalidInput, match="sums to 100"):
        endpoints.endpoint_config(ONE, TWO, traffic={"churn-1": 150, "churn-2": -50})
    with pytest.raises(InvalidInput, match="'churn-3', which is not served") as caught:
        endpoints.endpoint_config(ONE, traffic={"churn-3": 100})
    assert "churn-1" in caught.value.hint
    with pytest.raises(InvalidInput, match="not a table name"):
        endpoints.endpoint_config(ONE, capture=Capture("ml", "a.b", "churn"))


def test_prepare_finds_the_model_and_what_it_takes(write_model: Callable[..., Path]) -> None:
    inputs = [("a", "double"), ("b", "string")]
    folder = write_model("churn", {"sklearn": {"pickled_model": "model.pkl"}}, inputs, feature_spec='{"format": 1}')
    plans = endpoints.prepare(registry_of({("ml.models.churn", "1"): folder}), endpoints.endpoint_config(ONE))
    assert plans == (LoadPlan(ONE, str(folder), "sklearn", (("a", "double"), ("b", "string")), '{"format": 1}'),)


def test_unknown_models_and_versions_are_refused_with_a_hint(write_model: Callable[..., Path]) -> None:
    registry = registry_of({("ml.models.churn", "1"): write_model("churn", {}, [("a", "double")])})
    with pytest.raises(NotFound, match="no version '2'") as caught:
        endpoints.prepare(registry, endpoints.endpoint_config(TWO))
    assert "1" in caught.value.hint
    with pytest.raises(NotFound, match=r"no model 'ml.models.chrun'") as caught:
        endpoints.prepare(registry, endpoints.endpoint_config(endpoints.served_entity("ml.models.chrun", "1")))
    assert "ml.models.churn" in caught.value.hint


def test_a_folder_that_is_no_model_and_a_model_without_signature(
    tmp_path: Path, write_model: Callable[..., Path]
) -> None:
    config = endpoints.endpoint_config(ONE)
    with pytest.raises(InvalidInput, match="holds no MLflow model"):
        endpoints.prepare(registry_of({("ml.models.churn", "1"): tmp_path}), config)
    bare = write_model("bare", {"python_function": {}}, [])
    with pytest.raises(InvalidInput, match="no signature with named input columns"):
        endpoints.prepare(registry_of({("ml.models.churn", "1"): bare}), config)
