"""What is on disk when an answer leaves: by the order of the system calls."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from xgboost import XGBClassifier  # noqa: TID253 - a test

from millrace.access.types import CALLER, owner
from millrace.core.clock import SystemClock
from millrace.core.settings import Durability
from millrace.features.adapters.lmdb_online import LmdbOnlineStore
from millrace.serving.capture.capture_log import CaptureLog
from millrace.serving.capture.segments import read_segment
from millrace.serving.endpoints.endpoints import endpoint_config, served_entity
from millrace.serving.models.mlmodel import read_model_folder
from millrace.serving.requests.hot import HotApp
from millrace.serving.types import Capture, Endpoint, EndpointName, EndpointState, LoadPlan

BODY = b'{"instances": [[1.0, 2.0]]}'
PATH = "/serving-endpoints/churn/invocations"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("durability") / "model"
    folder.mkdir()
    features = np.random.default_rng(5).normal(size=(100, 2))
    XGBClassifier(n_estimators=5, n_jobs=1).fit(features, (features[:, 0] > 0).astype(int)).save_model(
        folder / "model.ubj"
    )
    flavor = {"data": "model.ubj", "model_class": "xgboost.sklearn.XGBClassifier"}
    signature = json.dumps([{"name": "a", "type": "double"}, {"name": "b", "type": "double"}])
    (folder / "MLmodel").write_text(json.dumps({"flavors": {"xgboost": flavor}, "signature": {"inputs": signature}}))
    return folder


# In the process: every call in order.


class Recorded:
    """A hot app whose writes, syncs and answers are noted in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, root: Path, model: Path, durability: Durability) -> None:
        self.steps: list[str] = []
        entity, facts = served_entity("ml.models.churn", "1"), read_model_folder(model)
        plan = LoadPlan(entity, str(model), facts.flavor, facts.inputs, None)
        config = endpoint_config(entity, capture=Capture("ml", "logs", "churn"))
        clock = SystemClock()
        state, now = EndpointState(ready=True, config_update="NOT_UPDATING"), clock.now()
        endpoint = Endpoint(EndpointName("churn"), "id", 1, config, (plan,), None, state, now, now, "user:ada")
        self.capture = CaptureLog(root / "capture", "w0", clock, durability=durability, sync_s=0.2)
        self.app = HotApp(clock, LmdbOnlineStore(root / "online"), self.capture)
        self.app.serve([endpoint])
        for name in ("write", "fdatasync"):
            monkeypatch.setattr(os, name, self._noting(name, getattr(os, name)))

    def _noting(self, name: str, call: Callable[..., object]) -> Callable[..., object]:
        def run(*args: object) -> object:
            result = call(*args)
            self.steps.append(name)
            return result

        return run

    async def ask(self) -> dict[str, str]:
        headers: dict[str, str] = {}

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": BODY, "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.steps.append(f"answer {message['status']}")
                headers.update({name.decode(): value.decode() for name, value in message["headers"]})

        scope = {"type": "http", "method": "POST", "path": PATH, "headers": [], CALLER: owner("user:ada")}
        await self.app(scope, receive, send)
        return headers


@pytest.mark.parametrize(
    ("durability", "expected"),
    [
        ("process", ["write", "answer 200"]),
        ("buffered", ["answer 200"]),
        ("durable", ["write", "fdatasync", "answer 200"]),
    ],
)
def test_what_is_promised_is_done_before_the_answer_leaves(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: Path, durability: Durability, expected: list[str]
) -> None:
    recorded = Recorded(monkeypatch, tmp_path, model, durability)
    with (
        nullcontext() if durability == "durable" else recorded.capture._syncing
    ):  # which comes by itself otherwise, at any moment
        headers = asyncio.run(recorded.ask())
    assert recorded.steps[: len(expected)] == expected
    assert "x-millrace-capture" not in headers
    deadline = time.monotonic() + 60
    while "fdatasync" not in recorded.steps and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "fdatasync" in recorded.steps  # a little later, in all of them
    recorded.capture.close()


