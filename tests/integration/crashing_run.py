"""`millrace run` in a process that can be killed at any moment, started fast: it is forked from one that has imported everything."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from sqlalchemy.engine.default import DefaultDialect

from millrace import workspace
from millrace.cli.main import main
from tests.integration.changed_shop import served_by

_COMMITS = "commits to databases: "
_FORKING = multiprocessing.get_context("forkserver")
# What a run imports, most of it late.
_FORKING.set_forkserver_preload(
    [
        __name__,
        "deltalake",
        "duckdb",
        "httpx",
        "lmdb",
        "mlflow.sklearn",
        "mlflow.store.model_registry.sqlalchemy_store",
        "mlflow.store.tracking.sqlalchemy_store",
        "pandas",
        "scipy.stats",
        "sklearn.dummy",
        "sklearn.linear_model",
        "skops.io",
    ]
)


def apart(work: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns in a process of its own: MLflow keeps databases open, whatever becomes of their files."""
    reading, writing = _FORKING.Pipe(duplex=False)
    process = _FORKING.Process(target=_answer, args=(writing, work, arguments))
    process.start()
    writing.close()
    try:
        answer = reading.recv()
    finally:
        process.join(60)
        reading.close()
    return answer


def _answer(writing: Any, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    writing.send(work(*arguments))


@dataclass(frozen=True)
class Stage:
    """A line of the run's progress, and when it came, in seconds after the run began."""

    line: str
    at_s: float


@dataclass
class CrashingRun:
    """A run that tells its stages, alone in its process group.

    Args:
        dies_after: after so many commits to a database it kills itself; None: it does not.
    """

    page: Path
    home: Path
    dies_after: int | None = None
    stages: list[Stage] = field(default_factory=list)
    _process: ForkServerProcess = field(init=False)
    _reader: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        reading, writing = _FORKING.Pipe(duplex=False)
        arguments = (str(self.page), str(self.home), writing, self.dies_after)
        self._begun = time.monotonic()
        self._process = _FORKING.Process(target=_run, args=arguments)
        self._process.start()
        writing.close()
        self._told = threading.Condition()

        def read() -> None:
            with os.fdopen(os.dup(reading.fileno()), "r") as lines:
                for line in lines:
                    with self._told:
                        self.stages.append(Stage(line.rstrip(), time.monotonic() - self._begun))
                        self._told.notify_all()
            reading.close()

        self._reader = threading.Thread(target=read, daemon=True)
        self._reader.start()

    def wait_for(self, count: int, timeout_s: float = 120.0) -> bool:
        """Until it has told of so many stages; False where it ended before."""
        deadline = time.monotonic() + timeout_s
        with self._told:
            while len(self.stages) < count:
                if not self._reader.is_alive() or time.monotonic() > deadline:
                    return False
                self._told.wait(0.2)
        return True

    def kill(self) -> bool:
        """Kill -9 of its process group; whether it was still alive."""
        assert self._process.pid is not None
        for kill in (os.killpg, os.kill):  # it may not have a group of its own yet
            with suppress(ProcessLookupError, PermissionError):
                kill(self._process.pid, signal.SIGKILL)
        return self.end() == -signal.SIGKILL

    def end(self) -> int | None:
        """Its exit code, when it has ended."""
        self._process.join(120)
        self._reader.join(10)
        return self._process.exitcode

    @property
    def commits(self) -> int:
        """How many commits to databases it made, when it has ended by itself."""
        return int(self.stages[-1].line.removeprefix(_COMMITS))

    def said(self) -> str:
        return "\n".join(stage.line for stage in self.stages)


def _run(page: str, home: str, writing: Any, dies_after: int | None) -> None:
    os.setpgid(0, 0)
    fd = writing.fileno()
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    workspace.open_target = served_by
    done, commit = [0], DefaultDialect.do_commit

    def do_commit(dialect: DefaultDialect, connection: object) -> None:
        commit(dialect, connection)  # type: ignore[no-untyped-call]
        done[0] += 1
        if done[0] == dies_after:
            os.killpg(0, signal.SIGKILL)

    DefaultDialect.do_commit = do_commit  # type: ignore[method-assign]
    code = main(["run", page, "--home", home])
    os.write(fd, f"{_COMMITS}{done[0]}\n".encode())
    os._exit(code)
