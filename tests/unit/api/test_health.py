"""What a worker says about the health of its server."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from millrace.access.types import ANONYMOUS, CALLER, Caller, owner
from millrace.api import health
from millrace.api.health import Health
from millrace.serving.types import Endpoint, EndpointState
from millrace.testing.endpoints import endpoint

_READY = replace(endpoint("churn", 2), state=EndpointState(True, "NOT_UPDATING"))
_UP: dict[str, Any] = {"ready": True, "served": {"churn": 2}, "waiting": {}}


class _Server:
    """In place of the workers and of the store: what each says at a look, the last for all that come."""

    def __init__(self, workers: Sequence[dict[str, Any]], *stored: Sequence[Endpoint] | Exception) -> None:
        self.workers, self.stored = workers, list(stored)

        self.looks, self.may_answer = 0, threading.Event()
        self.may_answer.set()

    def status(self) -> Sequence[dict[str, Any]]:
        self.looks += 1
        assert self.may_answer.wait(60)
        return self.workers

    def list(self) -> Sequence[Endpoint]:
        found = self.stored.pop(0) if len(self.stored) > 1 else self.stored[0]
        if isinstance(found, Exception):
            raise found
        return found


def _answer(server: _Server, path: str, method: str = "GET", caller: Caller = ANONYMOUS) -> tuple[int, Any]:
    return asyncio.run(_asked(Health(cast("Any", server), cast("Any", server)), path, method, caller))


async def _asked(
    asking: Health, path: str = "/health/ready", method: str = "GET", caller: Caller = ANONYMOUS
) -> tuple[int, Any]:
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "path": path, "method": method, "headers": [], CALLER: caller}
    await asking(scope, cast("Any", None), send)
    return sent[0]["status"], json.loads(sent[1]["body"])


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_SWITCH_S", 0.01)


def test_a_server_is_started_when_all_workers_are_up() -> None:
    assert _answer(_Server([_UP], []), "/health/started") == (200, {"status": "ok", "workers": True})
    found = _answer(_Server([_UP, {"ready": False}], []), "/health/started")
    assert found == (503, {"status": "starting", "workers": False})


def test_it_is_ready_while_each_endpoint_is_answered_by_any_generation() -> None:
    older = {**_UP, "served": {"churn": 1}}
    assert _answer(_Server([_UP, older], [_READY]), "/health/ready")[0] == 200
    never = replace(endpoint("new", 0), generation=0)
    assert _answer(_Server([_UP], [_READY, never]), "/health/ready")[0] == 200


def test_what_is_not_ready_is_told_to_those_who_may_ask_for_it() -> None:
    server = _Server([{**_UP, "served": {}, "waiting": {"churn": "its store is away"}}], [_READY])
    status, body = _answer(server, "/health/ready")
    assert (status, body) == (503, {"status": "not ready", "workers": True, "endpoints": False})
    assert _answer(server, "/health/ready", caller=owner("user:ada"))[1]["not_ready"] == {"churn": "its store is away"}


def test_one_that_is_switching_is_looked_at_again() -> None:
    switching = replace(_READY, state=EndpointState(False, "NOT_UPDATING", "a moment"))
    assert _answer(_Server([_UP], [switching], [_READY]), "/health/ready")[0] == 200


def test_a_database_that_is_away_is_no_bug() -> None:
    status, body = _answer(_Server([_UP], OSError("away")), "/health/ready")
    assert (status, body["endpoints"], "not_ready" in body) == (503, False, False)


def test_other_methods_are_refused() -> None:
    status, body = _answer(_Server([_UP], []), "/health/ready", "POST")
    assert (status, body["error_code"]) == (405, "METHOD_NOT_ALLOWED")
    assert _answer(_Server([_UP], []), "/health/ready", "HEAD")[0] == 200


@pytest.mark.parametrize("path", ["/health/started", "/health/ready"])
def test_those_who_ask_at_the_same_time_share_one_look(path: str) -> None:
    """Else those who ask a server that hangs would be a queue without an end. One who goes away takes nobody along."""
    server = _Server([_UP], [_READY])

    async def story() -> None:
        asking = Health(cast("Any", server), cast("Any", server))
        server.may_answer.clear()
        tasks = [asyncio.create_task(_asked(asking, path)) for _ in range(20)]
        await asyncio.sleep(0.05)
        tasks[0].cancel()
        await asyncio.sleep(0.05)
        server.may_answer.set()
        assert [status for status, _ in await asyncio.gather(*tasks[1:])] == [200] * 19
        assert tasks[0].cancelled()
        assert server.looks == 1
        assert (await _asked(asking, path))[0] == 200  # who comes later has a look of his own
        assert server.looks == 2

    asyncio.run(story())


def test_a_look_that_fails_is_not_what_all_are_told_from_then_on() -> None:
    server = _Server([_UP], OSError("away"), [_READY])

    async def story() -> None:
        asking = Health(cast("Any", server), cast("Any", server))
        assert (await _asked(asking))[0] == 503
        assert (await _asked(asking))[0] == 200

    asyncio.run(story())
