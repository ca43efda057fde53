"""A model in a process of its own, asked over a socket."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from millrace.core.errors import InvalidInput
from millrace.serving.inputs import Inputs
from millrace.serving.models.paths import program
from millrace.serving.models.turns import Raised, TooSlow, Unavailable
from millrace.serving.types import Prediction

_LOG = logging.getLogger(__name__)
_LOAD_S = 240.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# The server's own settings may hold passwords, and mean other databases than a model's.
_NOT_FOR_MODELS = ("MILLRACE_", "MLFLOW_", "PYTHON")


@dataclass(frozen=True, slots=True)
class Program:
    """How a model's process is started.

    Attributes:
        python: the interpreter of its environment.
        model: the model's folder.
        signature: (column, MLflow type name) in model order.
        log: file that takes what it says.
    """

    python: Path
    model: Path
    signature: tuple[tuple[str, str], ...]
    log: Path

    @property
    def says_more(self) -> str:
        """For people, who may not know where the home is."""
        return f"logs/{self.log.name} in the home says more"


class _Gone(Exception):
    """The process died."""


class _Process:
    """One process with its model loaded. It ends when nobody holds this object, and when this process ends."""

    def __init__(self, start: Program) -> None:
        ours, theirs = socket.socketpair()
        with theirs, start.log.open("ab") as log:
            process = subprocess.Popen(  # noqa: S603 - the interpreter of an environment of the home, and our own file
                [str(start.python), "-I", program.__file__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
                process_group=0,
                cwd=start.python.parents[1],  # what it writes beside itself goes with its environment
                env=_environment(),
            )
        self.end = weakref.finalize(self, _end, process, ours)
        self._connection = ours
        self.pid = process.pid
        model = {"model": str(start.model), "signature": start.signature}
        answer, _ = self.ask(model, None, _LOAD_S)
        if "error" in answer:
            self.end()
            raise InvalidInput(
                f"the model can't be loaded in a process of its own: {answer['error']}", hint=start.says_more
            )

    def ask(
        self, content: program.Content, numbers: np.ndarray | None, timeout_s: float
    ) -> tuple[program.Content, np.ndarray]:
        """Send a frame and wait for the answer. Raises _Gone or TooSlow, and the process is ended."""
        try:
            self._connection.settimeout(timeout_s)
            program.send(self._connection, content, numbers)
            return program.receive(self._connection)
        except TimeoutError as error:
            self.end()
            raise TooSlow from error
        except (OSError, EOFError) as error:
            self.end()
            raise _Gone from error


class ProcessPredictor:
    """Answers with a model in a process of its own.

    The process is started at once. Where it has died, the next call starts another one and waits for it; a call that it
    died in is made again once. Where it can't be started either, calls are refused for a while, and then it is tried anew.

    Args:
        start: how the process is started.
        why: why the model has one.
        answer_s: the longest that a call may take; then the process is ended.
        now_s: tells for how long calls have been refused.

    Raises:
        InvalidInput: the model can't be loaded.
    """

    path = "process"
    quick_rows = 0

    def __init__(self, start: Program, why: str, answer_s: float, now_s: Callable[[], float] = time.monotonic) -> None:
        self.why = why
        self._start, self._answer_s, self._now_s = start, answer_s, now_s
        self._pause_s, self._refused_until_s = _FIRST_PAUSE_S, 0.0
        try:
            self._process: _Process | None = _Process(start)
        except (_Gone, TooSlow) as error:
            what = "died" if isinstance(error, _Gone) else f"took over {_LOAD_S:.0f} s"
            raise InvalidInput(
                f"the model's own process {what} while it loaded the model", hint=start.says_more
            ) from error

    @property
    def pid(self) -> int | None:
        """The process's number; None where it has died and was not started again."""
        return None if self._process is None else self._process.pid

    def predict(self, inputs: Inputs) -> Prediction:
        """Predict the rows of the inputs.

        Raises:
            InvalidInput: the model refuses such values.
            Raised: it went wrong over them.
            TooSlow: it took longer than it may.
            Unavailable: the process died over these rows, or can't be started.
        """
        for _ in range(2):
            try:
                return self._ask(self._running(), inputs)
            except _Gone:
                _LOG.warning("the process of %s died, and is replaced", self._start.model)
                self._process = None
            except TooSlow:
                _LOG.warning("the process of %s did not answer in time, and is replaced", self._start.model)
                self._process = None
                raise
        raise Unavailable("its process died twice over these rows")

    def _running(self) -> _Process:
        if self._process is not None:
            return self._process
        if self._now_s() < self._refused_until_s:
            raise Unavailable("its process can't be started")
        try:
            self._process = _Process(self._start)
        except (_Gone, TooSlow, InvalidInput, OSError) as error:
            self._refused_until_s = self._now_s() + self._pause_s
            self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
            _LOG.exception("the process of %s can't be started", self._start.model)
            raise Unavailable("its process can't be started") from error
        self._pause_s = _FIRST_PAUSE_S
        return self._process

    def _ask(self, process: _Process, inputs: Inputs) -> Prediction:
        rows, numbers = inputs.numbers.shape
        texts = [list(column) for column in inputs.texts]
        content = {"rows": rows, "numbers": numbers, "texts": texts}
        answer, raw = process.ask(content, inputs.numbers, self._answer_s)
        if "refused" in answer:
            raise InvalidInput("the model can't predict from these values", hint="the server's log says why")
        if "error" in answer:
            _LOG.error(
                "the process of %s raised %s; %s has the trace", self._start.model, answer["error"], self._start.log
            )
            raise Raised(f"the model raised {answer['error']}")
        labels: Sequence[object] = answer["labels"]
        shape = answer["probabilities"]
        return Prediction(labels, None if shape is None else raw.reshape(shape).tolist())


def _end(process: subprocess.Popen[bytes], connection: socket.socket) -> None:
    connection.close()
    process.kill()  # it keeps nothing that could be lost
    process.wait()


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_FOR_MODELS)}
    return {**dict.fromkeys(_ONE_THREAD, "1"), **kept, "TZ": "UTC"}
