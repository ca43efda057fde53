"""Bodies that another process reads, here one that stands still: they wait beside the event loop, within limits."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from millrace.access.types import CALLER
from millrace.serving.bodies.parquet.reader import READER, read_parquet
from millrace.serving.models.turns import Limits
from millrace.serving.requests.lane import Head
from tests.unit.serving.lanes import ADA, Adding, MakeScene, Scene, Visitor, answered, told

PARQUET = {b"content-type": b"application/vnd.apache.parquet"}
PATH = "/serving-endpoints/m/invocations"


def body(x: float = 1.0) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"x": [x]}), sink)
    return sink.getvalue()


async def ask(scene: Scene, raw: bytes) -> tuple[int, Any]:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": raw}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": PATH, CALLER: ADA, "headers": list(PARQUET.items())}
    await scene.hot(scope, receive, send)
    start, end = sent
    return start["status"], json.loads(end["body"])


@contextmanager
def standing_still() -> Iterator[None]:
    read_parquet(body())
    assert READER.pid is not None
    os.kill(READER.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(READER.pid, signal.SIGCONT)


def test_it_is_no_matter_for_the_short_way(make_scene: MakeScene) -> None:
    scene = make_scene()
    scene.serve("m", Adding(1))
    head = Head(PATH, b"", PARQUET)
    assert not scene.hot.lane.admits(head, ADA)
    assert not scene.hot.lane.takes(head, ADA, body(), Visitor())

    async def story() -> None:
        assert await ask(scene, body(1.5)) == (200, {"predictions": [2.5]})
        assert (await ask(scene, b"PAR1" * 9))[0] == 400

    told(story)


def test_many_that_wait_hold_nobody_else_up_and_are_not_more_than_may(make_scene: MakeScene) -> None:
    scene = make_scene(limits=Limits(waiting=20))
    scene.serve("m", Adding(1))

    async def story() -> None:
        with standing_still():
            waiting = [asyncio.create_task(ask(scene, body(each))) for each in range(21)]
            await asyncio.sleep(0.05)
            refused = await ask(scene, body())
            assert (refused[0], refused[1]["error_code"]) == (429, "RESOURCE_EXHAUSTED")
            other = scene.ask("m", 1.0)
            await answered(other)
            assert other.status == 200
            assert await asyncio.wait_for(asyncio.to_thread(lambda: "there is a thread"), 30) == "there is a thread"
            assert not any(each.done() for each in waiting)
        replies = await asyncio.gather(*waiting)
        assert replies == [(200, {"predictions": [each + 1.0]}) for each in range(21)]

    told(story)


def test_who_waits_too_long_is_told_so(make_scene: MakeScene) -> None:
    scene = make_scene(limits=Limits(answer_s=0.2))
    scene.serve("m", Adding(1))

    async def story() -> None:
        with standing_still():
            replies = await asyncio.gather(*[ask(scene, body()) for _ in range(3)])
        assert {status for status, _ in replies} == {504}
        scene.hot._generations._active["m"].answer_s = 60.0
        assert (await ask(scene, body()))[0] == 200

    told(story)
