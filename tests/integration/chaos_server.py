"""A whole server for tests that kill its parts, fill its disk or let it rest, and what became of what was asked of it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from millrace.api.discovery import running_server
from millrace.core.processes import is_alive
from millrace.workspace import open_workspace
from tests.integration.chaos_clients import Account, Clients, wait
from tests.integration.constant_model import MODEL, register_constant

ENDPOINTS = "/api/2.0/serving-endpoints"


@dataclass(frozen=True)
class Server:
    """A server under test and one endpoint of it."""

    home: Path
    url: str
    pid: int
    token: str

    def http(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {self.token}"}, timeout=60)

    def deploy(self, name: str) -> Clients:
        """An endpoint that captures; clients for it."""
        capture = {"schema_name": "logs", "table_name_prefix": name}
        with self.http() as http:
            # The first update of a server waits for MLflow.
            http.post(ENDPOINTS, json={"name": name, "config": {**config("1"), "auto_capture_config": capture}})
            wait(lambda: http.get(f"{ENDPOINTS}/{name}").json()["state"]["ready"] == "READY")
        return Clients(self.url, self.token, name)

    def pids(self, part: str = "") -> list[int]:
        """The processes of a part: `worker`, `drain_loop`, `control`; of all parts unless told."""
        listed = subprocess.run(
            ["ps", "-o", "pid=,args=", "--ppid", str(self.pid)], capture_output=True, text=True, check=True
        )
        name = f"millrace.api.{part} " if part else "millrace.api."
        return [int(line.split()[0]) for line in listed.stdout.splitlines() if name in line]

    def kill(self, part: str) -> None:
        """Kill one process of a part with -9, and wait until another has taken its place."""
        wait(lambda: bool(self.pids(part)))  # control and the drain come when they are needed
        before = self.pids(part)
        os.kill(before[0], signal.SIGKILL)
        wait(lambda: not is_alive(before[0]) and len(self.pids(part)) == len(before))

    def crash(self) -> None:
        """Kill all processes with -9, as the end of the machine would: none gets to close what it has open, or to replace another."""
        os.kill(self.pid, signal.SIGSTOP)
        everyone = [*self.pids(), self.pid]  # itself last: its end would have the others finish
        for pid in everyone:
            os.kill(pid, signal.SIGKILL)
        wait(lambda: not any(map(is_alive, everyone)))

    def drain(self) -> None:
        """Have everything that was captured moved into the lake."""
        with self.http() as http:
            wait(lambda: _is_done(http.post("/api/millrace/capture/drain")))


def _is_done(response: httpx.Response) -> bool:
    return response.status_code == 200 and response.json()["held"] == 0


def config(version: str) -> dict[str, object]:
    return {"served_entities": [{"entity_name": MODEL, "entity_version": version}]}


@contextmanager
def serving(home: Path, workers: int = 1) -> Iterator[Server]:
    with running_server(home, workers=workers) as info:
        yield Server(home, info.url, info.pid, (home / "token").read_text().strip())


def home_with(versions: int, home: Path) -> Path:
    """A home with so many versions of a model."""
    workspace = open_workspace(home)
    for answer in range(versions):
        register_constant(workspace, answer)
    workspace.close()
    return home


def rows(home: Path, name: str) -> Counter[str]:
    """Request ids in the payload table, and how often; the predictions table has the same."""
    workspace = open_workspace(home)
    try:
        found = [
            Counter(workspace.lake.read(f"logs.{name}_{table}", columns=[column]).column(column).to_pylist())
            for table, column in (("payload", "databricks_request_id"), ("predictions", "request_id"))
        ]
    finally:
        workspace.close()
    assert found[0] == found[1]
    return found[0]


def check(account: Account, found: Counter[str]) -> None:
    """The law."""
    assert account.failed == []
    assert set(found.values()) == {1}
    assert set(account.acknowledged) - set(found) == set(), "acknowledged, and not there"
    beside = set(found) - set(account.acknowledged)
    assert not beside & set(account.dropped), "there, and said to be dropped"
    assert len(beside) <= account.unanswered
