"""The processes that fit: started as programs of their own, never forked, and killed when a fit takes too long."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Self

from millrace.automl.processes import started
from millrace.automl.workers.fit import FitResult, FitTask
from millrace.core.errors import InvalidState

_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LOKY_MAX_CPU_COUNT", "OMP_THREAD_LIMIT"), "1"
)


_MOST_DEATHS = 5


@dataclass(slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    channel: Connection
    task: FitTask | None = None
    begun: float = 0.0


class Pool:
    """`size` processes with one thread each. Tasks are given one by one; close it, or use it as a context."""

    def __init__(self, size: int) -> None:
        """Start them: they import their libraries meanwhile."""
        self.size = size
        self._job: Path | None = None
        self._deaths = 0
        self._workers = [self._start() for _ in range(size)]

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill them."""
        self.close()

    def load(self, job: Path) -> None:
        """Let them read the pickled `Job` at that path, before the first task."""
        self._job = job
        for worker in self._workers:
            with suppress(OSError):  # it died: `collect` tells
                worker.channel.send(job)

    @property
    def idle(self) -> int:
        """How many tasks can be given."""
        return self.size - len(self.busy)

    @property
    def busy(self) -> Sequence[tuple[FitTask, float]]:
        """What is being fitted, and since when by `time.monotonic()`."""
        return [(worker.task, worker.begun) for worker in self._workers if worker.task is not None]

    def give(self, task: FitTask) -> None:
        """Hand a task to an idle process; a new one where one was killed."""
        worker = next((each for each in self._workers if each.task is None), None)
        if worker is None:
            worker = self._start()
            self._workers.append(worker)
        worker.task, worker.begun = task, time.monotonic()
        with suppress(OSError):  # it died: `collect` tells
            worker.channel.send(task)

    def collect(self, timeout_s: float) -> list[FitResult]:
        """Results that are there, or come within the time. A process that ended by itself gives a failed result.

        Raises:
            InvalidState: processes end as soon as they begin.
        """
        found: list[FitResult] = []
        ready = wait([worker.channel for worker in self._workers], max(timeout_s, 0.0))
        for worker in [each for each in self._workers if each.channel in ready]:
            try:
                message = worker.channel.recv()
            except (EOFError, OSError):
                found += self._died(worker)
                continue
            if isinstance(message, FitResult):
                worker.task = None
                found.append(message)
        return found

    def stop(self, task: FitTask) -> None:
        """Kill the process that fits this task."""
        self._end(next(each for each in self._workers if each.task == task))

    def close(self) -> None:
        """Kill all. Idempotent."""
        for worker in list(self._workers):
            worker.process.kill()
        for worker in list(self._workers):
            self._end(worker)

    def _died(self, worker: _Worker) -> list[FitResult]:
        self._end(worker)
        self._deaths += 1
        code = worker.process.returncode
        if worker.task is None or self._deaths > _MOST_DEATHS:
            raise InvalidState(
                f"a process that fits models ended by itself ({code})",
                hint="look whether the machine has memory left; fewer processes need less: MILLRACE_THREADS=1",
            )
        what = f"its process ended by itself ({code}): most likely it took too much memory"
        return [FitResult(worker.task.trial, worker.task.fold, float("nan"), None, 0.0, what)]

    def _start(self) -> _Worker:
        worker = _Worker(*started("millrace.automl.workers.child", environment=_ONE_THREAD))
        if self._job is not None:
            worker.channel.send(self._job)
        return worker

    def _end(self, worker: _Worker) -> None:
        worker.process.kill()
        worker.process.wait()
        worker.channel.close()
        self._workers.remove(worker)
