"""Endpoints in the workspace database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, delete, select, update

from millrace.core.clock import epoch_us, from_epoch_us
from millrace.core.errors import AlreadyExists, Conflict, NotFound
from millrace.core.events import Event
from millrace.core.names import did_you_mean
from millrace.database.events import append_event
from millrace.database.schema import endpoints
from millrace.database.writes import insert_new
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


class SqlEndpointStore:
    """An `EndpointStore` in the `endpoints` table."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, endpoint: Endpoint, *events: Event) -> None:
        """Enter a new endpoint."""
        with self._engine.begin() as connection:
            if insert_new(connection, endpoints, _row(endpoint)) is None:
                raise AlreadyExists(
                    f"endpoint {endpoint.name} exists",
                    hint="update its configuration, or delete it first",
                    endpoint=endpoint.name,
                )
            _tell(connection, events)

    def get(self, name: EndpointName) -> Endpoint:
        """The endpoint of that name."""
        found = self._read(select(endpoints).where(endpoints.c.name == name))
        if not found:
            raise self._unknown(name)
        return found[0]

    def list(self) -> Sequence[Endpoint]:
        """Sorted by name."""
        # Sorted here: databases disagree on where an underscore comes.
        return sorted(self._read(select(endpoints)), key=lambda endpoint: endpoint.name)

    def update(self, endpoint: Endpoint, expected_generation: int, *events: Event) -> None:
        """Replace the endpoint where its stored generation is the expected one."""
        same = (endpoints.c.name == endpoint.name) & (endpoints.c.generation == expected_generation)
        with self._engine.begin() as connection:
            changed = connection.execute(update(endpoints).where(same).values(_row(endpoint)))
            if changed.rowcount:
                _tell(connection, events)
        if not changed.rowcount:
            found = self.get(endpoint.name).generation
            raise Conflict(
                f"endpoint {endpoint.name} was changed by somebody else: it is at generation {found}, not {expected_generation}",
                hint="read it again, then repeat the change",
                endpoint=endpoint.name,
                found=found,
                expected=expected_generation,
            )

    def remove(self, name: EndpointName, *events: Event) -> None:
        """Forget the endpoint."""
        with self._engine.begin() as connection:
            removed = connection.execute(delete(endpoints).where(endpoints.c.name == name))
            if removed.rowcount:
                _tell(connection, events)
        if not removed.rowcount:
            raise self._unknown(name)

    def _read(self, query: Select[Any]) -> Sequence[Endpoint]:
        with self._engine.connect().execution_options(read_only=True) as connection:
            return [_endpoint(row) for row in connection.execute(query)]

    def _unknown(self, name: EndpointName) -> NotFound:
        known = (endpoint.name for endpoint in self.list())
        return NotFound(f"endpoint {name} does not exist", hint=did_you_mean(name, known), endpoint=name)


def _tell(connection: Connection, events: Sequence[Event]) -> None:
    for event in events:
        append_event(connection, event)


def _row(endpoint: Endpoint) -> Mapping[str, object]:
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


def _endpoint(row: Row[Any]) -> Endpoint:
    return Endpoint(
        name=EndpointName(row.name),
        id=row.id,
        generation=row.generation,
        config=_config(row.config),
        plans=_plans(row.plans),
        pending=None if row.pending is None else _config(row.pending),
        state=EndpointState(**row.state),
        created_at=from_epoch_us(row.created_us),
        updated_at=from_epoch_us(row.updated_us),
        owner=row.owner,
        previous=None
        if row.previous is None
        else Former(_config(row.previous["config"]), _plans(row.previous["plans"])),
        canary=None if row.canary is None else run_from(row.canary),
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
