"""What every `EndpointStore` must do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from millrace.core.errors import AlreadyExists, Conflict, NotFound
from millrace.core.events import Event, EventLog
from millrace.core.principal import Principal
from millrace.serving.canary.types import Canary, CanaryLimits, CanaryRun, CanarySettings, Finding, StepVerdict, Verdict
from millrace.serving.port import EndpointStore
from millrace.serving.types import (
    Capture,
    Endpoint,
    EndpointConfig,
    EndpointName,
    EndpointState,
    Former,
    LoadPlan,
    ServedEntity,
)
from millrace.testing.race import race

_T = datetime(2025, 3, 1, 6, tzinfo=UTC)
_OLD = ServedEntity("churn-1", "ml.models.churn", "1", {"workload_size": "Small", "scale_to_zero_enabled": False})
_NEW = ServedEntity("churn-2", "ml.models.churn", "2")
_CANARY = Canary(
    "churn-1",
    "churn-2",
    CanarySettings(
        (5, 100),
        shadow=1,
        min_requests=7,
        min_labels=3,
        wait=timedelta(minutes=1.5),
        after_wait="go",
        limits=CanaryLimits(0.02, 2.5, 3, 0.4, 0.5, 0.1),
    ),
)
_FINDINGS = (
    Finding("errors", 0.0, 0.5, 0.5, 0.001, bad=True, reason="errors: half"),
    Finding("quality", None, None, None, None, bad=False, reason="quality: no labels"),
)
_RUN = CanaryRun(
    _CANARY,
    "ml.models.churn",
    "2",
    1,
    _T,
    "rolled_back",
    (StepVerdict(1, 5, _T, Verdict("stop", "half", _FINDINGS)),),
    "half",
)
_SPEC = ServedEntity("spend", "ml.specs.spend", None)


def endpoint(name: str, generation: int = 0) -> Endpoint:
    """An endpoint that uses every field."""
    return Endpoint(
        name=EndpointName(name),
        id=f"id-{name}",
        generation=generation,
        config=EndpointConfig(
            (_OLD, _NEW), {"churn-1": 90, "churn-2": 10}, Capture("main", "ml", "churn", False), "404", "refuse"
        ),
        plans=(
            LoadPlan(
                _OLD, "/models/1", "xgboost", (("total_spend", "double"), ("region", "string")), '{"lookups": []}'
            ),
            LoadPlan(_NEW, "/models/2", "sklearn", (), None),
        ),
        pending=EndpointConfig((_OLD, _NEW), {"churn-1": 90, "churn-2": 10}, shadow={"churn-2": 20}, canary=_CANARY),
        state=EndpointState(True, "IN_PROGRESS", "loading", {"churn-1": "booster: equal on 100 golden rows"}),
        created_at=_T,
        updated_at=_T + timedelta(microseconds=1),
        owner="user:ada",
        previous=Former(EndpointConfig((_OLD,), {"churn-1": 100}), (LoadPlan(_OLD, "/models/1", "xgboost", (), None),)),
        canary=_RUN,
    )


class EndpointStoreSuite:
    """Tests of an `EndpointStore`; give the fixtures `opened` and `events`, the log of the same workspace."""

    def test_an_endpoint_reads_back_as_it_was_written(self, opened: Callable[[], EndpointStore]) -> None:
        full = endpoint("churn")
        plain = replace(
            endpoint("plain"), plans=(), pending=None, config=EndpointConfig((_NEW,), {"churn-2": 100}, None)
        )
        features = replace(
            endpoint("features"),
            plans=(LoadPlan(_SPEC, "", "feature_spec", (), '{"lookups": []}'),),
            pending=EndpointConfig((_SPEC,), {"spend": 100}),
            config=EndpointConfig((_SPEC,), {"spend": 100}),
        )
        for written in (full, plain, features):
            opened().add(written)
        for written in (full, plain, features):
            assert opened().get(written.name) == written

    def test_two_endpoints_can_not_share_a_name(self, opened: Callable[[], EndpointStore]) -> None:
        store = opened()
        store.add(endpoint("churn"))
        with pytest.raises(AlreadyExists, match="churn"):
            store.add(replace(endpoint("churn"), id="other", generation=9))
        assert store.get(EndpointName("churn")).generation == 0

    def test_an_unknown_name_is_not_found_and_the_nearest_is_named(self, opened: Callable[[], EndpointStore]) -> None:
        store, wrong = opened(), EndpointName("chrun")
        store.add(endpoint("churn"))
        for act in (store.get, store.remove, lambda name: store.update(endpoint(name), 0)):
            with pytest.raises(NotFound) as caught:
                act(wrong)
            assert caught.value.hint == "did you mean 'churn'?"

    def test_list_is_sorted_by_name(self, opened: Callable[[], EndpointStore]) -> None:
        store = opened()
        assert list(store.list()) == []
        for name in ("b_a", "ba", "B", "a"):
            store.add(endpoint(name))
        assert [found.name for found in store.list()] == ["B", "a", "b_a", "ba"]

    def test_update_replaces_all_but_only_from_the_expected_generation(
        self, opened: Callable[[], EndpointStore]
    ) -> None:
        store = opened()
        store.add(endpoint("churn"))
        changed = replace(endpoint("churn", 1), pending=None, state=EndpointState(True, "NOT_UPDATING"))
        store.update(changed, 0)
        assert opened().get(changed.name) == changed
        with pytest.raises(Conflict) as caught:
            store.update(endpoint("churn", 5), 0)
        assert (caught.value.facts["found"], caught.value.facts["expected"]) == (1, 0)
        assert opened().get(changed.name) == changed

    def test_what_happened_is_told_where_it_happened(
        self, opened: Callable[[], EndpointStore], events: EventLog
    ) -> None:
        store = opened()

        def told(kind: str) -> Event:
            return Event(kind, "endpoint/churn", _T, Principal("user", "ada"))

        store.add(endpoint("churn"), told("endpoint.created"))
        with pytest.raises(AlreadyExists):
            store.add(endpoint("churn"), told("not.this"))
        store.update(endpoint("churn", 1), 0, told("endpoint.updated"), told("canary.advanced"))
        with pytest.raises(Conflict):
            store.update(endpoint("churn", 1), 0, told("nor.this"))
        store.remove(EndpointName("churn"), told("endpoint.deleted"))
        with pytest.raises(NotFound):
            store.remove(EndpointName("churn"), told("nor.that"))
        kinds = [event.kind for event in events.read(subject="endpoint/churn")]
        assert kinds == ["endpoint.created", "endpoint.updated", "canary.advanced", "endpoint.deleted"]

    def test_a_removed_name_is_free_again(self, opened: Callable[[], EndpointStore]) -> None:
        store = opened()
        store.add(endpoint("churn"))
        store.remove(EndpointName("churn"))
        assert list(opened().list()) == []
        store.add(endpoint("churn"))

    def test_of_many_who_update_one_generation_one_wins(self, opened: Callable[[], EndpointStore]) -> None:
        opened().add(endpoint("churn"))

        def update(number: int) -> bool:
            try:
                opened().update(replace(endpoint("churn", 1), owner=f"user:{number}"), 0)
            except Conflict:
                return False
            return True

        won = race(4, update)
        assert sum(won) == 1
        assert opened().get(EndpointName("churn")).owner == f"user:{won.index(True)}"
