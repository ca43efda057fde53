"""The same bytes to the same server, over a connection with the lane and over uvicorn's own."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from uvicorn.server import ServerState

from millrace.access.types import Caller
from millrace.api.asgi_server import configured
from millrace.api.auth import Credentials
from millrace.api.callers import Callers
from millrace.api.connections import Connection
from millrace.api.guard import Guard
from millrace.api.lane_protocol import LaneProtocol, Way
from millrace.core.clock import SystemClock
from millrace.serving.capture.records import Record, read_payload
from millrace.serving.requests.counts import RequestCounts
from millrace.serving.requests.lane import Head, Visitor
from tests.unit.serving.lanes import Adding, Scene

TOKEN = "an-open-secret"  # noqa: S105 - a test
# Bytes, each followed by so many turns of the loop.
Pieces = Sequence[tuple[bytes, int]]
# Enough for whatever is asked here to be answered, but for what is read in a thread: that is waited for.
_TURNS = 12
_MADE_UP = re.compile(rb"databricks-request-id: [0-9a-f-]{36}\r\n")


@dataclass
class Said:
    """What came of a conversation.

    Attributes:
        answers: each answer's status line, headers in order of their names, and body.
        closed: whether the server closed the connection.
        records: what was kept, but for ids and times.
        raised: what fell out of the connection into the loop.
    """

    answers: list[tuple[bytes, tuple[bytes, ...], bytes]]
    closed: bool
    records: list[Record]
    counts: object
    raised: list[str]


class Notes:
    """A capture that keeps all in memory."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []

    def keep_all(self, records: Sequence[tuple[Sequence[bytes], object]]) -> bool:
        self.payloads += [b"".join(payload) for payload, _ in records]
        return True

    async def keep(self, payload: Sequence[bytes], description: object) -> bool:
        return self.keep_all([(payload, description)])

    @property
    def records(self) -> list[Record]:
        read = [cast("Record", read_payload(each)) for each in self.payloads]
        return [each._replace(id="", duration_us=0, time_us=0, payload=b"") for each in read]


@dataclass
class Wire(asyncio.Transport):
    """A connection's transport, held in hands."""

    written: bytearray = field(default_factory=bytearray)
    is_paused: bool = False
    closing: bool = False
    is_closed: bool = False
    protocol: Any = None

    def get_extra_info(self, _name: str, default: Any = None) -> Any:
        return default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.is_closed:  # as uvloop has it
            raise RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed")
        if not self.closing:
            self.written += data

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    @property
    def takes_nothing(self) -> bool:
        return self.is_paused or self.closing

    def is_closing(self) -> bool:
        return self.closing

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            asyncio.get_running_loop().call_soon(self._lost)

    def _lost(self) -> None:
        self.protocol.connection_lost(None)
        self.is_closed = True


class Server:
    """A hot app behind the guard, as in a worker; all else is answered with 404."""

    def __init__(self, root: Path, *, with_lane: bool) -> None:
        self.scene, self.notes = Scene(root), Notes()
        self.scene.desk.capture = cast("Any", self.notes)
        self.scene.serve("churn", Adding())
        self.scene.serve("other", Adding(10), captured=False)
        credentials = Credentials.of(TOKEN)
        self.guard = Guard(cast("Any", self._app), credentials, Callers(credentials, "user:ada", SystemClock()))
        self.config, self.way = configured(self.guard), Way(self.scene.lane, self.guard)
        self.state, self._with_lane = ServerState(), with_lane
        self.state.default_headers = [(b"date", b"today")]

    def renew(self) -> None:
        """Forget what was."""
        self.notes.payloads.clear()
        self.scene.desk.counts = RequestCounts()

    def connection(self) -> Connection:
        if not self._with_lane:
            return Connection(self.config, self.state, {})
        return LaneProtocol(self.way, self.config, self.state, {})

    async def _app(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        if self.scene.hot.handles(scope):
            await self.scene.hot(scope, receive, send)
            return
        path = scope["path"].encode()
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"%d" % len(path))]})
        await send({"type": "http.response.body", "body": path})


