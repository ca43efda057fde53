from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from millrace.access.types import CALLER, owner
from millrace.api.proxy import ControlProxy


def ask(path: bytes, query: bytes = b"") -> tuple[int, Any]:
    """Ask a proxy behind which nobody is."""
    scope = {"type": "http", "method": "GET", "raw_path": path, "query_string": query, "headers": []}
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(ControlProxy(Path("/nowhere/control.sock"))({**scope, CALLER: owner("user:ada")}, receive, send))
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