@pytest.mark.parametrize("durability", ["process", "durable"])
def test_an_answer_says_that_its_record_was_dropped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: Path, durability: Durability
) -> None:
    recorded = Recorded(monkeypatch, tmp_path, model, durability)
    monkeypatch.setattr(os, "write", _full)
    headers = asyncio.run(recorded.ask())
    assert recorded.steps[-1] == "answer 200"
    assert headers["x-millrace-capture"] == "dropped"
    assert recorded.capture.state.dropped == 1
    recorded.capture.close()


def _full(*_: object) -> int:
    raise OSError(28, "No space left on device")


# From outside: what the kernel was asked for, in order.


@pytest.fixture(params=get_args(Durability))
def traced(request: pytest.FixtureRequest, tmp_path: Path, model: Path) -> Iterator[tuple[str, int, Path]]:
    """A worker under strace: durability, port, and the trace."""
    if shutil.which("strace") is None:
        pytest.skip("strace is missing; install Debian's package strace")
    (tmp_path / "model").symlink_to(model)
    trace = tmp_path / "trace"
    script = Path(__file__).with_name("capture_worker.py")
    strace = [
        "strace",
        "--seccomp-bpf",
        "--follow-forks",
        "--decode-fds=path",
        "--output",
        str(trace),
        "--string-limit=40",
    ]
    calls = "--trace=write,fdatasync,sendto,sendmsg,writev"
    command = [*strace, calls, sys.executable, str(script), str(tmp_path), request.param, str(1 << 30)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0) as process:
        try:
            assert process.stdout
            yield request.param, int(process.stdout.readline()), trace
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # strace and its child, which we started


@pytest.mark.slow
@pytest.mark.strace
def test_the_kernel_is_asked_in_the_order_that_is_promised(traced: tuple[str, int, Path], tmp_path: Path) -> None:
    durability, port, trace = traced
    clients = [threading.Thread(target=_ask, args=(port, 10)) for _ in range(3)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    _ask(port, 1)
    expected = (31, 32)  # and a description
    deadline = time.monotonic() + 60
    while (found := _counted(trace, tmp_path / "capture")) != expected and time.monotonic() < deadline:
        time.sleep(0.05)
    assert found == expected
    steps = list(_steps(trace.read_text().splitlines()))
    unanswered = _unkept(steps)
    if durability == "buffered":
        assert max(unanswered["write"]) > 0
    else:
        assert max(unanswered["write"]) == 0
    if durability == "durable":
        assert max(unanswered["sync"]) == 0
    else:
        assert max(unanswered["sync"]) > 0


def _counted(trace: Path, capture: Path) -> tuple[int, int]:
    """How many answers the trace has, and how many payloads the segments; both come a little later than the answers."""
    answers = list(_steps(trace.read_text().splitlines())).count("answer")
    segments = [path for path in capture.iterdir() if path.suffix != ".new"]  # such a one is about to get its name
    return answers, sum(len(read_segment(path).payloads) for path in segments)


def _unkept(steps: list[str]) -> dict[str, list[int]]:
    """At each answer: how many of the answers so far were neither written, nor synced, before."""
    writes = begun = synced = answers = 0
    found: dict[str, list[int]] = {"write": [], "sync": []}
    for step in steps:
        if step == "write":
            writes += 1
        elif step == "sync begins":
            begun = writes
        elif step == "sync":
            synced = begun
        else:
            answers += 1
            found["write"].append(max(0, answers - writes))
            found["sync"].append(max(0, answers - synced))
    return found


def _steps(lines: Sequence[str]) -> Iterator[str]:
    """What of the trace is about the capture or an answer; what takes its time counts when it has ended."""
    running: dict[str, str] = {}
    for line in lines:
        pid, _, call = line.partition(" ")
        step = running.pop(pid) if call.lstrip().startswith("<...") and pid in running else _named(call)
        if step == "sync" and "resumed" not in call:
            yield "sync begins"
        if "unfinished" in call and step in ("sync", "write"):
            running[pid] = step
        elif step:
            yield step


def _named(call: str) -> str | None:
    if "fdatasync(" in call:
        return "sync"
    if re.match(r"\s*write\(\d+<[^>]*/capture/", call):
        return "write"
    return "answer" if "HTTP/1.1 200" in call else None


def _ask(port: int, times: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for _ in range(times):
        connection.request("POST", PATH, BODY, {"content-type": "application/json"})
        response = connection.getresponse()
        response.read()
        assert response.status == 200
    connection.close()
