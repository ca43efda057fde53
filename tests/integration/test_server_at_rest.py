"""A server that nobody asks comes to rest, and is there again for who comes then."""

from __future__ import annotations

import io
import os
import subprocess
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace.core.processes import is_alive
from millrace.jobs.job import ConditionTask, CronSchedule, Job, Task
from millrace.jobs.put_job import put_job
from millrace.jobs.submit import submit
from millrace.serving.capture.held import HELD
from millrace.serving.capture.records import Record, read_payload
from millrace.serving.capture.segments import OPEN, SEALED, read_segment
from millrace.workspace import open_workspace
from tests.integration.chaos_clients import wait
from tests.integration.chaos_server import check, home_with, rows, serving
from tests.integration.constant_model import register_linear

_ON_DEMAND = ("control", "drain_loop")
_REST_S = 280  # control stays for two minutes


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(600)
# MLflow's own, while models are logged in the test's process.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_control_and_the_drain_end_and_come_back(tmp_path: Path) -> None:
    home = home_with(1, tmp_path / "home")
    with serving(home) as server:
        assert server.pids("scheduler") == []
        clients = server.deploy("rest")
        with clients.asking(2) as account:
            account.grow_by(200)
        wait(lambda: bool(server.pids("drain_loop")))  # a worker has told it
        were = [pid for part in _ON_DEMAND for pid in server.pids(part)]
        wait(lambda: not any(is_alive(pid) for pid in were), within_s=_REST_S)
        assert [server.pids(part) for part in _ON_DEMAND] == [[], []]
        # It left nothing behind: before anybody asks for a drain, all rows are there.
        assert rows(home, "rest") == Counter(account.acknowledged)
        with server.http() as http:
            status = http.get("/api/millrace/status").json()
        assert [worker["served"] for worker in status["workers"]] == [{"rest": 1}]
        (control,) = server.pids("control")
        assert control not in were
        server.drain()
        assert len(server.pids("drain_loop")) == 1
        check(account, rows(home, "rest"))


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_what_was_captured_last_is_drained_when_the_server_ends(tmp_path: Path) -> None:
    """Where the time is enough, that is: one of three does it, however a machine stalls. What is left waits for the next start."""
    home, asked, left = home_with(1, tmp_path / "home"), dict[str, Counter[str]](), set[str]()
    for name in ("last0", "last1", "last2"):
        with serving(home) as server, server.deploy(name).asking(2) as account:
            account.grow_by(20)
        assert (account.failed, account.dropped, account.unanswered) == ([], [], 0)
        asked[name], left = Counter(account.acknowledged), _left(home)
        assert asked[name].keys() <= _drained(home, name) | left
        if not left:
            break
    assert not left, "none of three was drained in time"
    assert rows(home, name) == asked[name]
    with serving(home) as server:
        server.drain()
    assert {name: rows(home, name) for name in asked} == asked


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_a_worker_gives_back_what_a_request_made_it_import(tmp_path: Path) -> None:
    """It is the same process, and nobody is sent away: who comes while it starts anew is answered."""
    home = home_with(0, tmp_path / "home")
    with closing(open_workspace(home)) as workspace:
        register_linear(workspace)
    with serving(home) as server:
        server.deploy("lean")
        (worker,) = server.pids("worker")
        with server.http() as http:
            assert http.post(_LEAN, content=_parquet(2.0), headers=_PARQUET).json() == {"predictions": [1]}
            assert not _has(worker, "libarrow")
            (beside,) = _children(worker)
            assert _has(beside, "libparquet")
            assert http.post(_LEAN, content=_packed(2.0), headers=_ARROW).json() == {"predictions": [1]}
            grown, stop = _memory_bytes(worker), time.monotonic() + _REST_S
            assert _has(worker, "libarrow")
        wait(lambda: not _children(worker), within_s=60)
        while _has(worker, "libarrow"):
            assert time.monotonic() < stop, "it has not started anew"
            time.sleep(0.02)
        # Right in the middle of its start.
        with server.http() as http:
            assert http.post(_LEAN, json={"instances": [[2.0], [-2.0]]}).json() == {"predictions": [1, 0]}
        assert server.pids("worker") == [worker]
        assert _memory_bytes(worker) < grown - (16 << 20)
        with server.http() as http:
            assert http.post(_LEAN, content=_parquet(-2.0), headers=_PARQUET).json() == {"predictions": [0]}


_LEAN = "/serving-endpoints/lean/invocations"
_PARQUET = {"content-type": "application/vnd.apache.parquet"}
_ARROW = {"content-type": "application/vnd.apache.arrow.stream"}


def _parquet(x: float) -> bytes:
    written = io.BytesIO()
    pq.write_table(pa.table({"x": [x]}), written)
    return written.getvalue()


def _packed(x: float) -> bytes:
    written, table = io.BytesIO(), pa.table({"x": [x]})
    with pa.ipc.new_stream(written, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return written.getvalue()


def _children(pid: int) -> list[int]:
    """The processes that a process has started, those that it has not yet seen end among them."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(each) for each in listed.stdout.split()]


def _has(pid: int, library: str) -> bool:
    """Whether a process has a library in memory."""
    return library in Path(f"/proc/{pid}/maps").read_text()


def _memory_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _left(home: Path) -> set[str]:
    """Ids of the requests that wait in the capture folder, each of them whole."""
    found = [read_segment(path) for path in (home / "capture").glob("*.*") if path.suffix in (OPEN, SEALED, HELD)]
    assert [contents.damaged for contents in found if contents.damaged] == []
    read = [read_payload(payload) for contents in found for payload in contents.payloads]
    return {each.id for each in read if isinstance(each, Record)}


def _drained(home: Path, name: str) -> set[str]:
    """Ids of the requests that are in both tables: a drain that was killed may have come to one of them only."""
    with closing(open_workspace(home)) as workspace:
        tables = [(f"logs.{name}_payload", "databricks_request_id"), (f"logs.{name}_predictions", "request_id")]
        if not all(workspace.lake.exists(table) for table, _ in tables):
            return set()
        payload, predictions = (
            set(workspace.lake.read(table, columns=[column]).column(column).to_pylist()) for table, column in tables
        )
    return payload & predictions


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_scheduler_is_there_while_jobs_need_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with closing(open_workspace(home)) as workspace, serving(home) as server:
        put_job(workspace.jobs, Job("a", [Task("only", ConditionTask("EQUAL_TO", "1", "1"))]))
        run = submit(workspace.jobs, "a")
        wait(lambda: workspace.jobs.runs.get(run).is_over, within_s=180)
        put_job(
            workspace.jobs, Job("b", [Task("only", ConditionTask("EQUAL_TO", "1", "1"))], CronSchedule("0 0 6 1 1 ?"))
        )
        wait(lambda: len(server.pids("scheduler")) == 1, within_s=180)
        workspace.jobs.jobs.remove("b")
        wait(lambda: not server.pids("scheduler"), within_s=_REST_S)
        wait(lambda: len(server.pids("control")) == 0)  # nobody asked for it
