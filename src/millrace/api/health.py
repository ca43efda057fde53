"""Whether a server is up and answers, as each of its workers tells: no other process is needed for that."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from millrace.access.types import CALLER, Caller
from millrace.api.errors import error_body
from millrace.api.readiness import unanswered
from millrace.api.workers import Workers
from millrace.serving.port import EndpointReader

_STARTED, _READY = "/health/started", "/health/ready"
PATHS = frozenset({_STARTED, _READY})
_SWITCH_S = 0.3
_OK, _UNAVAILABLE, _NOT_ALLOWED = 200, 503, 405
_T = TypeVar("_T")
_log = logging.getLogger(__name__)


class Health:
    """An ASGI application that answers `/health/started` and `/health/ready`."""

    def __init__(self, workers: Workers, endpoints: EndpointReader) -> None:
        self._workers, self._endpoints = workers, endpoints
        # Of its own: who asks again and again holds up nobody else.
        self._thread = ThreadPoolExecutor(1, "health")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        answer = await self._answer(scope)
        await answer(scope, receive, send)

    async def _answer(self, scope: Scope) -> Response:
        if scope["method"] not in {"GET", "HEAD"}:
            body = error_body("METHOD_NOT_ALLOWED", f"{scope['path']} does not take {scope['method']}")
            return JSONResponse(body, _NOT_ALLOWED, headers={"allow": "GET, HEAD"})
        return await self._started() if scope["path"] == _STARTED else await self._ready(scope[CALLER])

    async def _started(self) -> Response:
        """200 when every part has come up, whatever it found to serve; else 503."""
        started = await self._beside(self._are_up)
        content = {"status": "ok" if started else "starting", "workers": started}
        return JSONResponse(content, _OK if started else _UNAVAILABLE)

    async def _ready(self, caller: Caller) -> Response:
        """200 when every part is up and answers for each endpoint that was deployed, else 503; what is not ready and why.

        Which endpoints there are is told to those who may query them.
        """
        up, lacking = await self._beside(self._are_up), await self._lacking()
        ready = up and lacking == {}
        content: dict[str, object] = {
            "status": "ok" if ready else "not ready",
            "workers": up,
            "endpoints": lacking == {},
        }
        shown = {name: why for name, why in (lacking or {}).items() if caller.rights.may_query(name)}
        return JSONResponse({**content, "not_ready": shown} if shown else content, _OK if ready else _UNAVAILABLE)

    async def _lacking(self) -> Mapping[str, str] | None:
        """Endpoints that were deployed and can't be answered, and why; None where that is not known.

        Those that never were deployed are not among them.
        """
        try:
            lacking = await self._beside(self._unanswered)
            if lacking:  # one that is deployed at this moment does not count: the second look decides
                await asyncio.sleep(_SWITCH_S)
                now = await self._beside(self._unanswered)
                lacking = {name: why for name, why in now.items() if name in lacking}
        except Exception:  # noqa: BLE001 - the boundary of the request: the database may be away, and comes back
            _log.exception("which endpoints are ready is not known")
            return None
        return lacking

    async def _beside(self, look: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, look)

    def _are_up(self) -> bool:
        return all(worker["ready"] for worker in self._workers.status())

    def _unanswered(self) -> dict[str, str]:
        workers = self._workers.status()
        found = {each.name: unanswered(each, workers) for each in self._endpoints.list() if each.generation}
        return {name: why for name, why in found.items() if why is not None}
