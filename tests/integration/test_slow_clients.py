"""Clients as they are on a network, at a real socket: slow ones, broken ones, idle ones, and bodies in pieces."""

from __future__ import annotations

import gzip
import json
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
import pytest
from xgboost import XGBClassifier  # noqa: TID253 - a test

from millrace.serving.capture.records import Record, read_payload
from millrace.serving.capture.segments import read_segment, sealed

pytestmark = pytest.mark.slow

SERVER = """
import asyncio, resource, socket, sys
from pathlib import Path
from millrace.access.types import CALLER, owner
from millrace.api import asgi_server
from millrace.core.clock import SystemClock
from millrace.features.adapters.lmdb_online import LmdbOnlineStore
from millrace.serving.capture.capture_log import CaptureLog
from millrace.serving.endpoints.endpoints import endpoint_config, served_entity
from millrace.serving.requests.hot import HotApp
from millrace.serving.models.mlmodel import read_model_folder
from millrace.serving.models.turns import Limits
from millrace.serving.types import Capture, Endpoint, EndpointName, EndpointState, LoadPlan

resource.setrlimit(resource.RLIMIT_NOFILE, (1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))  # as a login gives
root, clock = Path(sys.argv[1]), SystemClock()
entity, facts = served_entity("ml.models.churn", "1"), read_model_folder(root / "model")
plan = LoadPlan(entity, str(root / "model"), facts.flavor, facts.inputs, None)
now, state = clock.now(), EndpointState(True, "NOT_UPDATING")
config = endpoint_config(entity, capture=Capture("ml", "logs", "churn"))
endpoint = Endpoint(EndpointName("churn"), "id", 1, config, (plan,), None, state, now, now, "user:ada")
capture = CaptureLog(root / "capture", "w0", clock, max_age_s=0.5)
hot = HotApp(clock, LmdbOnlineStore(root / "online"), capture, Limits(body_bytes=200_000, body_s=3.0))
hot.serve([endpoint])
async def app(scope, receive, send):
    await hot({**scope, CALLER: owner("user:ada")}, receive, send)
listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
print(listener.getsockname()[1], flush=True)
asgi_server.run("worker", asgi_server.serve(app, listener=listener))
"""
PATH = "/serving-endpoints/churn/invocations"
BODY = json.dumps({"instances": [[1.0, 2.0]] * 20}).encode()
HEAD = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n".encode()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
def port(root: Path) -> Iterator[int]:
    _write_model(root / "model")
    with (root / "stderr").open("w") as errors:
        command = [sys.executable, "-c", SERVER, str(root)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
            assert process.stdout
            yield int(process.stdout.readline())
            process.terminate()
    assert (root / "stderr").read_text() == ""


def _write_model(folder: Path) -> None:
    random = np.random.default_rng(2)
    features = random.normal(size=(100, 2))
    folder.mkdir()
    XGBClassifier(n_estimators=3, n_jobs=1).fit(features, features[:, 0] > 0).save_model(folder / "model.ubj")
    signature = json.dumps([{"name": name, "type": "double"} for name in "ab"])
    flavor = {"data": "model.ubj", "model_class": "xgboost.sklearn.XGBClassifier", "model_format": "ubj"}
    (folder / "MLmodel").write_text(json.dumps({"flavors": {"xgboost": flavor}, "signature": {"inputs": signature}}))


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def whole_answer(client: socket.socket) -> tuple[int, bytes]:
    """Status and everything that comes until the server closes the connection or has sent a whole answer."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += (part := client.recv(65536))
        assert part, received
    head, _, body = received.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    )
    while len(body) < length:
        body += client.recv(65536)
    return int(head.split()[1]), body


def ask(port: int, content: bytes = BODY, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    sent = {"content-type": "application/json", **named}
    return httpx.post(f"http://127.0.0.1:{port}{PATH}", content=content, headers=sent, timeout=60)


def test_a_body_that_drips_is_given_up_and_others_are_answered_meanwhile(port: int) -> None:
    with connect(port) as client:
        stop, started = threading.Event(), time.perf_counter()
        client.sendall(HEAD + f"Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY[:10])

        def drip() -> None:
            for place in range(10, len(BODY)):
                if stop.wait(0.05):
                    return
                try:
                    client.sendall(BODY[place : place + 1])
                except OSError:
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        assert [ask(port).status_code for _ in range(20)] == [200] * 20
        status, body = whole_answer(client)
        took_s = time.perf_counter() - started
        stop.set()
        dripping.join()
    assert (status, json.loads(body)["message"]) == (408, "the body did not arrive in time")
    assert 2.9 < took_s < 15


def test_a_body_that_is_cut_off_harms_nobody(port: int) -> None:
    for kept in (0, 1, len(BODY) // 2):
        with connect(port) as client:
            client.sendall(HEAD + f"Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY[:kept])
        assert ask(port).status_code == 200


def test_a_thousand_idle_connections_cost_the_others_nothing(port: int, root: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    try:
        with ExitStack() as stack:
            before = _settled(root)
            idle = [stack.enter_context(connect(port)) for _ in range(1100)]
            with httpx.Client(timeout=60) as client:
                url, headers = f"http://127.0.0.1:{port}{PATH}", {"content-type": "application/json"}
                times: list[float] = []
                for _ in range(200):  # all are captured, and sealed by age meanwhile
                    started = time.perf_counter()
                    assert client.post(url, content=BODY, headers=headers).status_code == 200
                    times.append(time.perf_counter() - started)
            assert sorted(times)[len(times) // 2] < 0.25  # about a millisecond where nothing else runs
            for client_ in (idle[0], idle[500], idle[-1]):
                client_.sendall(HEAD + f"Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY)
                assert whole_answer(client_)[0] == 200
            deadline = time.monotonic() + 60
            while _captured(root) < before + 203 and time.monotonic() < deadline:
                time.sleep(0.05)
            assert _captured(root) == before + 203
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _captured(root: Path) -> int:
    payloads = [payload for path in sealed(root / "capture") for payload in read_segment(path).payloads]
    return sum(isinstance(read_payload(payload), Record) for payload in payloads)


def _settled(root: Path) -> int:
    """How many requests were captured, when all that came before is sealed."""
    while list((root / "capture").glob("*.open")):
        time.sleep(0.05)
    return _captured(root)


def chunked(parts: Sequence[bytes]) -> bytes:
    return b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in (*parts, b""))


def test_bodies_in_chunks_and_in_gzip(port: int) -> None:
    packed = gzip.compress(BODY)
    wanted = ask(port).json()
    for raw, coding in ((BODY, b""), (packed, b"Content-Encoding: gzip\r\n")):
        parts = [raw[at : at + 7] for at in range(0, len(raw), 7)]
        with connect(port) as client:
            client.sendall(HEAD + coding + b"Transfer-Encoding: chunked\r\n\r\n")
            for part in chunked(parts).splitlines(keepends=True):
                client.sendall(part)
            status, body = whole_answer(client)
        assert (status, json.loads(body)) == (200, wanted)
    assert ask(port, packed, content_encoding="gzip").json() == wanted


def test_what_is_too_large_is_refused_however_it_comes(port: int) -> None:
    with connect(port) as client:
        client.sendall(HEAD + b"Content-Length: 200001\r\nExpect: 100-continue\r\n\r\n")
        assert whole_answer(client)[0] == 413
    with connect(port) as client:
        client.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunked([bytes(50_000)] * 5))
        assert whole_answer(client)[0] == 413
    assert ask(port, gzip.compress(bytes(300_000)), content_encoding="gzip").status_code == 413
    assert ask(port).status_code == 200
