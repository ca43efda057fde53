from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from millrace.api.shapes import read_config, write_endpoint
from millrace.api.wire import from_wire, to_wire
from millrace.core.errors import InvalidInput
from millrace.serving.canary.types import Canary, CanaryLimits, CanarySettings
from millrace.serving.types import Capture, EndpointConfig, LoadPlan, ServedEntity
from millrace.testing.endpoints import endpoint

ENTITY = {"entity_name": "ml.models.churn", "entity_version": "3"}


def test_the_newer_and_the_older_names_read_alike() -> None:
    newer = {
        "served_entities": [{**ENTITY, "name": "a", "workload_size": "Small"}],
        "traffic_config": {"routes": [{"served_entity_name": "a", "traffic_percentage": 100}]},
        "auto_capture_config": {"catalog_name": "main", "schema_name": "logs", "table_name_prefix": "p"},
    }
    older = {
        "served_models": [{"model_name": "ml.models.churn", "model_version": 3, "name": "a", "workload_size": "Small"}],
        "traffic_config": {"routes": [{"served_model_name": "a", "traffic_percentage": 100}]},
    }
    gateway = {"inference_table_config": {"schema_name": "logs", "table_name_prefix": "p", "enabled": True}}
    config = read_config(newer)
    assert config == read_config(older, gateway)
    assert config.served == (ServedEntity("a", "ml.models.churn", "3", {"workload_size": "Small"}),)
    assert config.capture == Capture("main", "logs", "p")


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (None, "config"),
        ([], "config"),
        ({}, "something to serve"),
        ({"served_entities": {}}, "something to serve"),
        ({"served_entities": "x"}, "served_entities"),
        ({"served_entities": [{"entity_version": "1"}]}, "entity_name"),
        ({"served_models": [{"model_name": "m"}]}, "entity_version"),
        ({"served_entities": [{"entity_name": "m"}, ENTITY]}, "models and feature specs at once"),
        ({"served_entities": [{"entity_name": "m", "entity_version": True}]}, "entity_version"),
        ({"served_entities": [{"external_model": {"provider": "x"}}]}, "external_model"),
        ({"served_entities": [ENTITY], "traffic_config": {"routes": [{"traffic_percentage": "all"}]}}, "percentage"),
        ({"served_entities": [ENTITY], "auto_capture_config": {"schema_name": "s"}}, "table_name_prefix"),
        ({"served_entities": [ENTITY], "missing_keys": "drop"}, "'missing_keys'.*\n.*null, default, 404"),
        ({"served_entities": [ENTITY], "extra_columns": "drop"}, "'extra_columns'.*\n.*ignore, refuse"),
    ],
)
def test_what_is_wrong_is_named(config: object, named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        read_config(config)


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ({"mising_keys": "404"}, "missing_keys"),
        (
            {"served_entities": [{"entity_name": "a.b.c", "entity_version": "1", "scale_to_zero_enabeld": True}]},
            "enabled",
        ),
    ],
)
def test_a_name_that_is_nearly_one_is_refused_and_a_foreign_one_is_not(wrong: dict[str, object], meant: str) -> None:
    config = {"served_entities": [{"entity_name": "a.b.c", "entity_version": "1"}], "budget_policy_id": "x"}
    assert len(read_config(config).served) == 1
    with pytest.raises(InvalidInput, match=f"did you mean '.*{meant}'"):
        read_config({**config, **wrong})


def test_an_endpoint_is_written_with_what_clients_need() -> None:
    document = json.loads(json.dumps(write_endpoint(endpoint("churn", 4), "http://host")))
    assert document["state"] == {"ready": "READY", "config_update": "IN_PROGRESS", "message": "loading"}
    assert document["config"]["config_version"] == 4
    assert document["pending_config"]["config_version"] == 5
    assert document["endpoint_url"] == "http://host/serving-endpoints/churn/invocations"
    # 2025-03-01T06:00:00Z in milliseconds.
    assert document["creation_timestamp"] == 1740808800000
    served = document["config"]["served_entities"][0]
    assert served["state"]["deployment_state_message"] == "booster: equal on 100 golden rows"
    assert document["config"]["auto_capture_config"]["table_name_prefix"] == "churn"


def test_what_was_written_reads_back() -> None:
    stored = endpoint("churn", 4)
    config = read_config(write_endpoint(stored, "http://host")["config"])
    assert config.traffic == stored.config.traffic
    assert config.capture == stored.config.capture
    assert config.missing_keys == stored.config.missing_keys == "404"
    assert [(s.name, s.entity_name, s.entity_version) for s in config.served] == [
        (s.name, s.entity_name, s.entity_version) for s in stored.config.served
    ]


def test_what_extra_columns_do_is_read_and_written() -> None:
    read = [read_config({"served_entities": [ENTITY], "extra_columns": given}) for given in (None, "ignore", "refuse")]
    assert [config.extra_columns for config in read] == [None, "ignore", "refuse"]
    written = [write_endpoint(replace(endpoint("churn", 4), config=config), "")["config"] for config in read]
    assert [document["extra_columns"] for document in written] == ["ignore", "ignore", "refuse"]


@pytest.mark.parametrize(("given", "kept"), [(None, None), ("null", "null"), ("default", "default"), (404, "404")])
def test_what_missing_keys_get_is_read_beside_databricks_keys(given: object, kept: str | None) -> None:
    assert read_config({"served_entities": [ENTITY], "missing_keys": given}).missing_keys == kept


@pytest.mark.parametrize("version", [{}, {"entity_version": None}, {"entity_version": ""}])
def test_an_entity_without_a_version_is_a_feature_spec(version: dict[str, object]) -> None:
    config = read_config({"served_entities": [{"entity_name": "ml.specs.churn", "workload_size": "Small", **version}]})
    assert config.served == (ServedEntity("churn", "ml.specs.churn", None, {"workload_size": "Small"}),)
    assert config.kind == "features"


