"""Deployment to a millrace server, over its REST API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from millrace.targets.adapters.connection import ENDPOINTS, Connection, capture_config, own_path_of, path_of
from millrace.targets.types import Answers, CanaryStatus, DeploymentSpec, DeploymentStatus


class MillraceTarget:
    """A `DeploymentTarget` on a running server. Thread-safe; keeps connections open between calls.

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
        self._versions: dict[tuple[str, str], str] = {}

    def deploy(self, spec: DeploymentSpec) -> DeploymentStatus:
        """Make or update the endpoint, and wait until it serves the version or has failed."""
        found = self._server.find(spec.endpoint)
        if found is not None and found["state"]["config_update"] == "IN_PROGRESS":
            found = self._server.settled(spec.endpoint)
        if found is None:
            self._server.call("POST", ENDPOINTS, {"name": spec.endpoint, "config": _config(spec)})
        elif _serves(found, spec) or (spec.canary is not None and _takes_over(found, spec)):
            return _status(spec.endpoint, found)
        elif spec.canary is not None and found["config"]["served_entities"]:
            challenger = {"entity_name": spec.model, "entity_version": spec.version}
            body = {**challenger, "canary_config": dict(spec.canary)}
            self._server.call("POST", f"{own_path_of(spec.endpoint)}/canary", body)
        else:
            self._server.call("PUT", f"{path_of(spec.endpoint)}/config", _config(spec))
        return _status(spec.endpoint, self._server.settled(spec.endpoint))

    def split(self, endpoint: str, traffic: Mapping[str, int]) -> DeploymentStatus:
        """Split the traffic otherwise."""
        routes = [{"served_entity_name": name, "traffic_percentage": percent} for name, percent in traffic.items()]
        self._server.call("PUT", f"{own_path_of(endpoint)}/traffic", {"traffic_config": {"routes": routes}})
        return _status(endpoint, self._server.settled(endpoint))

    def shadow(self, endpoint: str, model: str, version: str, percent: int) -> DeploymentStatus:
        """Copy a percent of the requests to a version."""
        body = {"entity_name": model, "entity_version": version, "shadow_percentage": percent}
        self._server.call("PUT", f"{own_path_of(endpoint)}/shadow", body)
        return _status(endpoint, self._server.settled(endpoint))

    def roll_back(self, endpoint: str, why: str) -> DeploymentStatus:
        """Serve what was served before."""
        self._server.call("POST", f"{own_path_of(endpoint)}/rollback", {"why": why})
        return _status(endpoint, self._server.settled(endpoint))

    def status(self, endpoint: str) -> DeploymentStatus | None:
        """How the endpoint stands; None for an unknown one."""
        found = self._server.find(endpoint)
        return None if found is None else _status(endpoint, found)

    def query(self, endpoint: str, records: Sequence[Mapping[str, object]]) -> Answers:
        """Ask for predictions, with probabilities.

        Raises:
            NotFound: no such endpoint.
            InvalidInput: a record lacks a column that the model needs, or has a wrong value.
        """
        body = {"dataframe_records": [dict(record) for record in records], "params": {"predict_proba": True}}
        response, round_trip_ms = self._server.invoke(endpoint, body)
        answer = response.json()
        probabilities = answer.get("probabilities")
        return Answers(
            predictions=tuple(answer["predictions"]),
            probabilities=None if probabilities is None else tuple(probabilities),
            model_version=self._version(endpoint, response.headers.get("served-model-name", "")),
            request_id=response.headers.get("databricks-request-id", ""),
            figures={"round_trip_ms": round_trip_ms},
        )

    def remove(self, endpoint: str) -> None:
        """Take the endpoint away; nothing where it isn't there."""
        self._server.remove(endpoint)

    def drain(self) -> dict[str, int]:
        """Have everything that was captured up to now moved into the inference tables: segments, requests and rows moved."""
        return {key: int(value) for key, value in self._server.call("POST", "/api/millrace/capture/drain").items()}

    def close(self) -> None:
        """Close the connections, which else end with this object."""
        self._server.close()

    def _version(self, endpoint: str, served: str) -> str:
        """The version behind a served name: in this client's memory, else asked for."""
        if (endpoint, served) not in self._versions:
            entities = self._server.call("GET", path_of(endpoint))["config"]["served_entities"]
            self._versions |= {(endpoint, entity["name"]): entity.get("entity_version", "") for entity in entities}
        return self._versions.get((endpoint, served), "")


def _config(spec: DeploymentSpec) -> dict[str, object]:
    config: dict[str, object] = {"served_entities": [{"entity_name": spec.model, "entity_version": spec.version}]}
    if spec.capture is not None:
        config["auto_capture_config"] = capture_config(spec.capture)
    return config


def _serves(found: Mapping[str, Any], spec: DeploymentSpec) -> bool:
    """Whether the endpoint serves exactly this: one entity, ready, captured to where the spec says."""
    config = found["config"]
    served = [(entity["entity_name"], entity.get("entity_version")) for entity in config["served_entities"]]
    capture = config.get("auto_capture_config")
    captured = capture and (capture["catalog_name"], capture["schema_name"], capture["table_name_prefix"])
    wanted = spec.capture is None or (captured == spec.capture and capture["enabled"])
    return found["state"]["ready"] == "READY" and served == [(spec.model, spec.version)] and bool(wanted)


def _takes_over(found: Mapping[str, Any], spec: DeploymentSpec) -> bool:
    """Whether a canary of this version is under way."""
    canary = _canary(found)
    return canary is not None and (canary.model, canary.version, canary.outcome) == (
        spec.model,
        spec.version,
        "running",
    )


def _canary(found: Mapping[str, Any]) -> CanaryStatus | None:
    canary = found.get("canary")
    if canary is None:
        return None
    shares = {route["served_entity_name"]: route["traffic_percentage"] for route in _routes(found)}
    name = canary["canary"]["challenger"]
    return CanaryStatus(canary["model"], canary["version"], canary["outcome"], shares.get(name, 0), canary["message"])


def _routes(found: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    routes: Sequence[Mapping[str, Any]] = found["config"]["traffic_config"]["routes"]
    return routes


def _status(endpoint: str, found: Mapping[str, Any]) -> DeploymentStatus:
    state, config = found["state"], found["config"]
    shares = {route["served_entity_name"]: route["traffic_percentage"] for route in _routes(found)}
    versions = {entity["name"]: entity.get("entity_version") for entity in config["served_entities"]}
    version = versions.get(max(shares, key=lambda name: shares[name])) if shares else None
    message, ready = state.get("message", ""), state["ready"] == "READY"
    if state["config_update"] == "IN_PROGRESS":
        return DeploymentStatus(endpoint, "updating", version, message, ready=ready)
    if state["config_update"] != "NOT_UPDATING":
        return DeploymentStatus(endpoint, "failed", version, message, ready=ready)
    return DeploymentStatus(endpoint, "ready", version, canary=_canary(found), ready=ready)
