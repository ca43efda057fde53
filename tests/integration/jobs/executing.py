"""Jobs that are executed by an engine in a thread of the test, in real processes."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from millrace.jobs.engine.engine import Engine
from millrace.jobs.job import SparkPythonTask, Work
from millrace.jobs.job_run import JobRun, RunId
from millrace.jobs.port import JobDesk
from millrace.jobs.repair import latest
from millrace.workspace import Workspace

PROGRAM = [sys.executable, "-I", "-S", str(Path(__file__).parents[1] / "job_program.py")]
_PATIENCE_S = 120.0


def does(*parameters: str) -> Work:
    return SparkPythonTask("program.py", parameters)


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + _PATIENCE_S
    while not what():
        assert time.monotonic() < until, "that did not come"
        time.sleep(0.02)


@contextmanager
def engine(workspace: Workspace, *, parallel: int = 4, grace_s: float = 5.0, kept_runs: int = 1_000) -> Iterator[None]:
    stop = threading.Event()
    one = Engine(workspace.jobs, workspace.home, PROGRAM, parallel=parallel, grace_s=grace_s, kept_runs=kept_runs)
    thread = threading.Thread(target=one.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(_PATIENCE_S)
        assert not thread.is_alive()


def over(desk: JobDesk, run_id: RunId) -> JobRun:
    wait_for(lambda: desk.runs.get(run_id).is_over)
    return desk.runs.get(run_id)


def results(desk: JobDesk, run_id: RunId) -> Mapping[str, object]:
    return {key: each.result_state for key, each in latest(desk.runs.tasks(run_id)).items()}


def lines(path: Path) -> list[list[str]]:
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def is_at_work(left: Path) -> bool:
    """Whether there is a process that writes to a file, which it was started with."""
    listed = subprocess.run(["ps", "-ww", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return str(left) in listed