def test_a_feature_spec_is_written_without_a_version_and_not_among_models() -> None:
    config = EndpointConfig((ServedEntity("churn", "ml.specs.churn", None),), {"churn": 100})
    plans = (LoadPlan(config.served[0], "", "feature_spec", (), '{"format": 1}'),)
    stored = replace(endpoint("churn", 4), config=config, pending=None, plans=plans, previous=None, canary=None)
    document = json.loads(json.dumps(write_endpoint(stored, "http://host")))["config"]
    (entity,) = document["served_entities"]
    assert (entity["name"], entity["entity_name"]) == ("churn", "ml.specs.churn")
    assert "entity_version" not in entity
    assert document["served_models"] == []
    assert read_config(document).kind == "features"
    assert from_wire(json.loads(json.dumps(to_wire(stored)))) == stored


def test_workers_get_the_endpoint_as_it_is() -> None:
    for stored in (endpoint("churn", 4), replace(endpoint("plain"), plans=())):
        sent = replace(stored, pending=None, previous=None, canary=None)
        assert from_wire(json.loads(json.dumps(to_wire(stored)))) == sent


def test_a_worker_understands_control_of_the_version_before() -> None:
    stored = replace(endpoint("churn", 4), pending=None, previous=None, canary=None)
    document = json.loads(json.dumps(to_wire(stored)))
    del document["config"]["extra_columns"]
    assert from_wire(document) == replace(stored, config=replace(stored.config, extra_columns=None))


TWO = [{"entity_name": "m", "entity_version": "1"}, {"entity_name": "m", "entity_version": "2"}]


def test_a_shadow_takes_no_traffic_and_reads_back() -> None:
    config = read_config(
        {
            "served_entities": TWO,
            "shadow_config": {"routes": [{"served_entity_name": "m-2", "shadow_percentage": 20}]},
        }
    )
    assert (config.traffic, config.shadow) == ({"m-1": 100}, {"m-2": 20})
    document = write_endpoint(replace(endpoint("churn", 4), config=config, pending=None), "http://host")["config"]
    assert read_config(json.loads(json.dumps(document))).shadow == {"m-2": 20}


def test_a_canary_reads_back_with_the_traffic_of_its_first_step() -> None:
    canary = {"champion": "m-1", "challenger": "m-2", "steps": [5, 100], "wait_s": 90, "limits": {"latency": 2}}
    config = read_config({"served_entities": TWO, "canary_config": canary})
    wanted = Canary("m-1", "m-2", CanarySettings((5, 100), wait=timedelta(seconds=90), limits=CanaryLimits(latency=2)))
    assert (config.traffic, config.shadow, config.canary) == ({"m-1": 95, "m-2": 5}, {}, wanted)
    document = write_endpoint(replace(endpoint("churn", 4), config=config, pending=None), "http://host")["config"]
    assert read_config(json.loads(json.dumps(document))).canary == wanted


def test_a_canary_that_begins_in_shadow_gives_its_challenger_no_traffic_at_first() -> None:
    canary = {"champion": "m-1", "challenger": "m-2", "shadow": 30}
    config = read_config({"served_entities": TWO, "canary_config": canary})
    assert (config.traffic, config.shadow) == ({"m-1": 100, "m-2": 0}, {"m-2": 30})


@pytest.mark.parametrize(
    ("ours", "named"),
    [
        ({"shadow_config": {"routes": [{"served_entity_name": "m-3", "shadow_percentage": 20}]}}, "sums to 0"),
        ({"shadow_config": {"routes": [{"served_entity_name": "m-2", "shadow_percentage": "all"}]}}, "whole number"),
        ({"canary_config": [1]}, "not a JSON object"),
        ({"canary_config": {"champion": "m-1"}}, "'challenger' is missing"),
        ({"canary_config": {"champion": "m-1", "challenger": "m-1"}}, "challenger of itself"),
        ({"canary_config": {"champion": "m-1", "challenger": "m-3"}}, "'m-3', which is not served"),
        ({"canary_config": {"champion": "m-1", "challenger": "m-2", "step": [1]}}, "no field 'step'"),
        ({"canary_config": {"champion": "m-1", "challenger": "m-2", "steps": [50, 10, 100]}}, "don't lead to 100"),
        ({"canary_config": {"champion": "m-1", "challenger": "m-2", "steps": ["a"]}}, "don't lead to 100"),
        ({"canary_config": {"champion": "m-1", "challenger": "m-2", "steps": [10]}}, "don't lead to 100"),
        ({"canary_config": {"champion": "m-1", "challenger": "m-2", "shadow": 101}}, "no percent"),
        ({"canary_config": {"champion": "m-1", "challenger": "m-2", "min_requests": 0}}, "minimum sample"),
        ({"canary_config": {"champion": "m-1", "challenger": "m-2", "wait_s": 0}}, "not positive"),
        ({"canary_config": {"champion": "m-1", "challenger": "m-2", "after_wait": "hope"}}, "no decision"),
        ({"canary_config": {"champion": "m-1", "challenger": "m-2", "limits": {"latency": 0.5}}}, "latency"),
        ({"canary_config": {"champion": "m-1", "challenger": "m-2", "limits": {"errors": "x"}}}, "limits.errors"),
        (
            {
                "canary_config": {"champion": "m-1", "challenger": "m-2"},
                "traffic_config": {"routes": [{"served_entity_name": "m-1", "traffic_percentage": 100}]},
            },
            "first step",
        ),
    ],
)
def test_what_is_wrong_with_our_own_parts_is_named(ours: dict[str, object], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        read_config({"served_entities": TWO, **ours})
