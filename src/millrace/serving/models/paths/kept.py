"""Outcomes of proofs, kept in a folder: a model is proved once, in a process that ends, and loaded in a blink after that."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
import tempfile
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from millrace.serving.models.paths.outcome import Outcome, from_json, to_json

_LOG = logging.getLogger(__name__)
_FORMAT: Final = "1"  # of what is kept and of what is proved: grows when either changes
_LIBRARIES: Final = ("lightgbm", "mlflow", "numpy", "onnx", "onnxruntime", "pandas", "scikit-learn", "xgboost-cpu")
_LONGEST_S: Final = 240.0
_SHOWN: Final = 2000  # characters of what a failed proof said last
LOCK: Final = "proof.lock"


class KeptProofs:
    """A folder of outcomes, `<key>.json` and, where the path has one, `<key>.onnx`.

    The key is a hash of the model's files and of the libraries' versions: what changes either is proved anew. Any number
    of processes may use a folder. The JSON is written last and each file in one step, so that what is there is whole. All of
    it may be deleted at any time.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def outcome(self, folder: Path) -> tuple[Outcome, Path]:
        """What holds for a model folder, and where its graph is; proves it first where that is not known yet."""
        key = key_of(folder)
        outcome = self.read(key)
        if outcome is None or not outcome.lasting:
            failed = _prove_apart(folder, self._root, key)
            # What was there before is as good as nothing: it was not meant to last.
            outcome = Outcome("pyfunc", failed, lasting=False) if failed else self.read(key)
        return outcome or Outcome("pyfunc", "what was proved is gone", lasting=False), self.graph(key)

    def knows(self, folder: Path) -> bool:
        """Whether a model folder's outcome is kept: else loading the model proves it first."""
        outcome = self.read(key_of(folder))
        return outcome is not None and outcome.lasting

    def read(self, key: str) -> Outcome | None:
        """What is kept under a key."""
        try:
            return from_json((self._root / f"{key}.json").read_text())
        except FileNotFoundError:
            return None

    def write(self, key: str, outcome: Outcome, graph: bytes | None) -> None:
        """Keep an outcome."""
        if graph is not None:
            _replace(self.graph(key), graph)
        _replace(self._root / f"{key}.json", to_json(outcome).encode())

    def graph(self, key: str) -> Path:
        """Where the graph of a key is, if it has one."""
        return self._root / f"{key}.onnx"


def key_of(folder: Path) -> str:
    """The hash of a model's files, by name, and of what proves and runs them."""
    found = hashlib.sha256()
    for name in _LIBRARIES:
        found.update(f"{name} {_version(name)}\n".encode())
    found.update(f"format {_FORMAT}, python {sys.version_info[:2]}\n".encode())
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        found.update(f"{path.relative_to(folder)} {digest}\n".encode())
    return found.hexdigest()[:32]


@cache  # a load asks for all of them several times, a millisecond each
def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "-"


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(content)
    beside.replace(path)


def _prove_apart(folder: Path, root: Path, key: str) -> str | None:
    """Prove in a process of its own, whose libraries and memory go with it; why that failed, if it did."""
    root.mkdir(parents=True, exist_ok=True)
    # One thread, since the process runs beside those that answer. Its standard input ends with this process.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "millrace.serving.models.paths.prove", str(folder), str(root), key]
    # What libraries say of odd rows is no line of this process's log: it is told only where it explains a failure.
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(  # noqa: S603 - our own module
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said, env=environment
        ) as process,
    ):
        try:
            code = process.wait(_LONGEST_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return f"its paths could not be proved in {_LONGEST_S:.0f} s"
        if code == 0:
            return None
        said.seek(0)
        end = said.read().decode(errors="replace")[-_SHOWN:]
    _LOG.error("the proof of the model in %s ended with %s: %s", folder, code, end)
    return f"its paths could not be proved (exit code {code})"
