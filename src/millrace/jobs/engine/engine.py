"""The engine: takes the home's lease, executes what is queued while it has it, and begins anew where something went wrong."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from millrace.core.processes import usable_processors
from millrace.core.settings import KEPT_RUNS
from millrace.jobs.engine.begin_attempt import Beginning
from millrace.jobs.engine.executor import Executor
from millrace.jobs.engine.lease import HeldLease
from millrace.jobs.port import JobDesk

_LOOK_S = 1.0
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
_GRACE_S = 5.0
_log = logging.getLogger(__name__)


class Engine:
    """Executes a home's jobs. Any number of them may run: one executes, the others wait for the lease.

    Args:
        desk: of the workspace; used in the thread that runs the engine.
        home: where logs and artifacts of attempts go.
        program: what an attempt runs, as `[sys.executable, "-m", "millrace.tasks.attempt"]`; the path of its `attempt.json` comes after it.
        parallel: how many attempts may have processes at once; None: as many as there are processors, two at least.
        grace_s: between TERM and KILL, where an attempt is ended.
        kept_runs: how many runs of a job are kept, the newest; those before are deleted with their logs and folders.
    """

    def __init__(
        self,
        desk: JobDesk,
        home: Path,
        program: Sequence[str],
        *,
        parallel: int | None = None,
        grace_s: float = _GRACE_S,
        kept_runs: int = KEPT_RUNS,
    ) -> None:
        self._desk, self._home, self._program, self._grace_s = desk, home, tuple(program), grace_s
        self._parallel, self._kept_runs = parallel or max(2, usable_processors()), kept_runs

    def run(self, stop: threading.Event, until: Callable[[], bool] | None = None) -> None:
        """Execute until `stop` is set, or `until` says so, which is asked whenever something happened, and twice a second. When it returns, no process of an attempt is left.

        What goes wrong is logged; then all attempts are ended, and the engine begins anew from what is in the database.
        """
        pause_s = _FIRST_PAUSE_S
        while not _over(stop, until):
            try:
                self._tenure(stop, until)
                pause_s = _FIRST_PAUSE_S
            except Exception:  # noqa: BLE001 - the boundary of the loop: nothing is lost, all is in the database
                _log.exception("executing jobs failed; it begins anew in %s seconds", pause_s)
                stop.wait(pause_s)
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
            else:
                if not _over(stop, until):
                    stop.wait(_LOOK_S)

    def _tenure(self, stop: threading.Event, until: Callable[[], bool] | None) -> None:
        """Execute while we have the lease; returns at once where another has it."""
        lease = HeldLease(self._desk.leases)
        execution = self._desk.execution(lease.holder)
        beginning = Beginning(self._desk, execution, self._home, self._program, self._grace_s)
        executor = Executor(beginning, self._parallel, self._kept_runs)
        if not lease.take(executor.beat):
            return
        well = False
        try:
            executor.adopt()
            while not lease.lost.is_set() and not _over(stop, until):
                executor.turn()
            well = not lease.lost.is_set()
        finally:
            try:
                executor.leave(quietly=not well)
            finally:
                lease.release()


def _over(stop: threading.Event, until: Callable[[], bool] | None) -> bool:
    return stop.is_set() or (until is not None and until())
