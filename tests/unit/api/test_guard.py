from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC, datetime
from urllib.parse import quote

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from millrace.access.types import CALLER, Caller, Rights, Token, TokenName
from millrace.api.auth import Credentials
from millrace.api.callers import Callers
from millrace.api.guard import Guard
from millrace.core.clock import ManualClock

NOW = datetime(2026, 3, 1, tzinfo=UTC)

CREDENTIALS = Credentials.of("secret")
CI = Token(TokenName("ci"), hashlib.sha256(b"mr_ci").digest(), Rights(query=frozenset({"churn"})), "user:ada", NOW)
BEARER = {"authorization": "Bearer secret"}
COOKIE = {"cookie": CREDENTIALS.set_cookie().partition(";")[0]}
HERE = "http://127.0.0.1:5010"


def known() -> Callers:
    callers = Callers(CREDENTIALS, "user:ada", ManualClock(NOW))
    callers.know([CI])
    return callers


def ask(
    method: str, path: str, headers: dict[str, str] | None = None, *, body: bytes = b"", app: ASGIApp | None = None
) -> httpx.Response:
    guard = Guard(app or PlainTextResponse("inside"), CREDENTIALS, known(), hosts=["box.example"])

    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url=HERE) as client:
            return await client.request(method, path, headers=headers, content=body)

    return asyncio.run(send())


def test_who_speaks_open_inference_is_refused_in_it() -> None:
    (named,) = ask("POST", "/v2/models/churn/infer").json().items()
    assert named[0] == "error"
    assert "no valid token (send" in named[1]
    assert ask("GET", "/v2", {**BEARER, "host": "evil.example"}).json().keys() == {"error"}
    assert ask("POST", "/serving-endpoints/churn/invocations").json()["error_code"] == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:5010", 200),
        ("localhost", 200),
        ("LOCALHOST:80", 200),
        ("[::1]:5010", 200),
        ("box.example", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost@evil.example", 403),
        ("", 403),
    ],
)
def test_the_host_must_be_this_server(host: str, status: int) -> None:
    assert ask("GET", "/anything", {**BEARER, "host": host}).status_code == status
    assert ask("GET", "/health", {"host": host}).status_code == status


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {}, 200),
        ("POST", {}, 200),
        ("POST", {"origin": HERE}, 200),
        ("POST", {"sec-fetch-site": "same-origin"}, 200),
        ("POST", {"origin": "http://evil.example"}, 403),
        ("POST", {"origin": "http://127.0.0.1:8080"}, 403),
        ("POST", {"origin": "null"}, 403),
        ("POST", {"sec-fetch-site": "cross-site"}, 403),
        ("DELETE", {"origin": "http://evil.example"}, 403),
    ],
)
def test_with_a_cookie_only_our_own_pages_change_things(method: str, headers: dict[str, str], status: int) -> None:
    assert ask(method, "/anything", {**COOKIE, **headers}).status_code == status


def test_with_a_bearer_the_origin_does_not_matter() -> None:
    assert ask("POST", "/anything", {**BEARER, "origin": "http://elsewhere.example"}).text == "inside"


def test_a_login_from_another_site_is_refused() -> None:
    response = ask("POST", "/login", {"origin": "http://evil.example"}, body=b"token=secret")
    assert response.status_code == 403


@pytest.mark.parametrize(
    ("given", "went"),
    [
        ("/mlflow/", "/mlflow/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("https://evil.example/x", "/"),
        ("/a\r\nset-cookie: x=y", "/aset-cookie%3A%20x%3Dy"),
    ],
)
def test_a_login_leads_to_this_server_only(given: str, went: str) -> None:
    response = ask("POST", f"/login?next={quote(given, safe='')}", body=b"token=secret")
    assert response.status_code == 303
    assert response.headers["location"] == went


def test_a_login_form_that_is_too_long_is_not_read() -> None:
    assert ask("POST", "/login", body=b"token=secret&pad=" + b"x" * 5000).status_code == 401


async def tell_caller(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what the guard has put into the scope."""
    await PlainTextResponse(str(scope[CALLER]))(scope, receive, send)


@pytest.mark.parametrize(
    ("path", "headers", "caller"),
    [
        ("/x", BEARER, Caller("user:ada", Rights(manage=frozenset({"*"})), is_owner=True)),
        ("/x", COOKIE, Caller("user:ada", Rights(manage=frozenset({"*"})), is_owner=True)),
        ("/x", {"authorization": "Bearer mr_ci"}, Caller("token:ci", Rights(query=frozenset({"churn"})))),
        ("/health", {"authorization": "Bearer mr_ci"}, Caller("token:ci", Rights(query=frozenset({"churn"})))),
        ("/health", {}, Caller("anonymous:", Rights())),
        ("/health", {"authorization": "Bearer wrong"}, Caller("anonymous:", Rights())),
    ],
)
def test_the_application_is_told_who_asks(path: str, headers: dict[str, str], caller: Caller) -> None:
    assert ask("GET", path, headers, app=tell_caller).text == str(caller)


def test_a_token_is_not_for_the_login() -> None:
    assert ask("POST", "/login", body=b"token=mr_ci").status_code == 401


def test_a_wrong_host_gets_nothing_whatever_the_token() -> None:
    for headers in (BEARER, COOKIE, {"authorization": "Bearer mr_ci"}):
        assert ask("GET", "/x", {**headers, "host": "evil.example"}).status_code == 403


def test_over_tls_the_session_is_for_tls_only() -> None:
    async def send() -> httpx.Response:
        guard = Guard(PlainTextResponse("inside"), CREDENTIALS, known())
        async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="https://localhost") as client:
            return await client.post("/login", content=b"token=secret")

    assert asyncio.run(send()).headers["set-cookie"].endswith("; Secure")


def test_answers_to_browsers_carry_safety_headers() -> None:
    for response in (ask("GET", "/x", COOKIE), ask("GET", "/x"), ask("GET", "/login"), ask("GET", "/health")):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["x-frame-options"] == "SAMEORIGIN"
