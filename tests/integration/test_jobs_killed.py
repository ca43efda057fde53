"""kill -9 of the executor, of keepers and of programs at random moments, while the clock jumps: each token runs once, and to its end."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from millrace.core.processes import is_alive
from millrace.jobs.engine import engine, lease
from millrace.jobs.job import ConditionTask, Job, SparkPythonTask, Task, TaskDependency
from millrace.jobs.job_run import RunId
from millrace.jobs.port import JobDesk
from millrace.jobs.put_job import put_job
from millrace.jobs.submit import submit
from millrace.workspace import Workspace, open_workspace
from tests.integration.children import children

_T = datetime(2025, 3, 1, 6, tzinfo=UTC)
_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="finds processes to kill under /proc")


@dataclass
class Executing:
    """The process that executes, and is killed and started again."""

    home: Path
    parallel: int = 4
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.home / "executor.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("job_executor.py")), str(self.home), str(self.parallel)],
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def wait_for_attempts(self) -> None:
        """Until there is a process to be orphaned; not for ever: there may be nothing to do."""
        until = time.monotonic() + 10
        while self.process is not None and not children(self.process.pid) and time.monotonic() < until:
            time.sleep(0.005)

    def kill_one_of_its_own(self, choice: Callable[[list[int]], int]) -> None:
        """A keeper or the program that it keeps."""
        assert self.process is not None
        keepers = children(self.process.pid)
        candidates = keepers + [child for keeper in keepers for child in children(keeper)]
        if candidates:
            with suppress(ProcessLookupError):
                os.kill(choice(candidates), signal.SIGKILL)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    workspace = open_workspace(tmp_path / "home")
    workspace.clock.set(_T)
    yield workspace
    workspace.close()


def _job(folder: Path, *, runs: int, processes: int, sleep_s: float) -> Job:
    """Tasks in processes one after the other, a condition, which needs none, and one that is not to run."""
    said = (f"alone={folder}", f"note={folder / 'notes'}", "output=n=7", f"sleep={sleep_s}")
    tasks = [
        Task(
            f"p{number}",
            SparkPythonTask("program.py", said),
            depends_on=[f"p{number - 1}"] if number else [],
            max_retries=-1,
            min_retry_interval_millis=10,
        )
        for number in range(processes)
    ]
    enough = Task("enough", ConditionTask("EQUAL_TO", "{{tasks.p0.output.n}}", "7"), depends_on=["p0"])
    never = Task("never", SparkPythonTask("program.py", said), depends_on=[TaskDependency("enough", "false")])
    return Job("ticks", [*tasks, enough, never], max_concurrent_runs=runs)


def _let_it_run(
    workspace: Workspace, *, tokens: int, kills: int, seed: int, patience_s: float, parallel: int = 4
) -> None:
    """Ask for all the runs, each at least once, while the executor is killed again and again; then let it finish."""
    random, desk, executing = np.random.default_rng(seed), workspace.jobs, Executing(workspace.home, parallel)
    until, asked, killed = time.monotonic() + patience_s, 0, 0
    executing.start()
    try:
        while asked < tokens or desk.runs.list(limit=1, unfinished=True):
            assert time.monotonic() < until, "it did not come to an end"
            for _ in range(int(random.integers(1, 1 + max(2, tokens // 20)))):
                if asked < tokens:
                    submit(desk, "ticks", token=f"tick-{asked}", trigger="PERIODIC", due=_T + timedelta(minutes=asked))
                    asked += 1
            submit(desk, "ticks", token=f"tick-{random.integers(asked)}", trigger="PERIODIC")
            workspace.clock.set(_T + timedelta(seconds=float(random.normal(0, 86_400 * 3))))
            time.sleep(float(random.exponential(0.25)))
            if killed < kills:
                killed += 1
                if random.random() < 0.8:  # else at any moment, its start too
                    executing.wait_for_attempts()
                    time.sleep(float(random.exponential(0.1)))
                if random.random() < 0.4:
                    executing.kill()
                    executing.start()
                else:
                    executing.kill_one_of_its_own(lambda those: int(random.choice(those)))
    finally:
        executing.kill()


def _check(desk: JobDesk, folder: Path, tokens: int, processes: int) -> None:
    keys = [f"p{number}" for number in range(processes)]
    runs = desk.runs.list(limit=10 * tokens)
    assert Counter(run.token for run in runs) == Counter(f"tick-{number}" for number in range(tokens))
    assert sorted(run.number for run in runs) == list(range(1, tokens + 1))
    assert Counter(run.result_state for run in runs) == {"SUCCESS": tokens}
    for run in runs:
        assert run.started_at is not None
        assert run.ended_at is not None
        assert run.created_at <= run.started_at <= run.ended_at
        attempts = desk.runs.tasks(run.run_id)
        assert all(each.is_over and each.result_state and each.ended_at for each in attempts), run.run_id
        assert all(each.ended_at >= each.started_at for each in attempts if each.ended_at and each.started_at)
        good = [each.task_key for each in attempts if each.result_state == "SUCCESS"]
        assert sorted(good) == ["enough", *keys]
        for key in keys:
            numbers = [each.attempt for each in attempts if each.task_key == key]
            assert numbers == list(range(len(numbers)))
    # What the programs themselves wrote down.
    assert list(folder.glob("*.overlap")) == []
    done: set[tuple[str, str]] = set()
    begun: Counter[tuple[str, str, str]] = Counter()
    for line in (folder / "notes").read_text().splitlines():
        run_id, key, attempt, what, *_ = line.split()
        assert (run_id, key) not in done, f"task {key} of run {run_id} ran again after it was done"
        if what == "end":
            done.add((run_id, key))
        else:
            begun[run_id, key, attempt] += 1
    assert max(begun.values()) == 1
    assert len({each[:2] for each in begun}) == processes * tokens
    events = desk.events.read(kind="job_run.terminated", limit=10 * tokens)
    assert Counter(event.data["run_id"] for event in events) == Counter(run.run_id for run in runs)


def _waiting(workspace: Workspace, folder: Path) -> RunId:
    """A run whose only task waits for a file `gate`."""
    said = (f"alone={folder}", f"note={folder / 'notes'}", f"until={folder / 'gate'}")
    put_job(workspace.jobs, Job("waits", [Task("a", SparkPythonTask("program.py", said))]))
    return submit(workspace.jobs, "waits")


def _begun(folder: Path) -> list[int]:
    """The processes that began, in their order."""
    notes = folder / "notes"
    lines = [line.split() for line in notes.read_text().splitlines()] if notes.exists() else []
    return [int(line[4]) for line in lines if line[3] == "begin"]


def _wait_for(what: Callable[[], bool], patience_s: float = 90.0) -> None:
    until = time.monotonic() + patience_s
    while not what():
        assert time.monotonic() < until, "that did not come"
        time.sleep(0.02)


def _attempts(workspace: Workspace, run_id: RunId) -> list[tuple[str, str | None]]:
    return [(each.life_cycle_state, each.result_state) for each in workspace.jobs.runs.tasks(run_id)]


@contextmanager
def _unaware(keeper: int) -> Iterator[Callable[[], object]]:
    """Hold a keeper's lifeline, so that it doesn't notice its executor's end; what this gives has it wait on, as its executor would.

    Stopping it won't do: the kernel lets stopped groups go on (SIGHUP, SIGCONT) when they become orphans.
    """
    words = Path(f"/proc/{keeper}/cmdline").read_bytes().split(b"\0")
    lifeline = next(word for word in words if word.isdigit()).decode()
    end = os.open(f"/proc/{keeper}/fd/{lifeline}", os.O_WRONLY)
    try:
        yield lambda: os.write(end, b"h")
    finally:
        os.close(end)


@pytest.mark.slow
@_LINUX
def test_an_attempt_whose_keeper_notices_nothing_is_ended_before_the_next_begins(
    workspace: Workspace, tmp_path: Path
) -> None:
    run_id, executing = _waiting(workspace, tmp_path), Executing(workspace.home)
    try:
        executing.start()
        _wait_for(lambda: len(_begun(tmp_path)) == 1)
        assert executing.process is not None
        with _unaware(*children(executing.process.pid)) as have_it_wait:
            executing.kill()
            have_it_wait()
            assert is_alive(_begun(tmp_path)[0])
            executing.start()
            _wait_for(lambda: len(_begun(tmp_path)) == 2)
        assert not is_alive(_begun(tmp_path)[0])
        (tmp_path / "gate").touch()
        _wait_for(lambda: workspace.jobs.runs.get(run_id).is_over)
    finally:
        executing.kill()
    assert list(tmp_path.glob("*.overlap")) == []
    assert _attempts(workspace, run_id) == [("INTERNAL_ERROR", "FAILED"), ("TERMINATED", "SUCCESS")]


def _stop(process: subprocess.Popen[bytes], database: Path) -> None:
    """Let it stand still, but not in the middle of a write, which would keep all others from theirs."""
    while True:
        process.send_signal(signal.SIGSTOP)
        with closing(sqlite3.connect(database, timeout=1)) as connection, suppress(sqlite3.OperationalError):
            connection.execute("BEGIN IMMEDIATE")
            return
        process.send_signal(signal.SIGCONT)
        time.sleep(0.1)


@pytest.mark.long
@_LINUX
def test_an_executor_that_stands_still_loses_its_attempts_and_wakes_up_as_a_stranger(
    workspace: Workspace, tmp_path: Path
) -> None:
    run_id, frozen, other = _waiting(workspace, tmp_path), Executing(workspace.home), Executing(workspace.home)
    try:
        frozen.start()
        _wait_for(lambda: len(_begun(tmp_path)) == 1)
        assert frozen.process is not None
        _stop(frozen.process, workspace.home / "millrace.db")
        _wait_for(lambda: not is_alive(_begun(tmp_path)[0]))  # by its keeper: nobody else is there yet
        log = workspace.jobs.runs.tasks(run_id)[0].log_path
        assert "the executor stands still" in Path(str(log)).read_text()
        other.start()
        _wait_for(lambda: len(_begun(tmp_path)) == 2)
        frozen.process.send_signal(signal.SIGCONT)
        woken = f"process {frozen.process.pid} lets go"
        _wait_for(lambda: woken in (workspace.home / "executor.log").read_text())
        assert is_alive(_begun(tmp_path)[1])
        (tmp_path / "gate").touch()
        _wait_for(lambda: workspace.jobs.runs.get(run_id).is_over)
    finally:
        frozen.kill()
        other.kill()
    assert list(tmp_path.glob("*.overlap")) == []
    assert _attempts(workspace, run_id) == [("INTERNAL_ERROR", "FAILED"), ("TERMINATED", "SUCCESS")]


def test_a_keeper_ends_its_attempt_before_the_lease_can_be_anothers() -> None:
    """It hears of a renewal that takes no longer than the pause between two; then come its fuse and the grace."""
    assert lease._RENEW_S + lease.FUSE_S + engine._GRACE_S <= lease.LEASE_S


@pytest.mark.long
@pytest.mark.timeout(1_200)
@_LINUX
def test_runs_of_long_tasks_survive_kills_of_all_that_executes_them(workspace: Workspace, tmp_path: Path) -> None:
    # Longer than an executor takes to start: what it left running would meet what it starts.
    put_job(workspace.jobs, _job(tmp_path, runs=4, processes=1, sleep_s=4.0))
    _let_it_run(workspace, tokens=4, kills=8, seed=1, patience_s=1_000)
    _check(workspace.jobs, tmp_path, tokens=4, processes=1)


@pytest.mark.long
@pytest.mark.timeout(1_600)
@_LINUX
def test_a_thousand_runs_survive_kills_of_all_that_executes_them(workspace: Workspace, tmp_path: Path) -> None:
    put_job(workspace.jobs, _job(tmp_path, runs=40, processes=1, sleep_s=0.02))
    _let_it_run(workspace, tokens=1_000, kills=60, seed=2, patience_s=1_500, parallel=12)
    _check(workspace.jobs, tmp_path, tokens=1_000, processes=1)
