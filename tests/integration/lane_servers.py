"""Servers with the lane and without, on threads of their own, and clients that speak to them byte by byte."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import uvicorn
import uvloop

from millrace.api.asgi_server import configured
from millrace.api.auth import Credentials
from millrace.api.callers import Callers
from millrace.api.guard import Guard
from millrace.api.lane_protocol import LaneProtocol, Way
from millrace.core.clock import SystemClock
from millrace.serving.request_log import CURRENT
from millrace.serving.requests.hot import HotApp
from tests.unit.serving.lanes import Adding, Scene

TOKEN = "an-open-secret"  # noqa: S105 - a test
PATH = "/serving-endpoints/quick/invocations"
SLOW = "/serving-endpoints/slow/invocations"


class Running:
    """A hot app behind the guard, served by uvicorn on uvloop as a worker serves it; all else is answered with 404.

    Endpoint `quick` adds one, `slow` a hundred beside the loop; unless another hot app is given.

    Attributes:
        named: as whom what is not the hot app's was answered.
    """

    def __init__(
        self,
        root: Path,
        *,
        with_lane: bool = True,
        tls: tuple[Path, Path] | None = None,
        keep_alive_s: float = 75,
        hot: HotApp | None = None,
    ) -> None:
        self.scene, self.quick, self.slow = Scene(root), Adding(1, quick_rows=1000), Adding(100, quick_rows=0)
        self.scene.serve("quick", self.quick)
        self.scene.serve("slow", self.slow)
        self.hot = hot or self.scene.hot
        self.named: list[object] = []
        credentials = Credentials.of(TOKEN)
        guard = Guard(cast("Any", self._app), credentials, Callers(credentials, "user:ada", SystemClock()))
        connection = partial(LaneProtocol, Way(self.hot.lane, guard)) if with_lane else None
        certificate, key = (None, None) if tls is None else map(str, tls)
        config = configured(guard, certificate=certificate, key=key, connection=connection)
        config.timeout_keep_alive = cast("int", keep_alive_s)
        self.server = uvicorn.Server(config)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 << 10)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self._trust = None if tls is None else ssl.create_default_context(cafile=str(tls[0]))
        self.wait(lambda: self.server.started)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            self.loop = runner.get_loop()
            runner.run(self.server.serve([self._listener]))

    async def _app(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if self.hot.handles(scope):
            await self.hot(scope, receive, send)
            return
        self.named.append(CURRENT.get())
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    def stop(self) -> None:
        self.server.should_exit = True
        self.slow.gate.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        self.scene.close()

    def connect(self) -> socket.socket:
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return plain if self._trust is None else self._trust.wrap_socket(plain, server_hostname="127.0.0.1")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Meanwhile the loop does not turn: what is sent then arrives in one turn."""
        may_go, is_held = threading.Event(), threading.Event()

        def hold() -> None:
            is_held.set()
            may_go.wait(60)

        self.loop.call_soon_threadsafe(hold)
        assert is_held.wait(60)
        try:
            yield
        finally:
            may_go.set()

    def is_asked(self) -> bool:
        """Whether a request is under way, or its head is there."""
        return any(map(_is_asking, tuple(self.server.server_state.connections)))

    @staticmethod
    def wait(until: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not until():
            assert time.monotonic() < deadline, "it never came"
            time.sleep(0.005)


def _is_asking(connection: Any) -> bool:
    under_way = connection.cycle is not None and not connection.cycle.response_complete
    return under_way or bool(getattr(connection, "_held", b""))


def request(
    body: bytes, *lines: str, path: str = PATH, method: str = "POST", version: str = "1.1", token: str = TOKEN
) -> bytes:
    """A request's bytes."""
    head = [f"{method} {path} HTTP/{version}", "Host: localhost", f"Authorization: Bearer {token}", *lines]
    return "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body


class Answer:
    """An answer as it came."""

    def __init__(self, head: bytes, body: bytes) -> None:
        first, *lines = head.decode().split("\r\n")
        self.status, self.body = int(first.split()[1]), body
        self.heads = dict(line.split(": ", 1) for line in lines)

    @property
    def told(self) -> tuple[int, dict[str, str], bytes]:
        """What does not differ from one time to the next."""
        made_up = {"date", "databricks-request-id"}
        return self.status, {name: value for name, value in self.heads.items() if name not in made_up}, self.body


class Client:
    """Reads answers off a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._rest = connection, b""

    def answer(self, method: str = "POST") -> Answer:
        """The next one; fails if the connection is closed before it is whole."""
        while b"\r\n\r\n" not in self._rest:
            self._more()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        answer = Answer(head, b"")
        size = 0 if method == "HEAD" else int(answer.heads.get("content-length", "0"))
        while len(self._rest) < size:
            self._more()
        answer.body, self._rest = self._rest[:size], self._rest[size:]
        return answer

    def _more(self) -> None:
        part = self._connection.recv(1 << 16)
        assert part, f"closed after {self._rest!r}"
        self._rest += part

    def is_closed(self) -> bool:
        """Whether nothing comes any more, once the server has closed."""
        return self._rest == b"" and self._connection.recv(1) == b""
