from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpcore
import pytest

from millrace.access.types import CALLER, owner
from millrace.api.proxy import ControlProxy


def ask(path: bytes, query: bytes = b"", proxy: ControlProxy | None = None, method: str = "GET") -> tuple[int, Any]:
    """Ask a proxy, else one behind which nobody is."""
    scope = {"type": "http", "method": method, "raw_path": path, "query_string": query, "headers": []}
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    asked = proxy or ControlProxy(Path("/nowhere/control.sock"))
    asyncio.run(asked({**scope, CALLER: owner("user:ada")}, receive, send))
    return sent[0]["status"], json.loads(sent[1]["body"])


@pytest.mark.parametrize(
    ("path", "query"),
    [(b"/\xc3\xa9", b""), (b"/a\x7f", b""), (b"/", b"a=\xff"), (b"/", b"a=\x7f"), (b"/" + b"x" * 70_000, b"")],
    ids=["path", "delete", "query", "delete in the query", "long"],
)
def test_a_path_that_can_not_be_passed_on_is_the_clients_fault(path: bytes, query: bytes) -> None:
    status, told = ask(path, query)
    assert (status, told["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def test_any_other_path_waits_for_control() -> None:
    assert ask(b"/%C3%A9", b"a=%FF")[0] == 503


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (httpcore.ConnectError, 503),
        (httpcore.ConnectTimeout, 503),
        (httpcore.PoolTimeout, 503),
        (httpcore.ReadError, 502),
    ],
)
def test_what_was_not_sent_may_be_tried_again(
    monkeypatch: pytest.MonkeyPatch, method: str, failure: type[Exception], status: int
) -> None:
    async def fail(_: httpcore.Request) -> httpcore.Response:
        raise failure

    proxy = ControlProxy(Path("/nowhere/control.sock"))
    monkeypatch.setattr(proxy._connections, "handle_async_request", fail)
    assert ask(b"/", proxy=proxy, method=method)[0] == status
