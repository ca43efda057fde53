"""Processes that evaluate, tell and deliver alerts are killed at random moments: receivers see every change of state, under one key."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from millrace.workspace import open_workspace
from tests.integration.alert_receiver import SECRET

_HERE = Path(__file__).parent


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[str]:
    """The URL of a receiver, whose log is `received`."""
    with subprocess.Popen(
        [sys.executable, _HERE / "alert_receiver.py", tmp_path / "received"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        port = process.stdout.readline().strip()
        secret = "whsec_" + base64.urlsafe_b64encode(SECRET).decode()
        yield f"webhook+http://{secret}@127.0.0.1:{port}/hooks"
        process.kill()


@pytest.fixture
def worker(tmp_path: Path, receiver: str) -> Iterator[subprocess.Popen[str]]:
    """Forks a worker for each line; says its number, then how it ended."""
    with subprocess.Popen(
        [sys.executable, _HERE / "alert_worker.py", tmp_path / "home", receiver],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


def life(worker: subprocess.Popen[str], killed_after_s: float | None) -> int:
    """One worker's life: its exit code, negative where it was killed."""
    assert worker.stdin
    assert worker.stdout
    worker.stdin.write("live\n")
    worker.stdin.flush()
    number = int(worker.stdout.readline())
    if killed_after_s is not None:
        time.sleep(killed_after_s)
        os.kill(number, signal.SIGKILL)  # it is not reaped before the next line: the number is still its own
    worker.stdin.write("tell\n")
    worker.stdin.flush()
    return int(worker.stdout.readline())


@pytest.mark.parametrize("kills", [pytest.param(4, marks=pytest.mark.slow), pytest.param(30, marks=pytest.mark.long)])
def test_every_change_of_state_is_received_under_one_key(
    worker: subprocess.Popen[str], tmp_path: Path, kills: int
) -> None:
    generator = np.random.default_rng(kills)
    for delay in generator.uniform(0.02, 0.8, kills):
        if life(worker, delay) == 0:
            break
    assert life(worker, None) == 0

    received = Counter((tmp_path / "received").read_text().split())
    workspace = open_workspace(tmp_path / "home")
    posted = [message.key for message in workspace.episodes.posted(limit=10_000)]
    events = [event.kind.removeprefix("episode.") for event in workspace.events.read(limit=10_000)]
    episodes = workspace.episodes.list(limit=1000)
    waiting, dead = workspace.alerts.outbox.waiting(), workspace.alerts.outbox.dead()
    workspace.close()

    assert (list(waiting), list(dead)) == ([], [])
    assert len(set(posted)) == len(posted)
    assert set(received) == set(posted)
    changes = Counter(key.partition("/")[0] for key in received)
    assert changes["opened"] == events.count("opened") == len(episodes)
    assert changes["resolved"] == events.count("resolved") == sum(one.status == "resolved" for one in episodes)
    assert changes["opened"] > 10
    assert changes["repeated"] > 0
    # What was sent twice was sent when a kill came between sending and marking.
    assert sum(received.values()) - len(received) <= kills
