"""The REST API of the control process: serving endpoints in Databricks' shapes, and millrace's own few routes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from millrace.access.types import CALLER, Caller
from millrace.api.bodies import json_object
from millrace.api.canaries import Canaries
from millrace.api.deployments import Deployments
from millrace.api.draining import drain_there
from millrace.api.errors import body_of, error_body, status_of
from millrace.api.metrics import Metrics
from millrace.api.mlflow_mount import MlflowMount
from millrace.api.pages import start_page
from millrace.api.runtime import socket_folder
from millrace.api.shapes import read_config, read_entity, read_percent, read_percents, write_endpoint
from millrace.api.status import Status
from millrace.core.errors import InvalidInput, MillraceError, PermissionDenied
from millrace.registry.port import Registry
from millrace.serving.endpoints.amend import with_canary, with_shadow, with_traffic
from millrace.serving.endpoints.prepare import Sources
from millrace.serving.types import Endpoint, EndpointConfig
from millrace.workspace import Workspace

ENDPOINTS = "/api/2.0/serving-endpoints"
OWN_ENDPOINTS = "/api/millrace/endpoints/"
_ASK = "ask the owner of the home for a token with this right"


class Rest:
    """The routes. Each handler reads a request, calls one use case in a thread, and writes its result."""

    def __init__(
        self, workspace: Workspace, deployments: Deployments, status: Status, mlflow: MlflowMount, url: str
    ) -> None:
        self._workspace, self._deployments, self._status = workspace, deployments, status
        self._mlflow, self._url = mlflow, url
        by_itself = not workspace.clock.is_virtual
        self.canaries = Canaries(lambda: workspace.lake, workspace.clock, deployments, by_itself=by_itself)
        # Opened here, once: requests come in several threads.
        self._metrics = Metrics(workspace, status.workers, deployments)
        self._sources = Sources(self._registry, workspace.feature_specs, workspace.online)

    @property
    def routes(self) -> list[Route]:
        """For a Starlette application."""
        return [
            Route("/", self.start),
            Route("/metrics", self.metrics),
            Route("/api/millrace/status", self.status),
            Route("/api/millrace/capture/drain", self.drain, methods=["POST"]),
            Route(ENDPOINTS, self.list, methods=["GET"]),
            Route(ENDPOINTS, self.create, methods=["POST"]),
            Route(ENDPOINTS + "/{name}", self.get, methods=["GET"]),
            Route(ENDPOINTS + "/{name}", self.delete, methods=["DELETE"]),
            Route(ENDPOINTS + "/{name}/config", self.update, methods=["PUT"]),
            Route(OWN_ENDPOINTS + "{name}/canary", self.canary, methods=["POST"]),
            Route(OWN_ENDPOINTS + "{name}/traffic", self.traffic, methods=["PUT"]),
            Route(OWN_ENDPOINTS + "{name}/shadow", self.shadow, methods=["PUT"]),
            Route(OWN_ENDPOINTS + "{name}/rollback", self.rollback, methods=["POST"]),
        ]

    async def start(self, _request: Request) -> Response:
        """The page at `/`."""
        found = await run_in_threadpool(self._deployments.list)
        return start_page([(endpoint.name, _standing(endpoint)) for endpoint in found])

    async def metrics(self, request: Request) -> Response:
        """What Prometheus scrapes."""
        content, content_type = await run_in_threadpool(self._metrics.write, request.headers.get("accept", ""))
        return Response(content, headers={"content-type": content_type})

    async def status(self, _request: Request) -> Response:
        """How the server stands."""
        return JSONResponse(await run_in_threadpool(self._status.read))

    async def drain(self, _request: Request) -> Response:
        """Move everything captured up to now into the inference tables; how much that was."""
        result = await run_in_threadpool(self.drain_and_look)
        return JSONResponse(result)

    async def list(self, request: Request) -> Response:
        """The endpoints that the caller may query or manage."""
        rights = _caller(request).rights
        levels = [(each, rights.level(each.name)) for each in await run_in_threadpool(self._deployments.list)]
        return JSONResponse(
            {"endpoints": [write_endpoint(each, self._here(request), level) for each, level in levels if level]}
        )

    async def get(self, request: Request) -> Response:
        """One endpoint."""
        caller, name = _caller(request), request.path_params["name"]
        if not caller.rights.may_query(name):
            raise PermissionDenied(f"{caller.name} may not see endpoint '{name}'", hint=_ASK)
        return await self._answer(request, name, lambda: self._deployments.get(name))

    async def create(self, request: Request) -> Response:
        """Make an endpoint."""
        body = await json_object(request)
        name = body.get("name")
        if not isinstance(name, str):
            raise InvalidInput("'name' is missing", hint="give the endpoint a name", field="name")
        caller = _manages(request, name)
        config = read_config(body.get("config"), body.get("ai_gateway"))
        return await self._answer(
            request, name, lambda: self._deployments.create(self._sources, name, config, caller.principal)
        )

    async def update(self, request: Request) -> Response:
        """Change what an endpoint serves."""
        name = request.path_params["name"]
        caller = _manages(request, name)
        config = read_config(await json_object(request))
        return await self._answer(
            request, name, lambda: self._deployments.update(self._sources, name, config, caller.principal)
        )

    async def canary(self, request: Request) -> Response:
        """Let a challenger take over from the one that has all of the traffic."""
        body = await json_object(request)
        challenger, settings = read_entity(body), body.get("canary_config") or {}
        return await self._amend(request, lambda endpoint: with_canary(endpoint, challenger, settings))

    async def traffic(self, request: Request) -> Response:
        """Split the traffic otherwise."""
        traffic = read_percents(await json_object(request), "traffic")
        return await self._amend(request, lambda endpoint: with_traffic(endpoint, traffic))

    async def shadow(self, request: Request) -> Response:
        """Copy a percent of the requests to a model version; 0: no longer."""
        body = await json_object(request)
        entity, percent = read_entity(body), read_percent(body, "shadow_percentage")
        return await self._amend(request, lambda endpoint: with_shadow(endpoint, entity, percent))

    async def rollback(self, request: Request) -> Response:
        """Go back to what was served before."""
        name = request.path_params["name"]
        caller = _manages(request, name)
        why = str((await json_object(request)).get("why") or "rolled back by hand")
        return await self._answer(request, name, lambda: self._deployments.roll_back(name, why, caller.principal))

    async def _amend(self, request: Request, wanted: Callable[[Endpoint], EndpointConfig]) -> Response:
        name = request.path_params["name"]
        by = _manages(request, name).principal
        return await self._answer(request, name, lambda: self._deployments.change(self._sources, name, wanted, by))

    async def delete(self, request: Request) -> Response:
        """Take an endpoint away."""
        name = request.path_params["name"]
        caller = _manages(request, name)
        await run_in_threadpool(self._deployments.delete, name, caller.principal)
        return JSONResponse({})

    async def _answer(self, request: Request, name: str, use_case: Callable[[], Endpoint]) -> Response:
        level = _caller(request).rights.level(name)
        return JSONResponse(write_endpoint(await run_in_threadpool(use_case), self._here(request), level))

    def _here(self, request: Request) -> str:
        """The server's URL as the caller wrote it: the guard has checked the Host."""
        return f"{self._url.partition('://')[0]}://{request.headers['host']}"

    def _registry(self) -> Registry:
        # MLflow's server must be the first to import MLflow and to open its database: both happen once, and take seconds.
        self._mlflow.load()
        return self._workspace.registry

    def drain_and_look(self) -> dict[str, Any]:
        """Drain, then judge the canaries that are under way by what is there now."""
        return self.canaries.look_after(self.drain_now)

    def drain_now(self) -> dict[str, Any]:
        """Move everything that is captured into the inference tables."""
        return drain_there(socket_folder(self._workspace.home))


