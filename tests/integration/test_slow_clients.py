"""Clients as they are on a network, at a whole server: slow ones, broken ones, idle ones, and bodies in pieces.

For those beside them and for what of theirs was whole, the law of the chaos tests: rows in Delta = acknowledged, each once.
"""

from __future__ import annotations

import gzip
import json
import resource
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from urllib.parse import urlsplit

import pytest

from millrace.workspace import open_workspace
from tests.integration.chaos_clients import BODY as TEXT
from tests.integration.chaos_clients import Account
from tests.integration.chaos_server import Server, check, home_with, rows, serving
from tests.integration.lane_servers import Answer, Client, request

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    # MLflow's own, while models are logged in the test's process.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

BODY = TEXT.encode()
_PATIENCE_S = 60  # the server's, with a body


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One worker, with as many files as a login gives, unless it asks for more."""
    home = home_with(1, tmp_path_factory.mktemp("slow") / "home")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    try:
        with serving(home) as running:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
            yield running
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connect(server: Server) -> socket.socket:
    address = urlsplit(server.url)
    return socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=2 * _PATIENCE_S)


def asking(server: Server, name: str, body: bytes = BODY, *lines: str) -> bytes:
    """The bytes of a request."""
    return request(body, *lines, path=f"/serving-endpoints/{name}/invocations", token=server.token)


def in_chunks(whole: bytes, parts: Sequence[bytes]) -> list[bytes]:
    """A request with its body in chunks: the pieces in which it is sent."""
    head, _, body = whole.partition(b"\r\n\r\n")
    head = head.replace(b"Content-Length: %d" % len(body), b"Transfer-Encoding: chunked")
    return [head + b"\r\n\r\n", *(b"%x\r\n%s\r\n" % (len(part), part) for part in (*parts, b""))]


def said(server: Server, *pieces: bytes) -> Answer:
    """The answer to what is sent piece by piece, each in a packet of its own."""
    with connect(server) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(0.002 if len(pieces) > 1 else 0)
        return Client(connection).answer()


def enter(account: Account, *answers: Answer) -> None:
    assert {(each.status, "x-millrace-capture" in each.heads) for each in answers} == {(200, False)}
    account.acknowledged += [each.heads["databricks-request-id"] for each in answers]


def test_a_body_that_drips_is_given_up_and_others_are_answered_meanwhile(server: Server) -> None:
    whole, stop = asking(server, "drips"), threading.Event()
    with server.deploy("drips").asking(2) as account, connect(server) as connection:
        started = time.monotonic()
        connection.sendall(whole[:-30])

        def drip() -> None:
            for byte in whole[-30:-1]:
                if stop.wait(3.0):
                    return
                with suppress(OSError):  # it is given up
                    connection.sendall(bytes([byte]))

        dripping = threading.Thread(target=drip)
        dripping.start()
        answer = Client(connection).answer()
        took_s = time.monotonic() - started
        stop.set()
        dripping.join()
        account.grow_by(20)
    assert (answer.status, json.loads(answer.body)["message"]) == (408, "the body did not arrive in time")
    assert took_s > _PATIENCE_S - 1
    assert len(account) > _PATIENCE_S  # and far more, where nothing else runs
    server.drain()
    assert account.unanswered == 0
    check(account, rows(server.home, "drips"))


@pytest.mark.parametrize("how", ["closes", "resets"])
def test_bodies_that_are_cut_off_harm_nobody(server: Server, how: str) -> None:
    clients = server.deploy(how)
    whole = asking(server, how)
    with clients.asking(2) as account:
        for left_out in [1, len(BODY) // 2, len(BODY) - 1, len(BODY), len(BODY) + 1, len(whole) - 1] * 5:
            cut_off(server, whole[:-left_out], how, after_s=0.002 * left_out)
            account.grow_by(2)
        for _ in range(10):  # whole, and nobody reads the answer
            cut_off(server, whole, how, after_s=0.0)
            account.unanswered += 1
    server.drain()
    assert account.unanswered == 10
    check(account, rows(server.home, how))


def cut_off(server: Server, sent: bytes, how: str, *, after_s: float) -> None:
    with connect(server) as connection:
        connection.sendall(sent)
        time.sleep(after_s)  # the longer ones beyond the moment for which a worker waits for the rest
        if how == "resets":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_a_thousand_idle_connections_cost_the_others_nothing(server: Server) -> None:
    clients = server.deploy("idle")
    whole, idle = asking(server, "idle"), list[socket.socket]()
    with ExitStack() as stack:
        for number in range(1100):
            idle.append(stack.enter_context(connect(server)))
            if number % 2:  # half of them in the middle of a head
                idle[-1].sendall(whole[:20])
        with clients.asking(1) as account:
            account.grow_by(200)
        times = sorted(each.read_s - each.asked_s for each in account.answers)
        assert times[len(times) // 2] < 0.25  # about a millisecond where nothing else runs
        for number in range(
            1094, 1100
        ):  # the last to come: the first may have been given up where all this takes a minute
            idle[number].sendall(whole[20:] if number % 2 else whole)
            enter(account, Client(idle[number]).answer())
    server.drain()
    assert account.unanswered == 0
    check(account, rows(server.home, "idle"))


def test_bodies_byte_by_byte_in_chunks_and_in_gzip(server: Server) -> None:
    server.deploy("pieces")
    account, packed = Account(), gzip.compress(BODY)
    plain, short = asking(server, "pieces"), asking(server, "pieces", packed, "Content-Encoding: gzip")
    sent = [
        [plain],
        [short],
        *([bytes([byte]) for byte in whole] for whole in (plain, short)),
        *(
            in_chunks(whole, [body[at : at + 7] for at in range(0, len(body), 7)])
            for whole, body in ((plain, BODY), (short, packed))
        ),
    ]
    for pieces in sent:
        answer = said(server, *pieces)
        assert json.loads(answer.body) == {"predictions": [0]}
        enter(account, answer)
    server.drain()
    assert rows(server.home, "pieces") == Counter(account.acknowledged)


def test_what_is_too_large_is_refused_however_it_comes(server: Server) -> None:
    server.deploy("large")
    limit, whole = 16 << 20, asking(server, "large")
    declared = whole.replace(b"Content-Length: %d" % len(BODY), b"Content-Length: %d" % (limit + 1))
    head = declared.partition(b"\r\n\r\n")[0]
    answers = [
        said(server, head + b"\r\nExpect: 100-continue\r\n\r\n"),
        said(server, *in_chunks(whole, [bytes(1 << 20)] * 17)),
        said(server, asking(server, "large", gzip.compress(bytes(limit + 1)), "Content-Encoding: gzip")),
        said(server, whole),
    ]
    assert [each.status for each in answers] == [413, 413, 413, 200]
    server.drain()
    # What is refused has no prediction, and is kept all the same.
    with closing(open_workspace(server.home)) as workspace:
        payload = workspace.lake.read("logs.large_payload", columns=["databricks_request_id", "status_code"])
        predicted = workspace.lake.read("logs.large_predictions", columns=["request_id"])
    ids = [each.heads["databricks-request-id"] for each in answers]
    assert dict(zip(*payload.to_pydict().values(), strict=True)) == dict(zip(ids, [413, 413, 413, 200], strict=True))
    assert payload.num_rows == len(answers)
    assert predicted.column("request_id").to_pylist() == ids[-1:]