class Pair:
    """One server with the lane and one without."""

    def __init__(self, root: Path) -> None:
        self.servers = []
        for with_lane in (True, False):
            (root / str(with_lane)).mkdir()
            self.servers.append(Server(root / str(with_lane), with_lane=with_lane))
        lane = self.servers[0].scene.lane
        takes, self.taken = lane.takes, 0

        def counting(head: Head, caller: Caller, body: bytes, visitor: Visitor) -> bool:
            took = takes(head, caller, body, visitor)
            self.taken += took
            return took

        lane.takes = counting  # type: ignore[method-assign]

    def close(self) -> None:
        for server in self.servers:
            server.scene.close()

    def same(self, pieces: Pieces, *, full: bool = False) -> tuple[Said, int]:
        """What both say, which must be the same, and how many requests the lane took."""
        self.taken = 0
        for server in self.servers:
            server.renew()
        lane, plain = (asyncio.run(_talk(server, pieces, full=full)) for server in self.servers)
        assert lane.raised == [], lane.raised
        assert lane == plain
        return lane, self.taken

    def left(self, sent: bytes) -> Said:
        """What comes, with the lane, of one who sends this and is gone in the same turn."""
        return self.said([(sent, -1)])

    def said(self, pieces: Pieces) -> Said:
        """What comes of this with the lane."""
        server = self.servers[0]
        server.renew()
        return asyncio.run(_talk(server, pieces, full=False))


async def _talk(server: Server, pieces: Pieces, *, full: bool) -> Said:
    """Send pieces, each followed by so many turns of the loop, then leave; `full`: nobody reads until all is sent."""
    raised: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: raised.append(repr(context.get("exception") or context["message"])))
    wire, connection = Wire(), server.connection()
    wire.protocol = connection
    connection.connection_made(wire)
    if full:
        connection.pause_writing()
    waiting = list(pieces)
    while waiting and not wire.is_closing():
        if wire.is_paused:
            await _turns(_TURNS)
            if wire.takes_nothing:
                break
        piece, turns = waiting.pop(0)
        try:
            wire.protocol.data_received(piece)
        except Exception as error:  # noqa: BLE001 - whatever it is, it would end the connection with a complaint
            raised.append(repr(error))
            break
        if turns < 0:
            wire._lost()
            wire.closing = True
        await _turns(turns)
    if full:
        connection.resume_writing()
    until = time.monotonic() + 60
    await _turns(_TURNS)
    while server.scene.in_flight and time.monotonic() < until:  # a thread ends, and nobody tells
        await asyncio.sleep(0.001)
        await _turns(_TURNS)
    closed = wire.closing
    wire.close()
    await _turns(_TURNS)
    connection._unset_keepalive_if_required()
    if server.state.tasks:
        raised.append("a task was left")
    return Said(_answers(bytes(wire.written)), closed, server.notes.records, _counted(server), raised)


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def _answers(written: bytes) -> list[tuple[bytes, tuple[bytes, ...], bytes]]:
    answers = []
    while written:
        head, _, written = written.partition(b"\r\n\r\n")
        status, *headers = _MADE_UP.sub(b"", head + b"\r\n").split(b"\r\n")
        length = next((int(each.split(b":")[1]) for each in headers if each.startswith(b"content-length")), 0)
        if written.startswith(b"HTTP/1.1 "):  # it was to a HEAD request
            length = 0
        answers.append((status, tuple(sorted(headers)), written[:length]))
        written = written[length:]
    return answers


def _counted(server: Server) -> object:
    counts = cast("Mapping[str, Any]", server.scene.desk.counts.read())
    entities = {
        (each["endpoint"], each["entity"]): (dict(sorted(each["statuses"].items())), each["rows"])
        for each in counts["entities"]
    }
    return entities, {name: count for name, count in counts["in_flight"].items() if count}
