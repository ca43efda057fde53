"""The scheduler process: makes the runs that are due, and executes what is queued.

It is there only while there is something for it: a job with a schedule or a trigger that is not paused, or a run that has not ended. A
worker that sees such a thing knocks. What executes is in memory only while there is something to execute: some time after the last run
it begins anew, without what that took, or ends where nothing is left.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import socket
import sys
import threading
import time
from datetime import datetime
from typing import TYPE_CHECKING

from millrace.api import channel, lifeline, logs
from millrace.api.channel import Message
from millrace.api.options import ChildOptions
from millrace.core.errors import InvalidState
from millrace.core.principal import system
from millrace.jobs.schedules.work import has_work
from millrace.workspace import Workspace, open_workspace

if TYPE_CHECKING:
    from millrace.jobs.schedules.scheduler import Scheduler

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
        if newest == self._cursor or self.is_running:
            return
        # What was queued is in the log: nothing new there is nothing to execute.
        self._cursor = newest
        if self._is_wanted():
            self._thread = threading.Thread(target=self._execute, name="engine")
            self._thread.start()

    @property
    def is_idle(self) -> bool:
        """Whether it executed something, and nothing for a while since."""
        return not self.is_running and self._busy_s is not None and time.monotonic() - self._busy_s > _IDLE_S

    def join(self) -> None:
        """Wait for its end, once it is told to stop."""
        if self._thread is not None:
            self._thread.join()

    @property
    def is_running(self) -> bool:
        """Whether the engine is there."""
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


class Work:
    """Whether there is something to do; asked again where the event log says that something happened."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._cursor, self._is_there, self._seen_s = -1, False, -math.inf

    def is_over(self, after_s: float = 0.0) -> bool:
        """Whether there has been nothing for so long."""
        newest = self._workspace.events.newest()
        if newest != self._cursor:
            self._is_there, self._cursor = has_work(self._workspace.jobs), newest
        now = time.monotonic()
        if self._is_there:
            self._seen_s = now
        return not self._is_there and now - self._seen_s > after_s


def run(workspace: Workspace, work: Work, stop: threading.Event) -> bool:
    """Schedule and execute until told to stop, or until there is nothing to do; or until nothing was executed for a while: True."""
    from millrace.jobs.schedules.scheduler import Scheduler

    scheduler, executing = Scheduler(workspace.schedules), Executing(workspace, stop)
    try:
        pause_s = 0.0
        while not stop.wait(pause_s):
            pause_s = _look(workspace, scheduler, executing)
            if not executing.is_running and _is_over(work):
                break
            if executing.is_idle:
                return True
        return False
    finally:
        executing.join()


def _is_over(work: Work) -> bool:
    try:
        return work.is_over(_IDLE_S)
    except Exception:  # noqa: BLE001 - the boundary of the loop: the database may be away, and comes back
        _log.exception("whether there is something to do is not known; it is looked again")
        return False


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


async def main(options: ChildOptions) -> bool:
    """Live until SIGTERM or the end of the lifeline, or until there is nothing to do; or until idle: True."""
    stop = threading.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    lifeline.hold(options.lifeline_fd)
    workspace = open_workspace(options.home, principal=system("scheduler"))
    try:
        return await attend(workspace, options.listener if options.listen_fd is not None else None, stop)
    finally:
        workspace.close()


async def attend(workspace: Workspace, door: socket.socket | None, stop: threading.Event) -> bool:
    """Work, and take those who knock. Who knocks when the door is closed starts the next process; for who knocked before we stay."""
    work = Work(workspace)
    while True:
        server = None if door is None else await channel.listen(door.dup(), _answer)
        try:
            anew = await asyncio.to_thread(run, workspace, work, stop)
        finally:
            if server is not None:
                server.close()
        if anew or stop.is_set() or await asyncio.to_thread(work.is_over):
            return anew


async def _answer(_message: Message) -> Message:
    raise InvalidState("the scheduler takes no commands")


if __name__ == "__main__":
    logs.configure("scheduler")
    os.setpriority(os.PRIO_PROCESS, 0, _NICE)
    if asyncio.run(main(ChildOptions.read())):
        # The same process without what the last runs needed.
        os.execv(sys.executable, [sys.executable, "-m", "millrace.api.scheduler", *sys.argv[1:]])  # noqa: S606
