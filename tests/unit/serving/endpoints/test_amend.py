from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from millrace.core.errors import Conflict, InvalidInput, InvalidState
from millrace.serving.endpoints.amend import with_canary, with_shadow, with_traffic
from millrace.serving.endpoints.endpoints import endpoint_config, served_entity
from millrace.serving.endpoints.transitions import begun
from millrace.serving.types import Capture, Endpoint, EndpointConfig, EndpointName, EndpointState, Former

NOW = datetime(2025, 3, 1, tzinfo=UTC)
LOGGED = Capture("ml", "logs", "churn")
ONE, TWO, THREE = (served_entity("ml.models.churn", version) for version in "123")


def endpoint(config: EndpointConfig) -> Endpoint:
    state = EndpointState(True, "NOT_UPDATING")
    return Endpoint(EndpointName("churn"), "i", 1, config, (), None, state, NOW, NOW, "user:ada")


ALONE = endpoint(replace(endpoint_config(ONE, capture=LOGGED), missing_keys="404", extra_columns="refuse"))


def running() -> Endpoint:
    config = with_canary(ALONE, TWO, {"steps": [10, 100]})
    return replace(ALONE, config=config, previous=Former(ALONE.config, ()), canary=begun(config, None, NOW))


def test_a_challenger_joins_the_one_that_has_all_of_the_traffic() -> None:
    config = with_canary(ALONE, TWO, {"steps": [10, 100], "min_requests": 7})
    assert (config.served, config.traffic) == ((ONE, TWO), {"churn-1": 90, "churn-2": 10})
    assert config.canary is not None
    assert (config.canary.champion, config.canary.settings.min_requests) == ("churn-1", 7)
    assert (config.capture, config.missing_keys, config.extra_columns) == (LOGGED, "404", "refuse")


def test_a_shadow_can_become_the_challenger() -> None:
    shadowed = endpoint(with_shadow(ALONE, TWO, 20))
    assert (shadowed.config.traffic, shadowed.config.shadow) == ({"churn-1": 100}, {"churn-2": 20})
    assert with_canary(shadowed, TWO, {}).shadow == {}
    assert with_canary(shadowed, THREE, {}).shadow == {"churn-2": 20}
    assert with_shadow(shadowed, TWO, 0).served == (ONE,)


def test_a_newer_challenger_meets_the_same_champion() -> None:
    config = with_canary(running(), THREE, {})
    assert (config.served, config.traffic) == ((ONE, THREE), {"churn-1": 90, "churn-3": 10})


def test_the_champion_can_not_challenge_itself_and_there_is_one() -> None:
    with pytest.raises(InvalidInput, match="v1 is what endpoint"):
        with_canary(ALONE, ONE, {})
    with pytest.raises(InvalidInput, match="no field 'step'"):
        with_canary(ALONE, TWO, {"step": 1})
    shared = endpoint(endpoint_config(ONE, TWO, traffic={"churn-1": 50, "churn-2": 50}, capture=LOGGED))
    with pytest.raises(InvalidState, match="2 entities that take traffic"):
        with_canary(shared, THREE, {})


def test_traffic_is_split_and_ends_a_canary() -> None:
    config = with_traffic(running(), {"churn-1": 70, "churn-2": 30})
    assert (config.traffic, config.canary) == ({"churn-1": 70, "churn-2": 30}, None)
    with pytest.raises(InvalidInput, match="sums to 90"):
        with_traffic(ALONE, {"churn-1": 90})
    with pytest.raises(InvalidInput, match="'churn-9', which is not served"):
        with_traffic(ALONE, {"churn-9": 100})


def test_a_shadow_that_gets_traffic_is_none_any_more() -> None:
    shadowed = endpoint(with_shadow(ALONE, TWO, 20))
    assert with_traffic(shadowed, {"churn-1": 60, "churn-2": 40}).shadow == {}


def test_a_shadow_waits_for_the_end_of_a_canary() -> None:
    with pytest.raises(Conflict, match="has a canary under way"):
        with_shadow(running(), THREE, 20)
