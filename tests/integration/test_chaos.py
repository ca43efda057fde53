"""Parts of a whole server are killed, its disk fills up, its models are swapped, all under load.

Every time the same law: rows in Delta = acknowledged - declared drops, each once. A request whose answer was never read,
because its connection died with a process, may be there or not: the law is then that at most those are there beside.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import httpx
import pytest

from millrace.core.processes import is_alive
from millrace.serving.capture.segments import framed
from millrace.workspace import open_workspace
from tests.integration.chaos_clients import Answer, wait
from tests.integration.chaos_server import ENDPOINTS, Server, check, config, home_with, rows, serving
from tests.integration.constant_model import register_boosted

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    # MLflow's own, while models are logged in the test's process.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

# What each answers. In memory are the one that answers and the one before: each of three in turn is loaded anew.
VERSIONS = {"1": 0, "2": 1, "3": 2}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = home_with(2, tmp_path_factory.mktemp("chaos") / "home")
    with closing(open_workspace(home)) as workspace:
        register_boosted(workspace, VERSIONS["3"])
    with serving(home, workers=2) as running:
        yield running


def test_workers_killed_under_load(server: Server) -> None:
    with server.deploy("workers").asking(6) as account:
        for _ in range(4):
            account.grow_by(200)
            server.kill("worker")
    server.drain()
    assert account.unanswered <= 4 * 6
    check(account, rows(server.home, "workers"))


def test_the_drain_and_control_killed_under_load(server: Server) -> None:
    with server.deploy("drains").asking(4) as account:
        for number in range(6):
            account.grow_by(100)
            # Two drains at once: control's, asked for here, and the drain process's own. Either is killed under way.
            with server.http() as http, suppress(httpx.HTTPError):
                http.post("/api/millrace/capture/drain", timeout=0.01 + 0.05 * number)
            server.kill("control" if number % 2 else "drain_loop")
    server.drain()
    assert account.unanswered == 0
    found = rows(server.home, "drains")
    check(account, found)
    assert found == Counter(account.acknowledged)


@pytest.mark.alone
def test_a_hundred_versions_swapped_under_load(server: Server) -> None:
    clients, versions = server.deploy("swaps"), cycle(VERSIONS)
    stints, paths = [Stint(next(versions), time.monotonic())], dict[str, str]()
    with server.http() as http, clients.asking(6) as account:
        for number in range(100):
            if number in (30, 60):  # what comes next is proved anew too
                shutil.rmtree(server.home / "serving")
            stints.append(Stint(next(versions), time.monotonic()))
            _swap(http, stints[-1].version)
            stints[-2].until_s = time.monotonic()
            account.grow_by(10)
            paths[stints[-1].version] = _path(http)
    server.drain()
    assert (account.failed, account.unanswered) == ([], 0)
    assert [each for each in account.answers if not any(stint.gave(each) for stint in stints)] == []
    assert {each.model for each in account.answers} == {f"churn-{version}" for version in VERSIONS}
    assert paths["3"].startswith("onnx"), paths
    assert rows(server.home, "swaps") == Counter(account.acknowledged)


@dataclass
class Stint:
    """When (by time.monotonic) a version may have answered: from the start of its update to the end of the next one."""

    version: str
    since_s: float
    until_s: float = math.inf

    def gave(self, answer: Answer) -> bool:
        """Whether an answer may be of this version at that time, and is what it answers."""
        said = (f"churn-{self.version}", [VERSIONS[self.version]])
        is_then = answer.read_s >= self.since_s and answer.asked_s <= self.until_s
        return is_then and said == (answer.model, answer.predictions)


def _swap(http: httpx.Client, version: str) -> None:
    changed = http.put(f"{ENDPOINTS}/swaps/config", json=config(version))
    assert changed.status_code == 200, changed.text
    state: dict[str, str] = changed.json()["state"]
    while state["config_update"] == "IN_PROGRESS":
        time.sleep(0.02)
        state = http.get(f"{ENDPOINTS}/swaps").json()["state"]
    assert state["config_update"] == "NOT_UPDATING", state


def _path(http: httpx.Client) -> str:
    """How the version that answers predicts."""
    endpoints = http.get("/api/millrace/status").json()["endpoints"]
    ((_, path),) = next(each["paths"] for each in endpoints if each["name"] == "swaps").items()
    return str(path).partition(":")[0]


@pytest.mark.alone
def test_the_supervisor_killed_under_load(tmp_path: Path) -> None:
    home = home_with(1, tmp_path / "home")
    with serving(home) as running, running.deploy("killed").asking(6) as account:
        account.grow_by(500)
        children = running.pids()
        os.kill(running.pid, signal.SIGKILL)
        wait(lambda: not any(is_alive(pid) for pid in children))
    assert not list((home / "capture").glob("*.open"))  # the workers came to close them
    with serving(home) as again:
        again.drain()
    check(account, rows(home, "killed"))


_HALF = framed(b"R" + b"x" * 1000)[:500]


@pytest.mark.alone
@pytest.mark.parametrize(("torn", "aside"), [(_HALF, []), (b"\0" * 500, [b"\0" * 500])], ids=["half", "zeros"])
def test_all_processes_killed_under_load_and_a_torn_last_frame(tmp_path: Path, torn: bytes, aside: list[bytes]) -> None:
    """A frame of which half is there, and one whose place is in the file and its bytes are not: what a power cut may leave."""
    home = home_with(1, tmp_path / "home")
    with serving(home) as running, running.deploy("killed").asking(6) as account:
        account.grow_by(500)
        wait(lambda: _has_written(home / "capture"))
        running.crash()
    (left,) = (home / "capture").glob("*.open")
    with left.open("ab") as file:
        file.write(torn)
    with serving(home) as again:
        again.drain()
    check(account, rows(home, "killed"))
    assert [path.read_bytes() for path in (home / "capture").glob("*.aside")] == aside


@pytest.mark.alone
@pytest.mark.parametrize("what", ["quota", "disk"])
def test_a_full_disk_under_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    home = home_with(1, tmp_path / "home")
    with _little_room(home / "capture", monkeypatch, what), serving(home) as running:
        with running.deploy(what).asking(4) as account:
            # The drain process makes room now and then: records are dropped, and kept again.
            wait(lambda: len(account.dropped) > 50)
            kept = len(account.acknowledged)
            running.drain()
            wait(lambda: len(account.acknowledged) > kept + 50)
        running.drain()
        with running.http() as http:
            (worker,) = http.get("/api/millrace/status").json()["workers"]
    assert account.unanswered == 0
    assert rows(home, what) == Counter(account.acknowledged)
    assert account.failed == []
    assert worker["capture"]["dropped"] == len(account.dropped)


def _has_written(folder: Path) -> bool:
    """Whether a segment that is open has something in it."""
    with suppress(FileNotFoundError):  # it was sealed meanwhile
        return any(path.stat().st_size for path in folder.glob("*.open"))
    return False


@contextmanager
def _little_room(folder: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> Iterator[None]:
    """A disk of its own of 256 KB for the folder, or a quota of that."""
    folder.mkdir()
    if what == "quota":
        monkeypatch.setenv("MILLRACE_CAPTURE_QUOTA_BYTES", str(256 << 10))
    elif not _mount(folder):
        pytest.skip("a disk of its own needs the right to mount one")
    try:
        yield
    finally:
        if what == "disk":
            subprocess.run(["umount", str(folder)], check=True)


def _mount(folder: Path) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    return os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0
