"""The scheduler process: makes the runs that are due, and executes what is queued.

A home without jobs costs it next to nothing: until there is one, it looks with SQLite's driver alone, once a second. What
executes is there only while there is something to execute: some time after the last run it begins anew, without what that took.
"""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import sys
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from millrace.api import lifeline, logs
from millrace.api.options import ChildOptions
from millrace.core.principal import system
from millrace.core.settings import Settings
from millrace.database.reading import reader

if TYPE_CHECKING:
    from millrace.jobs.schedules.scheduler import Scheduler
    from millrace.workspace import Workspace

# How often it is asked whether something changed: one small read, so a change is seen within this time.
_LOOK_S = 1.0
# What came into being moments ago is not worth beginning anew for.
_IDLE_S = 60.0
_GRACE_S = 1.5
_PAUSE_S = 5.0
_PROGRAM = "millrace.tasks.attempt"
# Who asks for predictions goes first.
_NICE = 5
_log = logging.getLogger(__name__)


def wait_for_jobs(settings: Settings, stop: threading.Event) -> bool:
    """Wait until the home has a job; False where we are to stop before. A database that is no file is not waited for."""
    while not stop.is_set():
        opened = reader(settings.database_url)
        if opened is None:
            return True
        try:
            while not opened.rows("SELECT 1 FROM jobs LIMIT 1"):
                if stop.wait(_LOOK_S):
                    return False
        except sqlite3.Error:
            _log.warning("the workspace database can't be read; it is tried again", exc_info=True)
            stop.wait(_PAUSE_S)
        else:
            return True
        finally:
            opened.close()
    return False


class Executing:
    """The engine, in a thread of its own while there are runs that have not ended."""

    def __init__(self, workspace: Workspace, stop: threading.Event) -> None:
        self._workspace, self._stop = workspace, stop
        self._thread: threading.Thread | None = None
        self._cursor = -1
        self._busy_s: float | None = None

    def look(self) -> None:
        """Start the engine where something waits for it."""
        newest = self._workspace.events.newest()
        if newest == self._cursor or self._is_running:
            return
        # What was queued is in the log: nothing new there is nothing to execute.
        self._cursor = newest
        if self._is_wanted():
            self._thread = threading.Thread(target=self._execute, name="engine")
            self._thread.start()

    @property
    def is_idle(self) -> bool:
        """Whether it executed something, and nothing for a while since."""
        return not self._is_running and self._busy_s is not None and time.monotonic() - self._busy_s > _IDLE_S

    def join(self) -> None:
        """Wait for its end, once it is told to stop."""
        if self._thread is not None:
            self._thread.join()

    @property
    def _is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _is_wanted(self) -> bool:
        return bool(self._workspace.jobs.runs.list(limit=1, unfinished=True))

    def _execute(self) -> None:
        from millrace.jobs.engine.engine import Engine

        workspace, program = self._workspace, [sys.executable, "-m", _PROGRAM]
        kept_runs = workspace.settings.kept_runs
        engine = Engine(workspace.jobs, workspace.home, program, grace_s=_GRACE_S, kept_runs=kept_runs)
        engine.run(self._stop, until=lambda: not self._is_wanted())
        self._busy_s, self._cursor = time.monotonic(), -1


def run(workspace: Workspace, stop: threading.Event) -> bool:
    """Schedule and execute until told to stop; or until idle: True."""
    from millrace.jobs.schedules.scheduler import Scheduler

    scheduler, executing = Scheduler(workspace.schedules), Executing(workspace, stop)
    try:
        pause_s = 0.0
        while not stop.wait(pause_s):
            pause_s = _look(workspace, scheduler, executing)
            if executing.is_idle:
                return True
        return False
    finally:
        executing.join()


def _look(workspace: Workspace, scheduler: Scheduler, executing: Executing) -> float:
    """Do what is due; how long to wait then."""
    try:
        scheduler.look()
        executing.look()
        due = scheduler.next_due
        now = workspace.clock.now()
    except Exception:  # noqa: BLE001 - the boundary of the loop: nothing is lost, all is in the database
        _log.exception("scheduling failed; it is tried again in %s seconds", _PAUSE_S)
        return _PAUSE_S
    return _until(due, now, is_virtual=workspace.clock.is_virtual)


def _until(due: datetime | None, now: datetime, *, is_virtual: bool) -> float:
    if due is not None and due <= now:
        return 0.0  # more was due than is made at one go
    return _LOOK_S if due is None or is_virtual else min(_LOOK_S, (due - now).total_seconds())


def main(options: ChildOptions) -> bool:
    """Live until SIGTERM or the end of the lifeline; or until idle: True."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    lifeline.hold(options.lifeline_fd)
    home = Path(options.home)
    if not wait_for_jobs(Settings.load(home), stop):
        return False
    from millrace.workspace import open_workspace

    workspace = open_workspace(home, principal=system("scheduler"))
    try:
        return run(workspace, stop)
    finally:
        workspace.close()


if __name__ == "__main__":
    logs.configure("scheduler")
    os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    if main(ChildOptions.read()):
        # The same process without what the last runs needed.
        os.execv(sys.executable, [sys.executable, "-m", "millrace.api.scheduler", *sys.argv[1:]])  # noqa: S606
