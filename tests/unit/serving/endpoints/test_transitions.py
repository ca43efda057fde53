from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from millrace.core.clock import ManualClock
from millrace.core.errors import InvalidState
from millrace.core.principal import Principal
from millrace.database.engine import open_database
from millrace.serving.adapters.sql_endpoints import SqlEndpointStore
from millrace.serving.canary.types import Canary, CanarySettings, Verdict
from millrace.serving.endpoints import endpoints
from millrace.serving.endpoints.transitions import followed, gone_back
from millrace.serving.types import Capture, Endpoint, EndpointConfig, LoadPlan

NOW = datetime(2025, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
LOGGED = Capture("ml", "logs", "churn")
ONE, TWO, THREE = (endpoints.served_entity("ml.models.churn", version) for version in "123")
GO, STOP = Verdict("go", "fine"), Verdict("stop", "errors: half")
CANARY = Canary("churn-1", "churn-2", CanarySettings((10, 50, 100), shadow=20))


class Scene:
    """An endpoint that serves the first version, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.store, self.clock = SqlEndpointStore(open_database(f"sqlite:///{folder / 'm.db'}")), ManualClock(NOW)
        config = endpoints.endpoint_config(ONE, capture=LOGGED)
        made = endpoints.create(self.store, self.clock, Principal("user", "ada"), "churn", config)
        self.now = self.activated(endpoints.candidate(made, plans(config)))

    def activated(self, ready: Endpoint) -> Endpoint:
        self.clock.advance(HOUR)
        self.now = endpoints.activate(self.store, self.clock, ready, {})
        assert self.store.get(self.now.name) == self.now
        return self.now

    def update(self, config: EndpointConfig) -> Endpoint:
        pending = endpoints.update(self.store, self.clock, "churn", config)
        return self.activated(endpoints.candidate(pending, plans(config)))

    def follow(self, verdict: Verdict) -> Endpoint:
        return self.activated(followed(self.now, verdict, self.clock.now()))


def plans(config: EndpointConfig) -> tuple[LoadPlan, ...]:
    return tuple(LoadPlan(entity, f"/{entity.name}", "xgboost", (("a", "double"),), None) for entity in config.served)


def with_canary(canary: Canary = CANARY) -> EndpointConfig:
    return endpoints.endpoint_config(ONE, TWO, capture=LOGGED, canary=canary)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_good_challenger_goes_from_shadow_to_all_of_the_traffic(scene: Scene) -> None:
    seen = []
    for now in (scene.update(with_canary()), *(scene.follow(GO) for _ in range(3))):
        run = now.canary
        assert run is not None
        seen.append((now.generation, dict(now.config.traffic), dict(now.config.shadow), run.outcome, run.share))
        assert run.since == now.updated_at - (HOUR if run.outcome == "finished" else timedelta(0))
    assert seen == [
        (2, {"churn-1": 100, "churn-2": 0}, {"churn-2": 20}, "running", 0),
        (3, {"churn-1": 90, "churn-2": 10}, {}, "running", 10),
        (4, {"churn-1": 50, "churn-2": 50}, {}, "running", 50),
        (5, {"churn-2": 100}, {}, "finished", 100),
    ]
    assert (scene.now.config.served, scene.now.config.canary) == ((TWO,), None)
    assert [plan.path for plan in scene.now.plans] == ["/churn-2"]
    run = scene.now.canary
    assert run is not None
    assert [(step.share, step.verdict) for step in run.verdicts] == [(0, GO), (10, GO), (50, GO)]
    assert (run.model, run.version) == ("ml.models.churn", "2")


def test_a_bad_challenger_leaves_what_there_was_before_and_no_way_to_itself(scene: Scene) -> None:
    before = scene.now
    scene.update(with_canary())
    scene.follow(GO)
    after = scene.follow(STOP)
    assert (after.config, after.plans, after.previous) == (before.config, before.plans, None)
    run = after.canary
    assert run is not None
    assert (run.outcome, run.share, run.message, run.since) == (
        "rolled_back",
        0,
        "errors: half",
        scene.clock.now() - HOUR,
    )
    with pytest.raises(InvalidState, match="nothing to go back to"):
        gone_back(after, "by mistake", NOW)
    with pytest.raises(InvalidState, match="no canary under way"):
        followed(after, GO, NOW)


def test_a_person_may_end_a_canary(scene: Scene) -> None:
    before = scene.now
    scene.update(with_canary())
    after = scene.activated(gone_back(scene.now, "ada did not like it", scene.clock.now()))
    assert after.config == before.config
    assert after.canary is not None
    assert (after.canary.outcome, after.canary.message) == ("rolled_back", "ada did not like it")


def test_after_a_finished_canary_there_is_a_way_back(scene: Scene) -> None:
    before = scene.now
    scene.update(with_canary(replace(CANARY, settings=CanarySettings((10, 50, 100)))))
    scene.follow(GO)
    finished = scene.follow(GO)
    back = scene.activated(gone_back(finished, "", NOW))
    assert (back.config, back.plans, back.generation) == (before.config, before.plans, 5)
    again = scene.activated(gone_back(back, "", NOW))
    assert (again.config, again.plans) == (finished.config, finished.plans)


def test_another_update_ends_a_canary_and_the_way_back_leads_before_it(scene: Scene) -> None:
    before = scene.now
    scene.update(with_canary())
    after = scene.update(endpoints.endpoint_config(THREE, capture=LOGGED))
    assert after.canary is not None
    assert (after.canary.outcome, after.canary.message) == ("cancelled", "the endpoint was updated otherwise")
    assert after.previous is not None
    assert after.previous.config == before.config
    assert scene.update(with_three(after)).canary == after.canary


def with_three(endpoint: Endpoint) -> EndpointConfig:
    return replace(endpoint.config, traffic={"churn-3": 100})


def test_the_shadows_of_others_stay(scene: Scene) -> None:
    config = endpoints.endpoint_config(ONE, TWO, THREE, capture=LOGGED, shadow={"churn-3": 5}, canary=CANARY)
    assert scene.update(config).config.shadow == {"churn-3": 5, "churn-2": 20}
    assert scene.follow(GO).config.shadow == {"churn-3": 5}
    scene.follow(GO)
    finished = scene.follow(GO)
    assert (finished.config.shadow, finished.config.served) == ({"churn-3": 5}, (TWO, THREE))
