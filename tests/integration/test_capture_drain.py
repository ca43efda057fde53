"""Nothing that was acknowledged is lost, nothing is there twice: real processes, killed with -9."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from millrace.core.clock import SystemClock
from millrace.lake.lake import Lake
from millrace.serving.capture.capture_log import CaptureLog
from millrace.serving.capture.drain import drain
from millrace.serving.capture.segments import sealed
from millrace.serving.types import Description
from millrace.testing.traffic import kept
from millrace.workspace import open_workspace
from tests.integration import lone_worker

pytestmark = pytest.mark.slow

DRAIN = """
import sys
from pathlib import Path
from millrace.serving.capture.drain import drain
from millrace.serving.capture.segments import sealed
from millrace.workspace import open_workspace
print("ready", flush=True)
drain(open_workspace(sys.argv[1]).lake, Path(sys.argv[2]))
"""


@contextmanager
def child(script: str, *args: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", script, *map(str, args)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline().strip()


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    workspace = open_workspace(tmp_path / "home")
    yield workspace.lake
    workspace.close()


def ids(lake: Lake, name: str, column: str) -> Counter[str]:
    return Counter(lake.read(name, columns=[column]).column(column).to_pylist())


@pytest.mark.parametrize("durability", ["process", "durable"])
def test_a_worker_killed_under_load_loses_no_acknowledged_request(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: str
) -> None:
    monkeypatch.setenv("MILLRACE_CAPTURE_DURABILITY", durability)
    lone_worker.deploy(tmp_path / "home")
    with lone_worker.running(tmp_path / "home") as worker:
        acknowledged: list[str] = []
        clients = [threading.Thread(target=_ask_until_dead, args=(worker, acknowledged)) for _ in range(4)]
        for client in clients:
            client.start()
        _wait(lambda: len(acknowledged) > 300, timeout_s=150)
        worker.process.send_signal(signal.SIGKILL)
        for client in clients:
            client.join()
    result = drain(lake, tmp_path / "home" / "capture")
    payload = ids(lake, "ml.logs.churn_payload", "databricks_request_id")
    assert set(payload.values()) == {1}
    assert set(acknowledged) <= set(payload)
    # What was logged and not acknowledged was under way when the worker died: at most one a client.
    assert len(payload) - len(acknowledged) <= 4
    assert ids(lake, "ml.logs.churn_predictions", "request_id") == payload
    assert (result.requests, result.rows) == (len(payload), len(payload))


def test_drains_killed_at_any_moment_give_each_record_once(lake: Lake, tmp_path: Path) -> None:
    root = tmp_path / "capture"
    expected = _fill(root, segments=40, each=20)
    kills = 0
    for wait_s in (0.0, 0.03, 0.06, 0.1, 0.14, 0.2):
        with child(DRAIN, tmp_path / "home", root) as process:
            assert first_line(process) == "ready"
            time.sleep(wait_s)
            process.send_signal(signal.SIGKILL)
            kills += process.wait() == -signal.SIGKILL
        _fill_more(root, expected)
    assert kills
    drain(lake, root)
    assert sealed(root) == []
    assert ids(lake, "ml.logs.churn_payload", "databricks_request_id") == Counter(expected)
    assert ids(lake, "ml.logs.churn_predictions", "request_id") == Counter(expected)


def test_two_drains_at_once_do_it_once(lake: Lake, tmp_path: Path) -> None:
    root = tmp_path / "capture"
    expected = _fill(root, segments=10, each=5)
    with child(DRAIN, tmp_path / "home", root) as one, child(DRAIN, tmp_path / "home", root) as two:
        drain(lake, root)
        assert (one.wait(240), two.wait(240)) == (0, 0)
    assert ids(lake, "ml.logs.churn_payload", "databricks_request_id") == Counter(expected)


_CHURN = Description(
    "id/1/churn-1",
    "ml.logs.churn",
    "churn",
    1,
    "churn-1",
    "ml.models.churn",
    "1",
    (("customer_id", "int64"),),
    (("a", "double"),),
)


def _fill(root: Path, segments: int, each: int, start: int = 0) -> list[str]:
    log = CaptureLog(root, "w0", SystemClock())
    names = [f"r-{number}" for number in range(start, start + segments * each)]
    for number, name in enumerate(names):
        log.write(_record(name), _CHURN)
        if number % each == each - 1:
            log.seal()
    log.close()
    return names


def _fill_more(root: Path, expected: list[str]) -> None:
    expected += _fill(root, segments=2, each=3, start=len(expected))


def _record(name: str) -> bytes:
    return kept(_CHURN, name, [([1], [0.5], 1, 0.7, [])])


def _ask_until_dead(worker: lone_worker.Worker, acknowledged: list[str]) -> None:
    url = f"http://127.0.0.1:{worker.port}{lone_worker.PATH}"
    with httpx.Client(timeout=60, headers=worker.headers) as client:
        while True:
            try:
                response = client.post(url, content=lone_worker.BODY)
            except httpx.HTTPError:
                return
            assert response.status_code == 200
            acknowledged.append(response.headers["databricks-request-id"])


def _wait(until: Any, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.01)
