"""Deployment to a millrace server, over its REST API."""

from __future__ import annotations

import time
import weakref
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import httpx

from millrace.core import errors
from millrace.core.errors import InvalidState, MillraceError, NotFound
from millrace.targets.types import Answers, DeploymentSpec, DeploymentStatus

_ENDPOINTS = "/api/2.0/serving-endpoints"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0
_STARTING, _STARTING_S, _STARTING_PAUSE_S = 503, 30.0, 0.25
_START_HINT = "start it with `millrace up`"
_ERRORS: Mapping[str, type[MillraceError]] = {
    kind.error_code: kind
    for kind in (
        errors.InvalidInput,
        errors.NotFound,
        errors.AlreadyExists,
        errors.Conflict,
        errors.InvalidState,
        errors.PermissionDenied,
    )
}
_ALIASES = {"BAD_REQUEST": "INVALID_PARAMETER_VALUE", "UNAUTHENTICATED": "PERMISSION_DENIED"}


class MillraceTarget:
    """A `DeploymentTarget` on a running server. Thread-safe; keeps connections open between calls.

    Args:
        url: the server's, as `http://127.0.0.1:5010`.
        token: the home's token.
        update_timeout_s: how long an update may take until it counts as failed.
        transport: another way to the server than the network, for tests.
    """

    def __init__(
        self, url: str, token: str, *, update_timeout_s: float = 300.0, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._url = url.rstrip("/")
        self._update_timeout_s = update_timeout_s
        self._client = httpx.Client(
            base_url=self._url,
            headers={"authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(60.0),
            transport=transport,
            trust_env=False,
        )
        self._versions: dict[tuple[str, str], str] = {}
        # A target is a value to its users, who seldom close it: its connections end with it.
        self._close = weakref.finalize(self, self._client.close)

    def deploy(self, spec: DeploymentSpec) -> DeploymentStatus:
        """Make or update the endpoint, and wait until it serves the version or has failed."""
        found = self._find(spec.endpoint)
        if found is not None and found["state"]["config_update"] == "IN_PROGRESS":
            found = self._settled(spec.endpoint)
        if found is None:
            self._call("POST", _ENDPOINTS, {"name": spec.endpoint, "config": _config(spec)})
        elif not _serves(found, spec):
            self._call("PUT", f"{_path(spec.endpoint)}/config", _config(spec))
        else:
            return DeploymentStatus(spec.endpoint, "ready", spec.version)
        return _status(spec.endpoint, self._settled(spec.endpoint))

    def status(self, endpoint: str) -> DeploymentStatus | None:
        """How the endpoint stands; None for an unknown one."""
        found = self._find(endpoint)
        return None if found is None else _status(endpoint, found)

    def query(self, endpoint: str, records: Sequence[Mapping[str, object]]) -> Answers:
        """Ask for predictions, with probabilities.

        Raises:
            NotFound: no such endpoint.
            InvalidInput: a record lacks a column that the model needs, or has a wrong value.
        """
        body = {"dataframe_records": [dict(record) for record in records], "params": {"predict_proba": True}}
        started = time.perf_counter()
        response = self._send("POST", f"/serving-endpoints/{quote(endpoint, safe='')}/invocations", body)
        round_trip_ms = (time.perf_counter() - started) * 1000
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
        try:
            self._call("DELETE", _path(endpoint))
        except NotFound:
            return

    def drain(self) -> dict[str, int]:
        """Have everything that was captured up to now moved into the inference tables: segments, requests and rows moved."""
        return {key: int(value) for key, value in self._call("POST", "/api/millrace/capture/drain").items()}

    def close(self) -> None:
        """Close the connections, which else end with this object."""
        self._close()

    def _find(self, endpoint: str) -> dict[str, Any] | None:
        try:
            return self._call("GET", _path(endpoint))
        except NotFound:
            return None

    def _settled(self, endpoint: str) -> dict[str, Any]:
        """The endpoint when no update of it is in progress."""
        deadline, pause_s = time.monotonic() + self._update_timeout_s, _FIRST_PAUSE_S
        while True:
            found = self._call("GET", _path(endpoint))
            if found["state"]["config_update"] != "IN_PROGRESS":
                return found
            if time.monotonic() > deadline:
                raise InvalidState(
                    f"endpoint '{endpoint}' was still updating after {self._update_timeout_s:.0f} seconds",
                    hint="look at the logs in the server's home",
                    endpoint=endpoint,
                )
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)

    def _version(self, endpoint: str, served: str) -> str:
        """The version behind a served name: in this client's memory, else asked for."""
        if (endpoint, served) not in self._versions:
            entities = self._call("GET", _path(endpoint))["config"]["served_entities"]
            self._versions |= {(endpoint, entity["name"]): entity["entity_version"] for entity in entities}
        return self._versions.get((endpoint, served), "")

    def _call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        answer: dict[str, Any] = self._send(method, path, body).json()
        return answer

    def _send(self, method: str, path: str, body: object) -> httpx.Response:
        """Send a request, again while the server says that it is starting: then it has not seen the request."""
        deadline = time.monotonic() + _STARTING_S
        while True:
            response = self._send_once(method, path, body)
            if response.status_code != _STARTING or time.monotonic() > deadline:
                break
            time.sleep(_STARTING_PAUSE_S)
        if response.is_error:
            raise _error(response)
        return response

    def _send_once(self, method: str, path: str, body: object) -> httpx.Response:
        try:
            return self._client.request(method, path, json=body)
        except httpx.TransportError as error:
            raise InvalidState(
                f"the server at {self._url} does not answer: {error}", hint=_START_HINT, url=self._url
            ) from error


def _path(endpoint: str) -> str:
    return f"{_ENDPOINTS}/{quote(endpoint, safe='')}"


def _config(spec: DeploymentSpec) -> dict[str, object]:
    config: dict[str, object] = {"served_entities": [{"entity_name": spec.model, "entity_version": spec.version}]}
    if spec.capture is not None:
        catalog, schema, prefix = spec.capture
        config["auto_capture_config"] = {
            "catalog_name": catalog,
            "schema_name": schema,
            "table_name_prefix": prefix,
            "enabled": True,
        }
    return config


def _serves(found: Mapping[str, Any], spec: DeploymentSpec) -> bool:
    """Whether the endpoint serves exactly this: one entity, ready, captured to where the spec says."""
    config = found["config"]
    served = [(entity["entity_name"], entity["entity_version"]) for entity in config["served_entities"]]
    capture = config.get("auto_capture_config")
    captured = capture and (capture["catalog_name"], capture["schema_name"], capture["table_name_prefix"])
    wanted = spec.capture is None or (captured == spec.capture and capture["enabled"])
    return found["state"]["ready"] == "READY" and served == [(spec.model, spec.version)] and bool(wanted)


def _status(endpoint: str, found: Mapping[str, Any]) -> DeploymentStatus:
    state, config = found["state"], found["config"]
    shares = {route["served_entity_name"]: route["traffic_percentage"] for route in config["traffic_config"]["routes"]}
    versions = {entity["name"]: entity["entity_version"] for entity in config["served_entities"]}
    version = versions.get(max(shares, key=lambda name: shares[name])) if shares else None
    message = state.get("message", "")
    if state["config_update"] == "IN_PROGRESS":
        return DeploymentStatus(endpoint, "updating", version, message)
    if state["config_update"] != "NOT_UPDATING":
        return DeploymentStatus(endpoint, "failed", version, message)
    return DeploymentStatus(endpoint, "ready", version)


def _error(response: httpx.Response) -> MillraceError:
    """The error that the server reported, as the class it had there."""
    try:
        body: dict[str, Any] = response.json()
    except ValueError:
        body = {}
    code = body.get("error_code", "")
    details: dict[str, str] = body["details"][0]["metadata"] if body.get("details") else {}
    message = details.get("message") or body.get("message") or f"the server answered {response.status_code}"
    kind = _ERRORS.get(_ALIASES.get(code, code), InvalidState)
    return kind(message, hint=details.get("hint", ""), status=response.status_code)
