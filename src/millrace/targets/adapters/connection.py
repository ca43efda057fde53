"""A millrace server as a client sees it: requests out, answers or our own errors back."""

from __future__ import annotations

import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from millrace.core import errors
from millrace.core.errors import InvalidState, MillraceError, NotFound
from millrace.targets.local_server import tls_context

ENDPOINTS = "/api/2.0/serving-endpoints"
OWN_ENDPOINTS = "/api/millrace/endpoints"
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


class Connection:
    """Speaks to a running server. Thread-safe; keeps connections open between calls.

    Args:
        url: the server's, as `http://127.0.0.1:5010`.
        token: the home's token.
        update_timeout_s: how long an update may take until it counts as failed.
        certificate: what the server shows where it speaks TLS, as PEM; None: one that the machine's authorities signed.
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
        self._url = url.rstrip("/")
        self._update_timeout_s = update_timeout_s
        self._client = httpx.Client(
            base_url=self._url,
            headers={"authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(60.0),
            transport=transport,
            verify=True if certificate is None else tls_context(certificate),
            trust_env=False,
        )
        # Targets are values to their users, who seldom close them: the connections end with this object.
        self.close = weakref.finalize(self, self._client.close)

    def find(self, endpoint: str) -> dict[str, Any] | None:
        """An endpoint as the server describes it; None for an unknown one."""
        try:
            return self.call("GET", path_of(endpoint))
        except NotFound:
            return None

    def settled(self, endpoint: str) -> dict[str, Any]:
        """An endpoint when no update of it is in progress. Raises InvalidState where that takes too long."""
        deadline, pause_s = time.monotonic() + self._update_timeout_s, _FIRST_PAUSE_S
        while True:
            found = self.call("GET", path_of(endpoint))
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

    def remove(self, endpoint: str) -> None:
        """Take an endpoint away; nothing where it isn't there."""
        try:
            self.call("DELETE", path_of(endpoint))
        except NotFound:
            return

    def invoke(self, endpoint: str, body: object) -> tuple[httpx.Response, float]:
        """The response to a question, and how long it took in milliseconds."""
        started = time.perf_counter()
        response = self.send("POST", f"/serving-endpoints/{quote(endpoint, safe='')}/invocations", body)
        return response, (time.perf_counter() - started) * 1000

    def call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """The JSON object that a request is answered with."""
        answer: dict[str, Any] = self.send(method, path, body).json()
        return answer

    def upload(self, path: str, file: Path, query: Mapping[str, str], *, timeout_s: float) -> dict[str, Any]:
        """The JSON object that a file is answered with; the file is streamed."""
        try:
            with file.open("rb") as opened:
                response = self._client.post(path, content=opened, params=query, timeout=timeout_s)
        except httpx.TransportError as error:
            raise self._unreached(error) from error
        if response.is_error:
            raise _error(response)
        answer: dict[str, Any] = response.json()
        return answer

    def send(self, method: str, path: str, body: object) -> httpx.Response:
        """Send a request, again while the server says that it is starting: then it has not seen the request.

        Raises:
            InvalidState: the server does not answer.
            MillraceError: what the server reported, as the class that it had there.
        """
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
            raise self._unreached(error) from error

    def _unreached(self, error: Exception) -> InvalidState:
        return InvalidState(f"the server at {self._url} does not answer: {error}", hint=_START_HINT, url=self._url)


def path_of(endpoint: str) -> str:
    """Where the server keeps an endpoint."""
    return f"{ENDPOINTS}/{quote(endpoint, safe='')}"


def own_path_of(endpoint: str) -> str:
    """Where the server keeps what is not in Databricks' shapes."""
    return f"{OWN_ENDPOINTS}/{quote(endpoint, safe='')}"


def capture_config(capture: tuple[str, str, str]) -> dict[str, object]:
    """`(catalog, schema, prefix)` of the inference tables, as the server reads it."""
    catalog, schema, prefix = capture
    return {"catalog_name": catalog, "schema_name": schema, "table_name_prefix": prefix, "enabled": True}


def _error(response: httpx.Response) -> MillraceError:
    try:
        body: dict[str, Any] = response.json()
    except ValueError:
        body = {}
    code = body.get("error_code", "")
    details: dict[str, str] = body["details"][0]["metadata"] if body.get("details") else {}
    message = details.get("message") or body.get("message") or f"the server answered {response.status_code}"
    kind = _ERRORS.get(_ALIASES.get(code, code), InvalidState)
    return kind(message, hint=details.get("hint", ""), status=response.status_code)
