"""Executing runs in this process, where no other does it for the home, or until another does."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from millrace.core.errors import InvalidState, first_line
from millrace.core.processes import is_alive
from millrace.jobs.engine.fence import host
from millrace.jobs.job_run import JobRun, RunId
from millrace.jobs.port import EXECUTOR, JobDesk
from millrace.targets.local_server import is_served

PROGRAM: Final[Sequence[str]] = (sys.executable, "-m", "millrace.tasks.attempt")

_LOOK_S = 1.0


def is_executed(desk: JobDesk, home: Path) -> bool:
    """Whether some process executes the home's runs: a server, which takes the lease when there is something to do, or who has it.

    One that was killed has the lease for a while still.
    """
    if is_served(home):
        return True
    where, _, rest = (desk.leases.holder(EXECUTOR) or "").partition(":")
    pid = rest.partition(":")[0]
    return bool(where) and (where != host() or (pid.isdecimal() and is_alive(int(pid))))


@contextmanager
def executing(home: Path, run_id: RunId) -> Iterator[Callable[[], None]]:
    """Execute what is queued in the home, in a thread of this process, while the block runs; all of it, not the one run alone.

    Where the home has a server, or another process has the lease, that one executes, and this one takes over if it ends. Runs of others that have begun here
    are executed to their end, so that nobody's work is thrown away; leaving the block by an exception ends them at once, and
    whoever executes next goes on with them.

    Yields:
        A function that raises where the thread has ended before its time.
    """
    stop, done = threading.Event(), threading.Event()
    failed: list[BaseException] = []

    def execute() -> None:
        from millrace.jobs.engine.engine import Engine
        from millrace.workspace import open_workspace

        try:
            with closing(open_workspace(home)) as workspace:
                desk = workspace.jobs
                while not done.is_set() and is_served(workspace.home):
                    if stop.wait(_LOOK_S):
                        return
                engine = Engine(desk, workspace.home, PROGRAM, kept_runs=workspace.settings.kept_runs)
                engine.run(stop, lambda: done.is_set() and not _others(desk, run_id))
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            failed.append(error)

    def check() -> None:
        if failed:
            raise InvalidState(
                f"executing jobs failed: {first_line(failed[0])}", hint="the run is kept; ask for it again"
            ) from failed[0]

    thread = threading.Thread(target=execute, name="jobs-engine", daemon=True)
    thread.start()
    try:
        yield check
        done.set()
    except BaseException:
        stop.set()
        raise
    finally:
        thread.join()


def _is_ours(desk: JobDesk) -> bool:
    """Whether it is this process that executes."""
    return (desk.leases.holder(EXECUTOR) or "").startswith(f"{host()}:{os.getpid()}:")


def _others(desk: JobDesk, run_id: RunId) -> list[JobRun]:
    """Runs that have begun, beside this one, and that this process executes."""
    if not _is_ours(desk):
        return []
    return [run for run in desk.runs.list(unfinished=True) if run.run_id != run_id and run.started_at is not None]
