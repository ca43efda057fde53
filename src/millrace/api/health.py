"""Whether a server is up and answers, as each of its workers tells: no other process is needed for that."""

from __future__ import annotations

import asyncio
import time

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from millrace.access.types import CALLER, Caller
from millrace.api.readiness import as_served
from millrace.api.workers import Workers
from millrace.serving.port import EndpointReader

_SWITCH_S = 0.3


class Health:
    """Answers `/health/started` and `/health/ready`. Thread-safe."""

    def __init__(self, workers: Workers, endpoints: EndpointReader) -> None:
        self._workers, self._endpoints = workers, endpoints

    async def answer(self, request: Request) -> Response:
        """Answer a request for one of the two."""
        return await (self.started() if request.url.path == "/health/started" else self.ready(request))

    async def started(self) -> Response:
        """200 when every part has come up, whatever it found to serve; else 503."""
        started = await asyncio.to_thread(self._are_up)
        return JSONResponse({"status": "ok" if started else "starting", "workers": started}, 200 if started else 503)

    async def ready(self, request: Request) -> Response:
        """200 when every part is up and answers for each endpoint that was deployed, else 503; what is not ready and why.

        Which endpoints there are is told to those who may query them.
        """
        up, lacking = await asyncio.to_thread(self._are_up), await asyncio.to_thread(self._lacking)
        ready, caller = up and not lacking, request.scope[CALLER]
        assert isinstance(caller, Caller)  # noqa: S101 - the guard sets it
        shown = {name: why for name, why in lacking.items() if caller.rights.may_query(name)}
        content = {"status": "ok" if ready else "not ready", "workers": up, "endpoints": not lacking}
        return JSONResponse({**content, "not_ready": shown} if shown else content, 200 if ready else 503)

    def _are_up(self) -> bool:
        return all(worker["ready"] for worker in self._workers.status())

    def _lacking(self) -> dict[str, str]:
        """Endpoints that were deployed and can't be answered, and why. Those that never were deployed are not among them."""
        lacking = self._not_ready()
        if lacking:  # an update that switches at this moment does not count: the second look decides
            time.sleep(_SWITCH_S)
            now = self._not_ready()
            lacking = {name: why for name, why in now.items() if name in lacking}
        return lacking

    def _not_ready(self) -> dict[str, str]:
        workers = self._workers.status()
        found = [as_served(endpoint, workers) for endpoint in self._endpoints.list() if endpoint.generation]
        return {endpoint.name: endpoint.state.message for endpoint in found if not endpoint.state.ready}