def expected_failure(_request: Request, error: Exception) -> Response:
    """One of our errors, as the answer to a request."""
    assert isinstance(error, MillraceError)  # noqa: S101 - registered for this class
    return JSONResponse(body_of(error), status_of(error.error_code))


def http_failure(request: Request, error: Exception) -> Response:
    """A path that is not there, or not for this method."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    method, path = request.method, request.url.path
    if error.status_code == 405:  # noqa: PLR2004 - the status has this number
        return JSONResponse(error_body("METHOD_NOT_ALLOWED", f"{path} does not take {method}"), 405)
    if path.startswith(("/api/2.", "/api/data-quality/")):
        hint = "docs/api.md lists what is there"
        return JSONResponse(error_body("NOT_IMPLEMENTED", f"{method} {path} is not offered here", hint), 501)
    return JSONResponse(error_body("RESOURCE_DOES_NOT_EXIST", f"there is nothing at {path}"), 404)


def bug(request: Request, _error: Exception) -> Response:
    """What nobody foresaw. The trace goes to the log, never to the caller."""
    hint = "the control process's log in the home has the trace"
    return JSONResponse(error_body("INTERNAL_ERROR", f"{request.method} {request.url.path} failed", hint), 500)


def _caller(request: Request) -> Caller:
    caller: Caller = request.scope[CALLER]
    return caller


def _manages(request: Request, name: str) -> Caller:
    """The caller, who may manage the endpoint. The error is the same whether or not there is such an endpoint."""
    caller = _caller(request)
    if not caller.rights.may_manage(name):
        raise PermissionDenied(f"{caller.name} may not manage endpoint '{name}'", hint=_ASK)
    return caller


def _standing(endpoint: Endpoint) -> str:
    state = endpoint.state
    words = "ready" if state.ready else f"not ready: {state.message}" if endpoint.generation else "not ready"
    return words if state.config_update == "NOT_UPDATING" else f"{words}, {state.config_update}: {state.message}"
