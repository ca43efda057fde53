"""A model that an engine found, asked like any other, though it lives in an environment of its own."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import tempfile
import threading
import weakref
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from millrace.automl.engines.find import Engine, interpreter
from millrace.automl.rows import plain_values
from millrace.core.errors import InvalidInput, InvalidState, first_line
from millrace.core.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

PROGRAM = Path(__file__).with_name("program.py")
_LENGTH = struct.Struct("<q")
_END_S = 5.0


@dataclass(slots=True)
class _Running:
    process: subprocess.Popen[bytes]
    folder: tempfile.TemporaryDirectory[str]


class EngineModel:
    """`predict`, and for classes `predict_proba` and `classes_`, over a frame with the columns that the search was given.

    The result is kept inside, so that the object can be pickled and logged. The first question starts a process of the engine's environment, which
    ends with this object or this process. Thread-safe: questions wait for each other.
    """

    def __init__(
        self, engine: Engine, python: str, task: Mapping[str, Any], archive: bytes, classes: Sequence[object]
    ) -> None:
        """Hold what was found; nothing is started.

        Args:
            engine: which.
            python: the interpreter that fitted it; another that has the engine is looked for where this one is gone.
            task: as the program was told.
            archive: a zip of the folder `result`.
            classes: as they stand in the data; empty in regression.
        """
        self.engine, self.python, self._task, self._archive = engine, python, dict(task), archive
        self._classes = tuple(classes)
        self._begin()

    @property
    def classes_(self) -> np.ndarray:
        """The classes, in the order of the probabilities."""
        if not self._classes:
            raise AttributeError("classes_")
        return np.asarray(self._classes)

    @property
    def size_bytes(self) -> int:
        """How large the result is, compressed."""
        return len(self._archive)

    def predict_proba(self, frame: pd.DataFrame) -> np.ndarray:
        """Probabilities, n x k, in the order of `classes_`.

        Raises:
            InvalidInput: a column is missing, or the engine refuses the rows.
            InvalidState: the engine's process can't be started or ended by itself.
        """
        if not self._classes:
            raise InvalidInput("a model of a number gives no probabilities", hint="use predict")
        shares = self._ask(frame)
        return shares[:, ::-1] if self._task["flipped"] else shares

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """The likeliest class of each row, or its number. Raises as `predict_proba`."""
        if not self._classes:
            return self._ask(frame)
        return np.asarray(self.classes_[self.predict_proba(frame).argmax(axis=1)])

    def close(self) -> None:
        """End the process. The next question starts another."""
        with self._lock:
            self._end()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._finalizer: Any = None

    def __getstate__(self) -> dict[str, Any]:
        left_out = {"_lock", "_running", "_finalizer"}
        return {name: value for name, value in self.__dict__.items() if name not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def _ask(self, frame: pd.DataFrame) -> np.ndarray:
        body = io.BytesIO()
        self._inputs(frame).to_parquet(body)
        with self._lock:
            running = self._running or self._start()
            try:
                return self._exchange(running, body.getvalue())
            except (OSError, EOFError) as error:
                code = running.process.poll()
                self._end()
                raise InvalidState(
                    f"the process that asks {self.engine}'s model ended ({code})",
                    hint="ask again, which starts another; with too little memory it ends again",
                ) from error

    def _inputs(self, frame: pd.DataFrame) -> pd.DataFrame:
        import pandas as pd

        missing = [name for name in self._task["inputs"] if name not in frame.columns]
        if missing:
            raise InvalidInput(
                f"the rows have no column '{missing[0]}'", hint="give all inputs of the model", columns=missing
            )
        plain = {name: plain_values(frame[name]) for name in self._task["inputs"]}
        return pd.DataFrame({name: _finite(values) for name, values in plain.items()}).astype(self._task["kinds"])

    def _exchange(self, running: _Running, body: bytes) -> np.ndarray:
        asked, answers = running.process.stdin, running.process.stdout
        assert asked is not None  # noqa: S101 - both are pipes
        assert answers is not None  # noqa: S101
        asked.write(_LENGTH.pack(len(body)) + body)
        asked.flush()
        head = answers.read(_LENGTH.size)
        if len(head) < _LENGTH.size:
            raise EOFError
        length = _LENGTH.unpack(head)[0]
        answer = answers.read(abs(length))
        if length < 0:
            raise InvalidInput(
                f"{self.engine} refuses the rows: {answer.decode().strip().splitlines()[-1]}",
                hint="give rows like those it was trained on",
            )
        return np.asarray(np.load(io.BytesIO(answer), allow_pickle=False))

    def _start(self) -> _Running:
        folder = tempfile.TemporaryDirectory(prefix="millrace-engine-")
        with zipfile.ZipFile(io.BytesIO(self._archive)) as packed:
            packed.extractall(Path(folder.name) / "result")
        (Path(folder.name) / "task.json").write_text(json.dumps(self._task))
        python = interpreter(self.engine, Settings.load().home, self.python)
        running = _Running(started(python, "answer", Path(folder.name), answers=True), folder)
        self._running = running
        self._finalizer = weakref.finalize(self, _finish, running)
        return running

    def _end(self) -> None:
        if self._finalizer is not None:
            self._finalizer()
        self._running = self._finalizer = None


def started(python: Path, step: str, folder: Path, *, answers: bool = False) -> subprocess.Popen[bytes]:
    """The program in the engine's environment, alone with its own packages; what it prints goes to `log` in the folder."""
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - our own program
            [str(python), "-I", str(PROGRAM), step, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if answers else log,
            stderr=log,
            start_new_session=True,
        )


def last_words(folder: Path) -> str:
    """The last line that a program wrote before it failed."""
    with suppress(OSError):
        lines = [line for line in (folder / "log").read_text(errors="replace").splitlines() if line.strip()]
        return first_line(Exception(lines[-1])) if lines else ""
    return ""


def packed(folder: Path) -> bytes:
    """A zip of a folder's files."""
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
    return body.getvalue()


def _finite(values: np.ndarray) -> np.ndarray:
    return np.where(np.isinf(values), np.nan, values) if values.dtype.kind == "f" else values


def _finish(running: _Running) -> None:
    process = running.process
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):
            pipe.close()  # type: ignore[union-attr]  # both are pipes
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    running.folder.cleanup()
