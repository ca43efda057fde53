"""JupyterLab as `millrace notebook` opens it: a cell through its own API."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from millrace.core.processes import is_alive

pytestmark = pytest.mark.slow

_PATIENCE_S = 120


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A JupyterLab over an empty home, and what it said of itself."""
    (tmp_path / "user").mkdir()
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("MILLRACE_", "JUPYTER"))}
    command = [sys.executable, "-m", "millrace.cli.main", "notebook", str(tmp_path), "--port", "0", "--json"]
    child = subprocess.Popen(
        [*command, "--home", str(tmp_path / "home")],
        env=ours | {"HOME": str(tmp_path / "user")},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        yield child, json.loads(child.stdout.readline())
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
        child.communicate(timeout=_PATIENCE_S)


def execute(url: str, token: str, kernel: str, code: str) -> tuple[str, dict[str, Any]]:
    """What a cell printed, and the kernel's reply."""
    header = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": "execute_request",
        "username": "",
        "session": "s",
        "version": "5.3",
    }
    content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    printed, reply, idle = "", None, False
    address = url.replace("http", "ws") + f"api/kernels/{kernel}/channels?token={token}"
    with connect(address, open_timeout=_PATIENCE_S) as socket:
        socket.send(json.dumps(message))
        while reply is None or not idle:
            got = json.loads(socket.recv(timeout=_PATIENCE_S))
            if got["parent_header"].get("msg_id") != header["msg_id"]:
                continue
            printed += got["content"].get("text", "") if got["msg_type"] == "stream" else ""
            idle = idle or got["content"].get("execution_state") == "idle"
            reply = got["content"] if got["msg_type"] == "execute_reply" else reply
    return printed, reply


def test_a_cell_in_jupyterlab_has_the_names_and_the_home(
    lab: tuple[subprocess.Popen[str], dict[str, Any]], tmp_path: Path
) -> None:
    child, info = lab
    token = Path(info["token_file"]).read_text()
    assert Path(info["token_file"]).stat().st_mode & 0o077 == 0
    assert info["url"].startswith("http://127.0.0.1:")
    assert httpx.get(f"{info['url']}api/kernels", timeout=_PATIENCE_S).status_code == 403
    asking = httpx.Client(base_url=info["url"], headers={"Authorization": f"token {token}"}, timeout=_PATIENCE_S)
    specs = asking.get("api/kernelspecs").json()
    assert (specs["default"], sorted(specs["kernelspecs"])) == ("millrace", ["millrace", "python3"])
    opened = {"path": "work/a.ipynb", "name": "a.ipynb", "type": "notebook", "kernel": {"name": "python3"}}
    kernel = asking.post("api/sessions", json=opened).json()["kernel"]["id"]
    code = """
import os
print(os.getpid(), os.environ["MLFLOW_EXPERIMENT_NAME"])
print(spark.sql("SELECT 41 + 1 AS n").collect()[0].n, dbutils.widgets.getAll(), os.environ["MLFLOW_TRACKING_URI"], os.environ["TZ"])
"""
    printed, reply = execute(info["url"], token, kernel, code)
    assert reply["status"] == "ok", reply
    first, said = printed.splitlines()
    pid, experiment = first.split()
    assert experiment == "/a"
    assert said == f"42 {{}} sqlite:///{tmp_path / 'home' / 'mlflow.db'} UTC"
    _, reply = execute(info["url"], token, kernel, "%pip install x")
    assert "which can't run here" in reply["evalue"]

    asking.close()
    child.send_signal(signal.SIGINT)
    assert child.wait(_PATIENCE_S) == 0
    _until_gone(int(pid))
    assert not Path(info["token_file"]).exists()
    # Nothing was written into the user's own folders.
    assert [str(path) for path in (tmp_path / "user").rglob("*") if "jupyter" in str(path).lower()] == []
    assert [path.name for path in (tmp_path / "user").rglob(".ipython")] == []


@pytest.mark.long
def test_it_ends_with_its_parent(lab: tuple[subprocess.Popen[str], dict[str, Any]]) -> None:
    child, info = lab
    child.kill()
    child.wait()
    _until_gone(info["pid"])


def _until_gone(pid: int) -> None:
    until = time.monotonic() + 60
    while is_alive(pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not is_alive(pid)
