"""Versions from elsewhere over REST: `POST /api/millrace/promotions`, for the owner alone. Loading a model runs its code."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from millrace.api.bodies import json_object
from millrace.core.errors import InvalidInput
from millrace.workspace import Workspace

_PROMOTIONS = "/api/millrace/promotions"
_MOST_BYTES = 8 << 30


class PromotionRoutes:
    """The routes; control lets nobody but the owner get here."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    @property
    def routes(self) -> list[Route]:
        """For a Starlette application."""
        return [
            Route(_PROMOTIONS, self.accept, methods=["POST"]),
            Route(_PROMOTIONS + "/check", self.check, methods=["POST"]),
        ]

    async def check(self, request: Request) -> Response:
        """What the version of a bundle's document would lack here."""
        from millrace.ci.promotion.server import lacking

        document = await json_object(request)
        with TemporaryDirectory(prefix="millrace-check-") as scratch:
            found = await run_in_threadpool(lacking, self._workspace, document, Path(scratch))
        return JSONResponse({"missing": found})

    async def accept(self, request: Request) -> Response:
        """Receive a packed version as a tar file, serve it, and move the alias."""
        from millrace.ci.promotion.server import accept_archive

        terms = _terms(request.query_params.get("terms", ""))
        with TemporaryDirectory(prefix="millrace-receive-") as scratch:
            archive, folder = Path(scratch) / "bundle.tar", Path(scratch) / "bundle"
            folder.mkdir()
            await _save(request, archive)
            done = await run_in_threadpool(accept_archive, self._workspace, archive, terms, folder)
        return JSONResponse(done)


async def _save(request: Request, file: Path) -> None:
    size = 0
    with file.open("wb") as opened:
        async for part in request.stream():
            size += len(part)
            if size > _MOST_BYTES:
                raise InvalidInput(f"the bundle is over {_MOST_BYTES} bytes", hint="promote to the home itself")
            opened.write(part)


def _terms(text: str) -> dict[str, Any]:
    try:
        terms = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidInput("terms is not JSON", hint="send it with `millrace promote`") from error
    if not isinstance(terms, dict):
        raise InvalidInput("terms is not an object", hint="send it with `millrace promote`")
    return terms
