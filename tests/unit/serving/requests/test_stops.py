"""Requests that are under way by the usual way when the server stops: they are told to come again, as those of the lane are."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from millrace.access.types import CALLER
from tests.unit.serving.lanes import ADA, JSON, Adding, MakeScene, body_of, told


@pytest.mark.parametrize("arrives", [True, False])
def test_who_is_cut_off_is_told_to_come_again(make_scene: MakeScene, *, arrives: bool) -> None:
    scene, model, sent = make_scene(), Adding(quick_rows=0), list[Any]()
    scene.serve("churn", model)
    model.gate.clear()

    async def receive() -> dict[str, Any]:
        if not arrives:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": body_of(1.0)}

    async def send(message: Any) -> None:
        sent.append(message)

    async def story() -> None:
        path = "/serving-endpoints/churn/invocations"
        scope = {"type": "http", "method": "POST", "path": path, CALLER: ADA, "headers": list(JSON.items())}
        asking = asyncio.create_task(scene.hot(scope, receive, send))
        for _ in range(60_000):
            await asyncio.sleep(0.001)
            if model.calls or not arrives:
                break
        asking.cancel()
        await asking
        model.gate.set()

    told(story)
    start, body = sent
    assert start["status"] == 503
    assert dict(start["headers"])[b"retry-after"] == b"5"
    content = json.loads(body["body"])
    assert (content["error_code"], "the server stops" in content["message"]) == ("TEMPORARILY_UNAVAILABLE", True)
    assert scene.in_flight == 0
    assert scene.statuses("churn") == {"503": 1}
    assert scene.records() == []
    assert scene.capture.state.dropped == arrives  # what did not come is no request yet
