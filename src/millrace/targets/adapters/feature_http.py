"""Endpoints that serve features, on a millrace server, over its REST API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal

import httpx

from millrace.core.clock import from_epoch_us
from millrace.core.errors import InvalidInput
from millrace.targets.adapters.connection import ENDPOINTS, Connection, capture_config, path_of
from millrace.targets.types import FeatureAnswers, FeatureDeployment, FeatureStatus, ServedSpec

_MS = timedelta(milliseconds=1) // timedelta(microseconds=1)
# What the server adds to an entity, beside its name and what the caller had set.
_ADDED = ("name", "entity_name", "creator", "creation_timestamp", "state")


class MillraceFeatureTarget:
    """A `FeatureTarget` on a running server. Thread-safe; keeps connections open between calls.

    Args:
        url: the server's, as `http://127.0.0.1:5010`.
        token: the home's token.
        update_timeout_s: how long an update may take until it counts as failed.
        certificate: what the server shows where it speaks TLS, as PEM.
        transport: another way to the server than the network, for tests.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        update_timeout_s: float = 300.0,
        certificate: str | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._server = Connection(
            url, token, update_timeout_s=update_timeout_s, certificate=certificate, transport=transport
        )

    def create(self, endpoint: str, wanted: FeatureDeployment) -> FeatureStatus:
        """Make an endpoint, and wait until it serves or has failed."""
        self._server.call("POST", ENDPOINTS, {"name": endpoint, "config": _config(wanted)})
        return _status(self._server.settled(endpoint))

    def update(self, endpoint: str, wanted: FeatureDeployment) -> FeatureStatus:
        """Change what an endpoint serves, and wait until it does or has failed (then it serves what it did)."""
        self._server.call("PUT", f"{path_of(endpoint)}/config", _config(wanted))
        return _status(self._server.settled(endpoint))

    def status(self, endpoint: str) -> FeatureStatus:
        """How the endpoint stands."""
        return _status(self._server.call("GET", path_of(endpoint)))

    def ask(self, endpoint: str, records: Sequence[Mapping[str, object]]) -> FeatureAnswers:
        """The features of each record, in their order."""
        response, round_trip_ms = self._server.invoke(
            endpoint, {"dataframe_records": [dict(record) for record in records]}
        )
        answer = response.json()
        if "outputs" not in answer:
            raise _no_features(endpoint)
        return FeatureAnswers(
            outputs=tuple(answer["outputs"]),
            served=response.headers.get("served-model-name", ""),
            request_id=response.headers.get("databricks-request-id", ""),
            figures={"round_trip_ms": round_trip_ms},
        )

    def delete(self, endpoint: str) -> None:
        """Take an endpoint away that serves features."""
        self.status(endpoint)
        self._server.call("DELETE", path_of(endpoint))

    def close(self) -> None:
        """Close the connections, which else end with this object."""
        self._server.close()


def _config(wanted: FeatureDeployment) -> dict[str, object]:
    config: dict[str, object] = {"served_entities": [_entity(entity) for entity in wanted.served]}
    if wanted.traffic is not None:
        config["traffic_config"] = {
            "routes": [
                {"served_entity_name": name, "traffic_percentage": percent} for name, percent in wanted.traffic.items()
            ]
        }
    if wanted.capture is not None:
        config["auto_capture_config"] = capture_config(wanted.capture)
    return config


def _entity(entity: ServedSpec) -> dict[str, object]:
    named = {} if entity.name is None else {"name": entity.name}
    return {**entity.settings, **named, "entity_name": entity.spec}


def _status(found: Mapping[str, Any]) -> FeatureStatus:
    state, active = found["state"], found["config"]
    config = active if active["served_entities"] else found.get("pending_config", active)
    if any("entity_version" in entity for entity in config["served_entities"]):
        raise _no_features(found["name"])
    return FeatureStatus(
        endpoint=found["name"],
        state=_word(state["config_update"]),
        ready=state["ready"] == "READY",
        message=state.get("message", ""),
        generation=active["config_version"],
        url=found["endpoint_url"],
        creator=found["creator"],
        created_at=from_epoch_us(found["creation_timestamp"] * _MS),
        serving=_deployment(config),
    )


def _word(update: str) -> Literal["ready", "updating", "failed"]:
    match update:
        case "NOT_UPDATING":
            return "ready"
        case "IN_PROGRESS":
            return "updating"
        case _:
            return "failed"


def _deployment(config: Mapping[str, Any]) -> FeatureDeployment:
    capture = config.get("auto_capture_config")
    return FeatureDeployment(
        served=tuple(
            ServedSpec(
                entity["entity_name"],
                entity["name"],
                {key: value for key, value in entity.items() if key not in _ADDED},
            )
            for entity in config["served_entities"]
        ),
        traffic={
            route["served_entity_name"]: route["traffic_percentage"] for route in config["traffic_config"]["routes"]
        },
        capture=(capture["catalog_name"], capture["schema_name"], capture["table_name_prefix"])
        if capture and capture["enabled"]
        else None,
    )


def _no_features(endpoint: str) -> InvalidInput:
    return InvalidInput(
        f"endpoint '{endpoint}' serves models, not features",
        hint="look at it with `millrace endpoint show`, or over REST",
        endpoint=endpoint,
    )
