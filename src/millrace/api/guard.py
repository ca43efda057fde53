"""What stands in front of every request: the Host header, the origin, and who asks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import parse_qs, quote, urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from millrace.access.types import ANONYMOUS, CALLER
from millrace.api import databricks_config
from millrace.api.auth import Credentials, Headers, first_header
from millrace.api.callers import Badge, Callers
from millrace.api.errors import error_body, status_of
from millrace.api.pages import login_page
from millrace.serving.requests import routes

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
OPEN = routes.OPEN | {"/health", "/health/live", "/health/ready", "/health/started", databricks_config.PATH}
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_LONGEST_FORM = 4096
FORM_S = 60.0  # to arrive: who sends it has no token yet
_KEPT_HOSTS = 64
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"referrer-policy", b"same-origin"),
]


class Guard:
    """An ASGI application that lets through what may pass, and answers the rest itself.

    A request needs a Host that is this server (a foreign name that resolves here is how web pages reach local
    servers), and a token as bearer, or a session cookie, which is the owner's. With a cookie, anything that changes
    state must come from a page of this server. Who asks goes into the scope, under `CALLER`; what that caller may do is
    for the applications to say.
    """

    def __init__(self, app: ASGIApp, credentials: Credentials, callers: Callers, hosts: Iterable[str] = ()) -> None:
        self._app = app
        self._credentials, self._callers = credentials, callers
        self._hosts = LOOPBACK | {host.lower() for host in hosts}
        self._is_ours = lru_cache(_KEPT_HOSTS)(self._names_this_server)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Programs with a token, who are in a hurry, pass before all that concerns browsers."""
        if scope["type"] != "http":  # uvicorn brings nothing else, and nothing else may pass
            return
        host = authorization = b""
        for name, value in scope["headers"]:
            if name == b"authorization":
                authorization = authorization or value
            elif name == b"host":
                host = host or value
        badge = self.badge(host, authorization)
        if badge is not None:
            scope[CALLER] = badge.caller
            await self._app(scope, receive, send)
        else:
            answer = await self._without_token(scope, receive)
            await (answer or self._app)(scope, receive, _with_headers(send))

    def badge(self, host: bytes, authorization: bytes) -> Badge | None:
        """Who sends a request with these headers to this server, by the token in them; None where that is not sure."""
        return self._callers.badge(authorization) if self._is_ours(host) else None

    def counts(self, badge: Badge) -> bool:
        """See `Callers.counts`."""
        return self._callers.counts(badge)

    def _names_this_server(self, host: bytes) -> bool:
        return _hostname(host.decode("latin-1")) in self._hosts

    async def _without_token(self, scope: Scope, receive: Receive) -> Response | None:
        """What to answer instead of the application; None lets the request through."""
        headers: Headers = scope["headers"]
        host = first_header(headers, b"host")
        if not self._is_ours(host.encode("latin-1")):
            return _refuse(scope, "PERMISSION_DENIED", "the Host header does not name this server", _HOST_HINT)
        if scope["path"] in OPEN:
            scope[CALLER] = ANONYMOUS
            return None
        if scope["method"] not in _SAFE and not _same_origin(headers, host):
            return _refuse(scope, "PERMISSION_DENIED", "the request comes from a page of another site")
        return await self._browser(scope, receive)

    async def _browser(self, scope: Scope, receive: Receive) -> Response | None:
        """The login, and requests that come with a session."""
        if scope["path"] == "/login":
            return await self._login(Request(scope, receive))
        if not self._credentials.cookie(scope["headers"]):
            return _unauthenticated(scope, scope["headers"])
        if scope["path"] == "/logout" and scope["method"] == "POST":
            return RedirectResponse("/login", 303, headers={"set-cookie": self._credentials.clear_cookie()})
        scope[CALLER] = self._callers.owner
        return None

    async def _login(self, request: Request) -> Response:
        to = _local(request.query_params.get("next", "/"))
        if request.method != "POST":
            return login_page(to)
        try:
            async with asyncio.timeout(FORM_S):
                form = parse_qs((await _short_body(request)).decode("utf-8", "replace"))
        except TimeoutError:
            content = error_body("BAD_REQUEST", "the form did not arrive in time")
            return JSONResponse(content, 408, headers={"connection": "close"})
        if not self._credentials.accepts_token(form.get("token", [""])[0].strip()):
            return login_page(to, wrong=True)
        cookie = self._credentials.set_cookie(secure=request.scope.get("scheme") == "https")
        return RedirectResponse(to, 303, headers={"set-cookie": cookie})


_HOST_HINT = "use http://127.0.0.1 or localhost, or start the server with --allow-host NAME"


def _refuse(scope: Scope, error_code: str, message: str, hint: str = "") -> Response:
    content = error_body(error_code, message, hint)
    if routes.speaks_v2(scope["path"]):
        content = {"error": content["message"]}
    return JSONResponse(content, status_of(error_code))


def _unauthenticated(scope: Scope, headers: Headers) -> Response:
    if scope["method"] == "GET" and "text/html" in first_header(headers, b"accept"):
        return RedirectResponse(f"/login?next={quote(scope['path'])}", 303)
    hint = "send 'Authorization: Bearer TOKEN', from the home's file 'token' or from `millrace token create`"
    response = _refuse(scope, "UNAUTHENTICATED", "the request carries no valid token", hint)
    response.headers["www-authenticate"] = 'Bearer realm="millrace"'
    return response


def _hostname(host: str) -> str:
    """The Host header without its port, in lower case; a bracketed IPv6 address keeps its brackets."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isdecimal() else host).lower()


def _same_origin(headers: Headers, host: str) -> bool:
    """Whether the sender is a page of this server, or no page at all: browsers send Origin with every unsafe request."""
    origin = first_header(headers, b"origin")
    if not origin:
        return first_header(headers, b"sec-fetch-site") in ("", "same-origin", "none")
    return urlsplit(origin).netloc.lower() == host.lower()


def _local(target: str) -> str:
    """Where to go after the login: a path of this server, never another site."""
    split = urlsplit(target)
    local = target.startswith("/") and not target.startswith(("//", "/\\")) and not split.netloc
    return quote(split.path, safe="/") if local else "/"


async def _short_body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LONGEST_FORM:
            return b""
    return body


def _with_headers(send: Send) -> Send:
    async def sender(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {name for name, _ in message["headers"]}
            extra = [pair for pair in _HEADERS if pair[0] not in present]
            message = {**message, "headers": [*message["headers"], *extra]}
        await send(message)

    return sender
