"""An endpoint as a row of the database has it, with its documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from millrace.core.clock import epoch_us, from_epoch_us
from millrace.core.errors import NotFound
from millrace.core.names import did_you_mean
from millrace.serving.canary.documents import canary_document, canary_from, run_document, run_from
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

DOCUMENTS = ("config", "plans", "pending", "state", "previous", "canary")


def row_of(endpoint: Endpoint) -> Mapping[str, object]:
    """Of an endpoint, by column."""
    return {
        "name": endpoint.name,
        "id": endpoint.id,
        "generation": endpoint.generation,
        "config": _config_document(endpoint.config),
        "plans": [_plan_document(plan) for plan in endpoint.plans],
        "pending": None if endpoint.pending is None else _config_document(endpoint.pending),
        "state": _state_document(endpoint.state),
        "created_us": epoch_us(endpoint.created_at),
        "updated_us": epoch_us(endpoint.updated_at),
        "owner": endpoint.owner,
        "previous": endpoint.previous
        and {
            "config": _config_document(endpoint.previous.config),
            "plans": [_plan_document(plan) for plan in endpoint.previous.plans],
        },
        "canary": endpoint.canary and run_document(endpoint.canary),
    }


def endpoint_of(row: Mapping[str, Any]) -> Endpoint:
    """From a row whose documents are read already."""
    return Endpoint(
        name=EndpointName(row["name"]),
        id=row["id"],
        generation=row["generation"],
        config=_config(row["config"]),
        plans=_plans(row["plans"]),
        pending=None if row["pending"] is None else _config(row["pending"]),
        state=EndpointState(**row["state"]),
        created_at=from_epoch_us(row["created_us"]),
        updated_at=from_epoch_us(row["updated_us"]),
        owner=row["owner"],
        previous=None
        if row["previous"] is None
        else Former(_config(row["previous"]["config"]), _plans(row["previous"]["plans"])),
        canary=None if row["canary"] is None else run_from(row["canary"]),
    )


def _state_document(state: EndpointState) -> Mapping[str, object]:
    return {
        "ready": state.ready,
        "config_update": state.config_update,
        "message": state.message,
        "paths": dict(state.paths),
    }


def _config_document(config: EndpointConfig) -> Mapping[str, object]:
    capture = config.capture
    return {
        "served": [_entity_document(entity) for entity in config.served],
        "traffic": dict(config.traffic),
        "capture": capture
        and {
            "catalog": capture.catalog,
            "schema": capture.schema,
            "prefix": capture.prefix,
            "enabled": capture.enabled,
        },
        "missing_keys": config.missing_keys,
        "extra_columns": config.extra_columns,
        "shadow": dict(config.shadow),
        "canary": config.canary and canary_document(config.canary),
    }


def _config(document: Mapping[str, Any]) -> EndpointConfig:
    capture, canary = document["capture"], document.get("canary")
    return EndpointConfig(
        served=tuple(ServedEntity(**entity) for entity in document["served"]),
        traffic=document["traffic"],
        capture=None if capture is None else Capture(**capture),
        missing_keys=document.get("missing_keys"),
        extra_columns=document.get("extra_columns"),
        shadow=document.get("shadow", {}),
        canary=None if canary is None else canary_from(canary),
    )


def _entity_document(entity: ServedEntity) -> Mapping[str, object]:
    return {
        "name": entity.name,
        "entity_name": entity.entity_name,
        "entity_version": entity.entity_version,
        "settings": dict(entity.settings),
    }


def _plan_document(plan: LoadPlan) -> Mapping[str, object]:
    return {
        "entity": _entity_document(plan.entity),
        "path": plan.path,
        "flavor": plan.flavor,
        "inputs": [list(column) for column in plan.inputs],
        "feature_spec": plan.feature_spec,
    }


def _plans(documents: Sequence[Mapping[str, Any]]) -> tuple[LoadPlan, ...]:
    return tuple(_plan(document) for document in documents)


def _plan(document: Mapping[str, Any]) -> LoadPlan:
    return LoadPlan(
        entity=ServedEntity(**document["entity"]),
        path=document["path"],
        flavor=document["flavor"],
        inputs=tuple((name, kind) for name, kind in document["inputs"]),
        feature_spec=document["feature_spec"],
    )


def unknown(name: EndpointName, known: Sequence[Endpoint]) -> NotFound:
    """That there is no such endpoint, with the nearest."""
    hint = did_you_mean(name, (endpoint.name for endpoint in known))
    return NotFound(f"endpoint {name} does not exist", hint=hint, endpoint=name)
