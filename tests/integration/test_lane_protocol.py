"""The lane over real sockets, with uvicorn and uvloop: what TCP and clients do to requests."""

from __future__ import annotations

import fcntl
import gc
import gzip
import json
import os
import socket
import struct
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from millrace.api.lane_protocol import LaneProtocol
from millrace.serving.models.turns import Limits
from millrace.serving.requests.arrival import Arrivals
from tests.integration.lane_servers import SLOW, Answer, Client, Running, request
from tests.unit.serving.lanes import body_of

ONE, TWO = request(body_of(1.0)), request(body_of(2.0))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Running]]:
    """A server with the lane and one without."""
    made = tuple(Running(tmp_path_factory.mktemp("lane"), with_lane=with_lane) for with_lane in (True, False))
    yield made  # type: ignore[misc]
    for each in made:
        each.stop()


@pytest.fixture
def server(shared: tuple[Running, Running]) -> Iterator[Running]:
    running, _ = shared
    running.quick.calls.clear()
    yield running
    running.wait(lambda: running.scene.in_flight == 0)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing of these tests but a request that is no HTTP leaves a line in the log."""
    yield
    expected = {"Invalid HTTP request received."}
    assert {record.getMessage() for record in caplog.get_records("call")} <= expected


def said(
    running: Running, *pieces: bytes, answers: int = 1, method: str = "POST", pause_s: float = 0.01
) -> list[Answer]:
    """The answers to what is sent piece by piece."""
    with running.connect() as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(pause_s if len(pieces) > 1 else 0)
        client = Client(connection)
        return [client.answer(method) for _ in range(answers)]


def has_arrived(connection: socket.socket) -> bool:
    """Whether the system of the other end has all that was sent."""
    return fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)) == bytes(4)


def predictions(answers: list[Answer]) -> list[object]:
    return [json.loads(each.body)["predictions"] for each in answers]


def test_requests_that_arrive_in_one_turn_share_a_call_and_a_write(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes, write = [], os.write

    def noting(fd: int, data: bytes) -> int:
        sizes.append(len(data))
        return write(fd, data)

    connections = [server.connect() for _ in range(20)]
    clients = [Client(each) for each in connections]
    for connection, client in zip(connections, clients, strict=True):  # each is accepted before it counts
        connection.sendall(request(b"", path="/x"))
        assert client.answer().status == 404
    monkeypatch.setattr("millrace.serving.capture.segments.os.write", noting)
    with server.held():
        for number, connection in enumerate(connections):
            connection.sendall(request(body_of(float(number))))
        server.wait(lambda: all(map(has_arrived, connections)))
    answers = [client.answer() for client in clients]
    assert predictions(answers) == [[number + 1.0] for number in range(20)]
    assert [sorted(call) for call in server.quick.calls] == [[float(number) for number in range(20)]]
    assert len(sizes) == 1
    kept = {record.id: record for record in server.scene.records()}
    requests = [kept[answer.heads["databricks-request-id"]].request for answer in answers]
    assert requests == [body_of(float(number)) for number in range(20)]
    for connection in connections:
        connection.close()


@pytest.mark.parametrize(
    "sent",
    [
        ONE,
        request(body_of(1.0), path="/serving-endpoints/%71uick/invocations?client_request_id=a%20b"),
        request(body_of(-1.0)).replace(b"-1.0", b"none"),
        request(gzip.compress(body_of(1.0)), "Content-Encoding: gzip"),
        request(body_of(*range(400)), "Accept-Encoding: gzip"),
        request(body_of(1.0), version="1.0"),
        request(body_of(1.0), "Connection: close"),
        request(body_of(1.0), token="wrong"),  # noqa: S106 - a test
        request(body_of(1.0)).replace(b"localhost", b"elsewhere"),
        request(body_of(1.0), path="/serving-endpoints/none/invocations"),
        request(body_of(1.0), path="/x/models/quick/infer"),
        request(body_of(1.0), "Content-Type: text/html"),
        request(body_of(1.0), "Host: elsewhere", "Authorization: Bearer wrong", "X: " + "x" * 100_000),
        request(b"", method="GET"),
        request(b"", method="HEAD"),
        request(body_of(1.0) + b" " * (300 << 10)),
        request(b"x" * 100).replace(b"Content-Length: 100", b"Content-Length: %d" % (17 << 20)),
        b"\x16\x03\x01\x02",
        b"POST /invocations HTTP/1.1\r\nno colon\r\n\r\n",
    ],
)
def test_a_request_is_answered_as_without_the_lane(shared: tuple[Running, Running], sent: bytes) -> None:
    method = sent.split(b" ")[0].decode("latin-1")
    (with_lane,), (without) = said(shared[0], sent, method=method), said(shared[1], sent, method=method)
    assert [with_lane.told] == [each.told for each in without]


def test_a_body_over_the_limit_is_refused_however_it_comes(shared: tuple[Running, Running]) -> None:
    head = request(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    chunk = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
    answers = []
    for running in shared:
        with running.connect() as connection:
            connection.sendall(head)
            for _ in range(17):
                connection.sendall(chunk)
            connection.sendall(b"0\r\n\r\n")
            answers.append(Client(connection).answer())
    assert answers[0].told == answers[1].told
    assert answers[0].status == 413


@pytest.mark.parametrize("at", [1, 20, 60, len(ONE) - 36, len(ONE) - 35, len(ONE) - 1])
def test_a_request_may_come_in_pieces(server: Running, at: int) -> None:
    assert predictions(said(server, ONE[:at], ONE[at:])) == [[2.0]]


def test_a_request_may_come_byte_by_byte(server: Running) -> None:
    assert predictions(said(server, *(ONE[at : at + 1] for at in range(len(ONE))), pause_s=0.0005)) == [[2.0]]


def test_a_body_may_come_late(server: Running) -> None:
    """Later than it is waited for: what was held back goes the usual way."""
    assert predictions(said(server, ONE[:-20], ONE[-20:], pause_s=0.4)) == [[2.0]]


def test_a_chunked_body_may_come_whole_or_in_pieces(server: Running) -> None:
    body = body_of(1.0)
    head = request(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    chunks = [b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:])] + [b"0\r\n\r\n"]
    assert predictions(said(server, head + b"".join(chunks))) == [[2.0]]
    assert predictions(said(server, head, *chunks)) == [[2.0]]


def test_who_waits_for_100_continue_gets_it(server: Running) -> None:
    head, _, body = request(body_of(1.0), "Expect: 100-continue").partition(b"\r\n\r\n")
    with server.connect() as connection:
        client = Client(connection)
        connection.sendall(head + b"\r\n\r\n")
        assert client.answer().status == 100
        connection.sendall(body)
        assert predictions([client.answer()]) == [[2.0]]


def test_answers_come_in_the_order_of_the_requests(server: Running) -> None:
    slow, elsewhere = request(body_of(5.0), path=SLOW), request(b"", path="/x")
    answers = said(server, slow + ONE + elsewhere + TWO + slow, answers=5)
    assert [each.status for each in answers] == [200, 200, 404, 200, 200]
    assert predictions([each for each in answers if each.body]) == [[105.0], [2.0], [3.0], [105.0]]
    assert [each.status for each in said(server, elsewhere + ONE, answers=2)] == [404, 200]
    assert predictions(said(server, ONE + TWO[:50], TWO[50:], answers=2)) == [[2.0], [3.0]]


def test_connections_are_kept_for_the_next_request_or_closed_as_asked(server: Running) -> None:
    with server.connect() as connection:
        client = Client(connection)
        for value in (1.0, 2.0, 3.0):
            connection.sendall(request(body_of(value)))
            answer = client.answer()
            assert (predictions([answer]), "connection" in answer.heads) == ([[value + 1]], False)
        connection.sendall(request(body_of(1.0), "Connection: close"))
        assert client.answer().heads["connection"] == "close"
        assert client.is_closed()


@pytest.mark.parametrize("behind", [b"", ONE, ONE[:30]])
@pytest.mark.parametrize("how", ["closes", "resets"])
def test_who_is_gone_before_the_answer_is_missed_by_nobody(server: Running, behind: bytes, how: str) -> None:
    before = server.scene.statuses("slow").get("200", 0)
    server.slow.gate.clear()
    connection = server.connect()
    connection.sendall(request(body_of(1.0), path=SLOW) + behind)
    server.wait(lambda: server.scene.in_flight == 1)
    if how == "resets":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
    time.sleep(0.02)
    server.slow.gate.set()
    server.wait(lambda: server.scene.statuses("slow").get("200", 0) == before + 1)
    server.wait(lambda: server.scene.in_flight == 0)
    assert predictions(said(server, ONE)) == [[2.0]]


def test_who_does_not_read_is_not_given_ever_more(server: Running) -> None:
    rows, count = [float(number) for number in range(200)], 250
    sent = request(body_of(*rows))

    def send(connection: socket.socket) -> None:
        for number in range(count):
            connection.sendall(sent)
            # Each in a packet of its own, as long as they are taken.
            until = time.monotonic() + 0.02
            while len(server.quick.calls) <= number and time.monotonic() < until:
                time.sleep(0.0005)

    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 10)
        connection.settimeout(60)
        connection.connect(("127.0.0.1", server.port))
        sender = threading.Thread(target=send, args=[connection])
        sender.start()
        # Beyond 64 KiB a transport asks to be given no more.
        server.wait(lambda: most_waiting(server) > 64 << 10)
        sender.join(1)
        assert most_waiting(server) < 80_000
        assert len(server.quick.calls) < count
        client = Client(connection)
        answers = [client.answer() for _ in range(count)]
        sender.join(60)
    assert predictions(answers) == [[value + 1 for value in rows]] * count


def most_waiting(running: Running) -> int:
    """The bytes of answers that wait for a client, of the connection with the most."""
    connections = tuple(running.server.server_state.connections)
    return max((each.transport.get_write_buffer_size() for each in connections), default=0)


def test_log_lines_are_about_their_own_request_and_none_later(server: Running) -> None:
    server.quick.names.clear()
    server.named.clear()
    with server.connect() as connection:
        client = Client(connection)
        identities = []
        for sent in (ONE, request(b"", path="/x"), TWO):
            connection.sendall(sent)
            identities.append(client.answer().heads.get("databricks-request-id"))
        half = len(ONE) - 10
        connection.sendall(ONE[:half])
        time.sleep(0.02)
        connection.sendall(ONE[half:])
        identities.append(client.answer().heads["databricks-request-id"])
        connection.sendall(request(b"", path="/x"))
        assert client.answer().status == 404
    assert server.quick.names == [(identities[at], "quick") for at in (0, 2, 3)]
    assert server.named == [None, None]


def test_log_lines_about_a_request_that_had_to_wait_are_not_about_the_one_before(
    shared: tuple[Running, Running],
) -> None:
    for running in shared:
        running.named.clear()
        slow, elsewhere = request(body_of(5.0), path=SLOW), request(b"", path="/x")
        assert [each.status for each in said(running, slow + elsewhere + ONE + elsewhere, answers=4)][::2] == [200, 200]
        assert running.named == [None, None]


def test_idle_connections_are_closed_and_bodies_that_never_come_are_given_up(tmp_path: Path) -> None:
    running = Running(tmp_path, keep_alive_s=0.2)
    running.scene.hot._arrivals = Arrivals(Limits(body_s=0.2))
    try:
        with running.connect() as idle, running.connect() as late:
            started = time.monotonic()
            late.sendall(ONE[:-5])
            idle.sendall(ONE)
            client = Client(idle)
            assert predictions([client.answer()]) == [[2.0]]
            assert client.is_closed()
            assert time.monotonic() - started > 0.15
            answer = Client(late).answer()
            assert (answer.status, answer.heads["connection"]) == (408, "close")
    finally:
        running.stop()


def test_a_connection_that_is_reset_before_its_answer_leaves_nothing_behind(tmp_path: Path) -> None:
    running = Running(tmp_path, keep_alive_s=5)
    running.slow.gate.clear()
    try:
        connection = running.connect()
        connection.sendall(ONE)
        assert predictions([Client(connection).answer()]) == [[2.0]]
        connection.sendall(request(body_of(5.0), path=SLOW))
        running.wait(lambda: running.scene.in_flight == 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        running.wait(lambda: not running.server.server_state.connections)
        running.slow.gate.set()
        running.wait(lambda: not _connections())
    finally:
        running.stop()


def _connections() -> list[object]:
    """All that are in memory."""
    gc.collect()
    return [each for each in gc.get_objects() if type(each) is LaneProtocol]


def test_a_server_that_stops_answers_what_is_under_way(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.server.config.timeout_graceful_shutdown = 60
    running.slow.gate.clear()
    try:
        with running.connect() as idle, running.connect() as busy:
            idle.sendall(ONE)
            client = Client(idle)
            assert client.answer().status == 200
            busy.sendall(request(body_of(1.0), path=SLOW))
            running.wait(lambda: running.scene.in_flight == 1)
            running.server.should_exit = True
            assert client.is_closed()
            running.slow.gate.set()
            client = Client(busy)
            answer = client.answer()
            assert (predictions([answer]), answer.heads["connection"]) == ([[101.0]], "close")
            assert client.is_closed()
    finally:
        running.stop()


def test_a_server_that_stops_answers_what_is_half_there(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.server.config.timeout_graceful_shutdown = 60
    try:
        with running.connect() as idle, running.connect() as half:
            idle.sendall(ONE)
            looked = Client(idle)
            assert looked.answer().status == 200
            half.sendall(ONE[:-5])
            running.wait(running.is_asked)
            running.server.should_exit = True
            assert looked.is_closed()  # it has looked at all of them by now
            half.sendall(ONE[-5:])
            client = Client(half)
            answer = client.answer()
            assert (predictions([answer]), answer.heads["connection"]) == ([[2.0]], "close")
            assert client.is_closed()
    finally:
        running.stop()


def test_a_server_that_waits_no_longer_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    running = Running(tmp_path)
    running.server.config.timeout_graceful_shutdown = cast("int", 0.1)
    running.slow.gate.clear()
    try:
        with running.connect() as busy:
            busy.sendall(request(body_of(1.0), path=SLOW))
            running.wait(lambda: running.scene.in_flight == 1)
            running.server.should_exit = True
            client = Client(busy)
            answer = client.answer()
            assert (answer.status, answer.heads["connection"]) == (503, "close")
            assert (answer.heads["retry-after"], answer.heads["x-millrace-capture"]) == ("5", "dropped")
            assert client.is_closed()
    finally:
        running.stop()
    assert running.scene.in_flight == 0
    assert "timeout graceful shutdown exceeded" in caplog.text
    caplog.clear()


def test_over_tls_it_is_the_same(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    running = Running(tmp_path, tls=certificate)
    try:
        assert predictions(said(running, ONE + TWO, ONE[:50], ONE[50:], answers=3)) == [[2.0], [3.0], [2.0]]
        assert predictions(said(running, request(body_of(*range(900))))) == [[value + 1.0 for value in range(900)]]
        running.slow.gate.clear()
        connection = running.connect()
        connection.sendall(request(body_of(1.0), path=SLOW))
        running.wait(lambda: running.scene.in_flight == 1)
        connection.close()
        time.sleep(0.02)
        running.slow.gate.set()
        running.wait(lambda: running.scene.in_flight == 0)
    finally:
        running.stop()
