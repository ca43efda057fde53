from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from millrace.core.clock import ManualClock
from millrace.core.errors import AlreadyExists, Conflict, InvalidInput, InvalidState, NotFound
from millrace.core.principal import Principal
from millrace.database.engine import open_database
from millrace.serving.adapters.sql_endpoints import SqlEndpointStore
from millrace.serving.canary.types import Canary, CanarySettings
from millrace.serving.endpoints import endpoints
from millrace.serving.port import EndpointStore
from millrace.serving.types import Capture, EndpointConfig, EndpointName, LoadPlan

ADA = Principal("user", "ada")
ONE = endpoints.served_entity("ml.models.churn", "1")
TWO = endpoints.served_entity("ml.models.churn", "2")
SPEC = endpoints.served_entity("ml.specs.churn", None)


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


def test_a_feature_spec_has_its_own_last_part_for_a_name_and_no_version() -> None:
    assert (SPEC.name, SPEC.entity_version, SPEC.kind, str(SPEC)) == (
        "churn",
        None,
        "features",
        "ml.specs.churn (features)",
    )
    assert (ONE.name, ONE.kind, str(ONE)) == ("churn-1", "models", "ml.models.churn v1")
    assert endpoints.endpoint_config(SPEC).kind == "features"


def test_models_and_features_do_not_mix(store: EndpointStore, clock: ManualClock) -> None:
    with pytest.raises(InvalidInput, match="models and feature specs at once"):
        endpoints.endpoint_config(ONE, SPEC, traffic={"churn-1": 50, "churn": 50})
    make(store, clock)
    with pytest.raises(InvalidInput, match="serves models, not features"):
        endpoints.update(store, clock, "churn", endpoints.endpoint_config(SPEC))
    assert store.get(EndpointName("churn")).state.config_update == "NOT_UPDATING"


def test_an_endpoint_that_never_served_takes_either(store: EndpointStore, clock: ManualClock) -> None:
    endpoints.create(store, clock, ADA, "churn", endpoints.endpoint_config(ONE))
    endpoints.fail(store, clock, "churn", "no such file")
    updated = endpoints.update(store, clock, "churn", endpoints.endpoint_config(SPEC))
    assert updated.pending == endpoints.endpoint_config(SPEC)
    assert store.get(EndpointName("churn")) == updated


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


LOGGED = Capture("ml", "logs", "churn")
CANARY = Canary("churn-1", "churn-2", CanarySettings((10, 100)))


def test_a_shadow_must_be_served_get_a_percent_and_take_no_traffic() -> None:
    assert endpoints.endpoint_config(ONE, TWO, shadow={"churn-2": 5}).traffic == {"churn-1": 100}
    half = {"churn-1": 50, "churn-2": 50}
    for shadow, traffic, named in (
        ({"churn-3": 5}, half, "'churn-3' is not served"),
        ({"churn-2": 5}, half, "takes traffic and is a shadow"),
        ({"churn-2": 0}, {"churn-1": 100}, "0 percent"),
        ({"churn-1": 5, "churn-2": 5}, None, "sums to 0"),
    ):
        with pytest.raises(InvalidInput, match=named):
            endpoints.endpoint_config(ONE, TWO, traffic=traffic, shadow=shadow)


def test_a_canary_compares_predictions_and_features_have_none() -> None:
    other = endpoints.served_entity("ml.specs.other", None)
    with pytest.raises(InvalidInput, match="predicts nothing"):
        endpoints.endpoint_config(SPEC, other, canary=Canary("churn", "other"))


@pytest.mark.parametrize("capture", [None, Capture("ml", "logs", "churn", enabled=False)])
def test_without_capture_there_is_no_shadow_and_no_canary(
    store: EndpointStore, clock: ManualClock, capture: Capture | None
) -> None:
    make(store, clock)
    for config in (
        endpoints.endpoint_config(ONE, TWO, capture=capture, shadow={"churn-2": 5}),
        endpoints.endpoint_config(ONE, TWO, capture=capture, canary=CANARY),
    ):
        with pytest.raises(InvalidInput, match="logs nothing"):
            endpoints.update(store, clock, "churn", config)
    assert store.get(EndpointName("churn")).pending is None


def test_a_canary_begins_with_a_champion_that_serves(store: EndpointStore, clock: ManualClock) -> None:
    config = endpoints.endpoint_config(ONE, TWO, capture=LOGGED, canary=CANARY)
    with pytest.raises(InvalidInput, match="'churn-1' is not served yet"):
        endpoints.create(store, clock, ADA, "churn", config)
    make(store, clock, endpoints.endpoint_config(TWO, capture=LOGGED))
    with pytest.raises(InvalidInput, match="'churn-1' is not served yet"):
        endpoints.update(store, clock, "churn", config)
