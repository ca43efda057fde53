"""Tokens over REST: the owner makes, lists and revokes them under `/api/millrace/tokens`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from millrace.access.issue import issue
from millrace.access.port import TokenStore
from millrace.access.show import as_json
from millrace.access.types import Rights, TokenName
from millrace.api.bodies import json_object
from millrace.core.clock import Clock
from millrace.core.errors import InvalidInput
from millrace.core.principal import Principal

_TOKENS = "/api/millrace/tokens"


class TokenRoutes:
    """The routes, for the owner's eyes: control lets nobody else get here. `clock` is the machine's."""

    def __init__(self, store: TokenStore, clock: Clock, principal: Principal) -> None:
        self._store, self._clock, self._principal = store, clock, principal

    @property
    def routes(self) -> list[Route]:
        """For a Starlette application."""
        return [
            Route(_TOKENS, self.list, methods=["GET"]),
            Route(_TOKENS, self.create, methods=["POST"]),
            Route(_TOKENS + "/{name}", self.revoke, methods=["DELETE"]),
        ]

    async def list(self, request: Request) -> Response:
        """Tokens that are not revoked; with `?revoked=true` all that there ever were."""
        revoked = request.query_params.get("revoked") == "true"
        found = await run_in_threadpool(lambda: self._store.list(revoked=revoked))
        return JSONResponse({"tokens": [as_json(token) for token in found]})

    async def create(self, request: Request) -> Response:
        """Make a token; only this answer has its secret."""
        body = await json_object(request)
        name, rights, expires = _text(body, "name"), Rights(_names(body, "query"), _names(body, "manage")), None
        if body.get("expires") is not None:
            expires = _text(body, "expires")
        token, secret = await run_in_threadpool(
            lambda: issue(self._store, self._clock, self._principal, name, rights=rights, expires=expires)
        )
        return JSONResponse({**as_json(token), "token": secret})

    async def revoke(self, request: Request) -> Response:
        """End a token."""
        name = TokenName(request.path_params["name"])
        return JSONResponse(as_json(await run_in_threadpool(self._store.revoke, name, self._clock.now())))


def _text(body: Mapping[str, Any], field: str) -> str:
    value = body.get(field)
    if not isinstance(value, str) or not value:
        raise InvalidInput(f"'{field}' is not a text", hint=f'give it as "{field}": "..."', field=field)
    return value


def _names(body: Mapping[str, Any], field: str) -> frozenset[str]:
    value = body.get(field) or []
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        hint = f'write "{field}": ["churn"], or ["*"] for all endpoints'
        raise InvalidInput(f"'{field}' is not a list of endpoints", hint=hint, field=field)
    return frozenset(value)
