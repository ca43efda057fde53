"""Connections on which no whole head of a request ever comes are closed; slow clients are answered."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.integration.lane_servers import SLOW, Client, Running, request
from tests.unit.serving.lanes import body_of

ONE = request(body_of(1.0))
BOUND_S = 1.0
SOON_S = 60.0  # before an idle connection is closed in any case
Bound = Callable[[float], None]


@pytest.fixture
def bound(monkeypatch: pytest.MonkeyPatch) -> Bound:
    """Sets how long heads may take from then on. Until then it is a minute: a machine may stand still between connecting and asking."""
    return partial(monkeypatch.setattr, "millrace.api.connections.HEAD_S")


@pytest.fixture(params=[True, False], ids=["lane", "usual"])
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Running]:
    running = Running(tmp_path, with_lane=request.param)
    yield running
    running.stop()


def is_closed(connection: socket.socket) -> bool:
    """Whether the other end closes within a time far longer than the bound."""
    connection.settimeout(SOON_S)
    try:
        return connection.recv(1 << 16) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


def drip(connection: socket.socket, pieces: Callable[[], Iterator[bytes]]) -> threading.Thread:
    def run() -> None:
        for piece in pieces():
            try:
                connection.sendall(piece)
            except OSError:
                return
            time.sleep(0.05)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize("sent", [b"", b"\r\n", ONE[:10], ONE[:60]], ids=["nothing", "no request", "a word", "half"])
def test_a_head_that_does_not_come_is_not_waited_for_forever(server: Running, bound: Bound, sent: bytes) -> None:
    bound(BOUND_S)
    began = time.monotonic()
    with server.connect() as connection:
        connection.sendall(sent)
        assert is_closed(connection)
        assert time.monotonic() - began > BOUND_S / 2
    server.wait(lambda: not server.server.server_state.connections)


@pytest.mark.parametrize("piece", [b"X: y\r\n", b"\r\n"], ids=["headers", "empty lines"])
def test_one_that_drips_is_closed_too(server: Running, bound: Bound, piece: bytes) -> None:
    bound(BOUND_S)
    with server.connect() as connection:
        connection.sendall(ONE[: ONE.index(b"\r\n") + 2] if b"X" in piece else piece)
        thread = drip(connection, lambda: iter([piece] * 2000))
        assert is_closed(connection)
    thread.join()


@pytest.mark.parametrize("behind", [ONE[:60], b"\r\n"], ids=["half", "no request"])
def test_nor_is_a_second_one(server: Running, bound: Bound, behind: bytes) -> None:
    with server.connect() as connection:
        connection.sendall(ONE)
        assert Client(connection).answer().status == 200
        bound(BOUND_S)
        connection.sendall(behind)
        assert is_closed(connection)


def test_nor_the_rest_of_a_body_that_was_refused(server: Running, bound: Bound) -> None:
    """What still comes of it would keep the connection, whoever sent it."""
    with server.connect() as connection:
        connection.sendall(request(b"", path="/x").replace(b"Content-Length: 0", b"Content-Length: 1000000"))
        assert Client(connection).answer().status == 404
        bound(BOUND_S)
        thread = drip(connection, lambda: iter([b"x"] * 2000))
        assert is_closed(connection)
    thread.join()


def test_a_slow_client_is_answered(server: Running) -> None:
    with server.connect() as connection:
        for _ in range(2):
            for at in range(0, len(ONE), 10):
                connection.sendall(ONE[at : at + 10])
                time.sleep(0.02)
            assert Client(connection).answer().status == 200


def test_a_whole_head_that_waits_for_its_body_has_come(
    server: Running, bound: Bound, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millrace.api.lane_protocol._BODY_S", 60.0)
    bound(BOUND_S)
    while not _waits_for_its_body(server):
        pass


def _waits_for_its_body(server: Running) -> bool:
    """Whether the head was there in time: where the machine stood still, the connection may have been closed before."""
    began = time.monotonic()
    with server.connect() as connection:
        connection.sendall(ONE[:-5])
        server.wait(lambda: server.is_asked() or time.monotonic() - began > BOUND_S)
        if time.monotonic() - began > BOUND_S:
            return False
        time.sleep(2 * BOUND_S)
        connection.sendall(ONE[-5:])
        assert Client(connection).answer().status == 200
    return True


def test_who_asks_on_behind_a_slow_answer_gets_both(server: Running, bound: Bound) -> None:
    server.slow.gate.clear()
    with server.connect() as connection:
        server.wait(lambda: bool(server.server.server_state.connections))
        bound(BOUND_S)  # for who comes behind
        connection.sendall(request(body_of(1.0), path=SLOW) + ONE[:60])
        server.wait(lambda: server.scene.in_flight == 1)
        time.sleep(2 * BOUND_S)
        bound(60.0)
        server.slow.gate.set()
        client = Client(connection)
        assert client.answer().status == 200
        connection.sendall(ONE[60:])
        assert client.answer().status == 200


def test_a_head_without_an_end_is_not_read_on_and_on(server: Running) -> None:
    with server.connect() as connection:
        connection.sendall(ONE[: ONE.index(b"\r\n") + 2])
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            _go_on(connection)


def test_nor_what_follows_a_body_in_chunks(server: Running) -> None:
    """Also where nobody may ask: what is refused is read to its end."""
    with server.connect() as connection:
        refused = request(b"", path="/x").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        connection.sendall(refused + b"0\r\n")
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            _go_on(connection)


def _go_on(connection: socket.socket) -> None:
    for number in range(20_000):
        connection.sendall(b"X-%d: %s\r\n" % (number, b"y" * 4000))


def test_nor_is_a_login_waited_for_that_does_not_come(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millrace.api.guard.FORM_S", BOUND_S)
    with server.connect() as connection:
        connection.sendall(b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\ntoken=")
        client = Client(connection)
        assert client.answer().status == 408
        assert client.is_closed()
