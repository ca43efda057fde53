"""A server behind a door that leaves when nobody needs it: over real sockets, with uvicorn."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from millrace.api import asgi_server
from millrace.api.attendance import Attendance
from millrace.api.control import attended
from millrace.api.doors import Door, knock

_LONGEST_S = 60.0


async def _hello(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("hello")(scope, receive, send)


def _client(path: Path) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(path)), base_url="http://control", timeout=60)


class _LastMoment(Attendance):
    """Somebody comes each time when the door has just been closed, for so many times; there is something to do until then."""

    def __init__(self, often: int) -> None:
        super().__init__(lambda: self.at_rest, 0.1)
        self.often, self.closed, self.at_rest = often, 0, False

    async def is_over_behind_closed_doors(self) -> bool:
        self.closed += 1
        return self.closed > self.often


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("millrace.api.asgi_server._LOOK_S", 0.05)
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("often", [0, 2])
def test_it_leaves_and_who_comes_then_is_left_to_the_next(tmp_path: Path, often: int) -> None:
    path = tmp_path / "control.sock"

    async def story(door: Door) -> None:
        attendance = _LastMoment(often)
        app = attended(_hello, attendance)
        serving = asyncio.create_task(
            asgi_server.serve(app, listener=socket.socket(fileno=os.dup(door.fileno())), attendance=attendance)
        )
        async with _client(path) as client:
            assert (await client.get("/")).text == "hello"
            attendance.at_rest = True
            await asyncio.sleep(0.5)
            assert not serving.done()  # a connection is kept for the next request
        await asyncio.wait_for(serving, _LONGEST_S)
        assert attendance.closed == often + 1
        async with _client(path) as client:
            asking = asyncio.create_task(client.get("/"))
            until = time.monotonic() + _LONGEST_S
            while not door.somebody_waits():
                assert time.monotonic() < until
                await asyncio.sleep(0.01)
            asking.cancel()

    with closing(Door(path)) as door:
        asyncio.run(story(door))
        knock(path)
        assert door.somebody_waits()


def test_it_stays_while_there_is_something_to_do(tmp_path: Path) -> None:
    async def story(door: Door) -> None:
        busy = [True]
        attendance = Attendance(lambda: not busy[0], 0.0)
        serving = asyncio.create_task(
            asgi_server.serve(_hello, listener=socket.socket(fileno=os.dup(door.fileno())), attendance=attendance)
        )
        await asyncio.sleep(0.5)
        assert not serving.done()
        busy[0] = False
        await asyncio.wait_for(serving, _LONGEST_S)

    with closing(Door(tmp_path / "control.sock")) as door:
        asyncio.run(story(door))


@pytest.mark.parametrize("told", [False, True])
def test_who_is_told_to_end_while_he_leaves_has_been_told(tmp_path: Path, told: bool) -> None:  # noqa: FBT001 - a case
    class Told(Attendance):
        async def is_over_behind_closed_doors(self) -> bool:
            if told:
                os.kill(os.getpid(), signal.SIGTERM)
            return True

    async def story(door: Door) -> bool:
        listener = socket.socket(fileno=os.dup(door.fileno()))
        return await asgi_server.serve(_hello, listener=listener, attendance=Told(lambda: True, 0.0))

    with closing(Door(tmp_path / "control.sock")) as door:
        assert asyncio.run(story(door)) is not told
