"""Whether a server is up and answers, as each of its workers tells: no other process is needed for that."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

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
# Why endpoints that were deployed can't be answered, by name.
_Lacking = Mapping[str, str]
_log = logging.getLogger(__name__)


class Health:
    """An ASGI application that answers `/health/started` and `/health/ready`."""

    def __init__(self, workers: Workers, endpoints: EndpointReader) -> None:
        self._workers, self._endpoints = workers, endpoints
        # Of its own: who asks again and again holds up nobody else.
        self._thread = ThreadPoolExecutor(1, "health")
        self._looks: dict[str, asyncio.Task[Any]] = {}

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
        started = await self._shared(_STARTED, lambda: self._beside(self._are_up))
        content = {"status": "ok" if started else "starting", "workers": started}
        return JSONResponse(content, _OK if started else _UNAVAILABLE)

    async def _ready(self, caller: Caller) -> Response:
        """200 when every part is up and answers for each endpoint that was deployed, else 503; what is not ready and why.

        Which endpoints there are is told to those who may query them.
        """
        up, lacking = await self._shared(_READY, self._found)
        ready = up and lacking == {}
        content: dict[str, object] = {
            "status": "ok" if ready else "not ready",
            "workers": up,
            "endpoints": lacking == {},
        }
        shown = {name: why for name, why in (lacking or {}).items() if caller.rights.may_query(name)}
        return JSONResponse({**content, "not_ready": shown} if shown else content, _OK if ready else _UNAVAILABLE)

    async def _shared(self, path: str, look: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """What a look finds, which all who ask at the same time share: a worker that hangs holds up each look for seconds."""
        if path not in self._looks:
            self._looks[path] = asyncio.create_task(look())
            self._looks[path].add_done_callback(lambda _: self._looks.pop(path))
        # One who goes away ends it for nobody else.
        return cast("_T", await asyncio.shield(self._looks[path]))

    async def _found(self) -> tuple[bool, _Lacking | None]:
        """Whether all workers are up, and the endpoints that were deployed and can't be answered; None where that is not known."""
        up, lacking = await self._beside(self._look)
        if lacking:  # one that is deployed at this moment does not count: the second look decides
            await asyncio.sleep(_SWITCH_S)
            up, now = await self._beside(self._look)
            return up, None if now is None else {name: why for name, why in now.items() if name in lacking}
        return up, lacking

    async def _beside(self, look: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, look)

    def _are_up(self) -> bool:
        return _all_ready(self._workers.status())

    def _look(self) -> tuple[bool, _Lacking | None]:
        """As `_found`, at this moment."""
        workers = self._workers.status()
        try:
            found = {each.name: unanswered(each, workers) for each in self._endpoints.list() if each.generation}
        except Exception:  # noqa: BLE001 - the boundary of the look: the database may be away, and comes back
            _log.exception("which endpoints are ready is not known")
            return _all_ready(workers), None
        return _all_ready(workers), {name: why for name, why in found.items() if why is not None}


def _all_ready(workers: Sequence[Mapping[str, object]]) -> bool:
    return all(worker["ready"] for worker in workers)
