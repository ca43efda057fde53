"""What a worker does not answer itself goes to the control process, over a local socket."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpcore
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from millrace.access.types import CALLER
from millrace.api.auth import Headers
from millrace.api.callers import HEADER, to_header
from millrace.api.errors import error_body, status_of

# Headers that speak of one connection, not of the message (RFC 9110, section 7.6.1).
_HOP = frozenset(
    {b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"proxy-connection"}
)
# What control must not take from a client: who asks is ours to say, and the token itself is of no use there.
_OURS = frozenset({HEADER, b"authorization"})
_MOST_CONNECTIONS = 64
_TARGET = re.compile(rb"[!-~]{1,65536}")
# A long answer is the caller's to give up on; only the connection itself is local and must be quick.
_PATIENCE = {"timeout": {"connect": 5.0}}
_UNSENT = (httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.PoolTimeout)
_FAILURES = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError)
_STARTING = error_body("TEMPORARILY_UNAVAILABLE", "the server is starting", "try again in a second")
_NO_PATH = error_body(
    "INVALID_PARAMETER_VALUE", "the path is too long, or not ASCII", "write what is not ASCII as %C3%A9"
)
_STOPPED = error_body("INTERNAL_ERROR", "the control process ended during the request", "see whether it was done")


class ControlProxy:
    """An ASGI application that forwards requests and streams the answers back; 503 while nobody is there.

    Who asks, as the guard has put it into the scope, goes along in a header.
    """

    def __init__(self, socket: Path) -> None:
        self._connections = httpcore.AsyncConnectionPool(
            uds=str(socket), max_connections=_MOST_CONNECTIONS, keepalive_expiry=30
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        if _TARGET.fullmatch(target) is None:
            await JSONResponse(_NO_PATH, status_of("INVALID_PARAMETER_VALUE"))(scope, receive, send)
            return
        try:
            response = await self._send(scope, target, _body(receive) if _has_body(scope["headers"]) else None)
        except _UNSENT:
            # Nothing was sent: every client may safely try again, and ours do.
            failure = JSONResponse(_STARTING, status_of("TEMPORARILY_UNAVAILABLE"), headers={"retry-after": "1"})
            await failure(scope, receive, send)
            return
        except _FAILURES:
            await JSONResponse(_STOPPED, 502)(scope, receive, send)
            return
        try:
            await _pass_on(response, send)
        finally:
            await response.aclose()

    async def _send(self, scope: Scope, target: bytes, body: AsyncIterator[bytes] | None) -> httpcore.Response:
        headers = [pair for pair in scope["headers"] if pair[0] not in _HOP and pair[0] not in _OURS]
        headers.append((HEADER, to_header(scope[CALLER])))
        if body is not None and all(name != b"content-length" for name, _ in headers):
            headers.append((b"transfer-encoding", b"chunked"))
        url = httpcore.URL(scheme=b"http", host=b"control", port=None, target=target)
        request = httpcore.Request(scope["method"], url, headers=headers, content=body, extensions=_PATIENCE)
        try:
            return await self._connections.handle_async_request(request)
        except _UNSENT:
            raise
        except _FAILURES:
            # An idle connection may have ended with the process that it led to; reading again does no harm.
            if scope["method"] not in ("GET", "HEAD") or body is not None:
                raise
            return await self._connections.handle_async_request(request)


async def _pass_on(response: httpcore.Response, send: Send) -> None:
    headers = [(name.lower(), value) for name, value in response.headers if name.lower() not in _HOP]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    async for chunk in response.aiter_stream():
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _has_body(headers: Headers) -> bool:
    return any(name in (b"content-length", b"transfer-encoding") for name, _ in headers)


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise httpcore.ReadError("the caller went away")
        more = message.get("more_body", False)
        if message.get("body"):
            yield message["body"]
