"""How a server begins, survives the death of its parts, and ends: nothing is left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from millrace.api.discovery import find_server
from millrace.api.runtime import ServerInfo, read_info, write_info
from millrace.core.processes import is_alive
from millrace.workspace import open_workspace

pytestmark = pytest.mark.slow

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start supervisors; what is still running at the end is killed."""
    running: list[subprocess.Popen[str]] = []

    def run(home: Path, *options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "millrace.api.supervisor", "--home", str(home), *options]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, process_group=0)
        running.append(process)
        return process

    yield run
    for process in running:
        process.kill()
        process.communicate()


def test_the_life_of_a_server(start: Start, tmp_path: Path) -> None:
    home = tmp_path / "home"
    server = start(home, "--port", "0")
    info = _ready(home)
    assert info.pid == server.pid

    # A second server on the same home, and another home's on the same port.
    second = start(home, "--port", "0")
    assert "being served already" in _said(second)
    assert second.returncode == 1
    third = start(tmp_path / "other", "--port", info.url.rpartition(":")[2])
    assert "can't be used" in _said(third)
    assert third.returncode == 1

    # A worker that is killed is replaced, and a request that comes meanwhile waits for the new one.
    headers = {"authorization": f"Bearer {(home / 'token').read_text().strip()}"}
    with httpx.Client(base_url=info.url, headers=headers, timeout=120) as client:
        worker = client.get("/api/millrace/status").json()["workers"][0]["pid"]
    os.kill(worker, signal.SIGKILL)
    _until(lambda: not is_alive(worker))
    with httpx.Client(base_url=info.url, headers=headers, timeout=120) as client:
        assert client.get("/health/live").status_code == 200
        replaced = client.get("/api/millrace/status").json()["workers"][0]
    assert replaced["ready"]
    assert replaced["pid"] != worker

    # Ctrl-C.
    children = _children(server.pid)
    assert len(children) == 2  # the worker, and control, which was asked for the status
    server.send_signal(signal.SIGINT)
    assert server.wait(90) == 0
    assert not any(is_alive(child) for child in children)
    assert not (home / "server.json").exists()
    assert not (home / "run").exists()


def test_children_end_when_the_supervisor_is_killed(start: Start, tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path)
    workspace.clock.set(datetime(2025, 3, 1, tzinfo=UTC))
    workspace.close()
    server = start(tmp_path, "--port", "0")
    _ready(tmp_path)
    info = read_info(tmp_path)
    assert info
    headers = {"authorization": f"Bearer {(tmp_path / 'token').read_text().strip()}"}
    for path in ("/health", "/health/live", "/health/started", "/health/ready"):
        assert httpx.get(info.url + path, headers=headers, timeout=120).status_code == 200
    assert len(_children(server.pid)) == 1  # nobody has asked for more than a worker answers
    drained = httpx.post(info.url + "/api/millrace/capture/drain", headers=headers, timeout=120)
    assert drained.json()["segments"] == 0
    children = _children(server.pid)
    assert len(children) == 3
    server.kill()
    _until(lambda: not any(is_alive(child) for child in children))
    # The address that it left behind is not believed, and a new server can start.
    assert read_info(tmp_path) is not None
    assert find_server(tmp_path) is None


def test_an_address_that_another_server_took_is_not_believed(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        write_info(tmp_path, ServerInfo(url, os.getpid(), "instance"))
        nobody.close()
        assert find_server(tmp_path) is None


def test_a_home_from_a_newer_millrace_is_refused(start: Start, tmp_path: Path) -> None:
    from millrace.database.engine import open_database
    from millrace.database.settings import HomeSettings

    engine = open_database(f"sqlite:///{tmp_path / 'millrace.db'}")
    HomeSettings(engine).set("schema_version", 99)
    engine.dispose()
    server = start(tmp_path, "--port", "0")
    said = _said(server)
    assert "schema version 99" in said
    assert "hint: upgrade millrace" in said
    assert "Traceback" not in said
    assert server.returncode == 1


def _said(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=120)[1]


def _ready(home: Path) -> ServerInfo:
    _until(lambda: read_info(home) is not None, within_s=120)
    info = find_server(home)
    assert info
    return info


def _until(condition: Callable[[], bool], within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def _children(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=True)
    return [int(line) for line in listed.stdout.split()]
