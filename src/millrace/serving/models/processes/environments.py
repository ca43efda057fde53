"""Python environments for models, made once and kept in the home."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from millrace.core.errors import InvalidState
from millrace.serving.models.processes.needs import Needs

_LONGEST_S = 1800.0
_LONGEST_LOG = 4 << 20
_OURS = "millrace_installed_here.pth"


class Environments:
    """Environments by what is in them. Thread- and process-safe; one that is there is whole.

    An environment has what a model needs that is not installed here, with the dependencies of that, and behind it all
    that is installed here. It is made by uv, or where there is none by venv and pip; where they get packages from is their
    own configuration (`UV_INDEX_URL`, `PIP_FIND_LINKS`, ...).

    Args:
        root: the folder of the environments.
        logs: the folder of their logs.
    """

    def __init__(self, root: Path, logs: Path) -> None:
        self._root, self._logs = root, logs

    @classmethod
    def of(cls, home: Path) -> Environments:
        """Those of a home."""
        return cls(home.absolute() / "envs", home.absolute() / "logs")

    def python(self, needs: Needs) -> Path:
        """The interpreter of the environment that has what is needed.

        Raises:
            InvalidState: it has not been made.
        """
        python = self._root / _name(needs) / "bin" / "python"
        if not python.exists():
            raise InvalidState(
                f"the environment that the model needs is not there: {', '.join(needs.reasons)}",
                hint="it is made at deploying and when the server starts; logs/environments.log in the home says how that goes",
            )
        return python

    def make(self, needs: Needs) -> None:
        """Make the environment that has what is needed, where it is not there; that takes its time.

        Raises:
            InvalidState: a package or its Python can't be had, the disk is full, or it takes half an hour.
        """
        from filelock import FileLock, Timeout

        place = self._root / _name(needs)
        if (place / "bin" / "python").exists():
            return
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            with FileLock(f"{place}.lock", timeout=_LONGEST_S, thread_local=False):
                if not (place / "bin" / "python").exists():
                    self._make(place, needs)
        except (Timeout, subprocess.TimeoutExpired) as error:
            raise self._failed(needs, "took too long") from error
        except OSError as error:
            raise self._failed(
                needs, f"can't be installed, the system says {error.strerror or type(error).__name__}"
            ) from error

    def log(self, name: str) -> Path:
        """Where a process in an environment writes what it says; what has grown long is put aside as `NAME.log.1`."""
        self._logs.mkdir(parents=True, exist_ok=True)
        path = self._logs / f"{name}.log"
        if path.exists() and path.stat().st_size > _LONGEST_LOG:
            path.replace(path.with_suffix(".log.1"))
        return path

    def _make(self, place: Path, needs: Needs) -> None:
        """Make it aside and move it: it is whole, or it is not there."""
        draft = place.with_suffix(".tmp")
        shutil.rmtree(draft, ignore_errors=True)
        python = draft / "bin" / "python"
        commands = _commands(draft, python, needs)
        if shutil.which(commands[0][0]) is None:
            raise InvalidState(
                f"the model was logged with Python {needs.python}, and Python {needs.python} is not here",
                hint="install it, or uv, which brings it",
            )
        for command in commands:
            self._run(command, needs)
        if needs.python is None:
            _add_ours(python)
        shutil.rmtree(place, ignore_errors=True)  # of a Python that is gone
        draft.rename(place)

    def _run(self, command: Sequence[str], needs: Needs) -> None:
        with self.log("environments").open("ab") as log:
            log.write(f"{' '.join(command)}\n".encode())
            log.flush()
            done = subprocess.run(  # noqa: S603 - uv, or our own interpreter
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._root,
                check=False,
                timeout=_LONGEST_S,
            )
        if done.returncode:
            raise self._failed(needs, "could not be installed")

    def _failed(self, needs: Needs, what: str) -> InvalidState:
        return InvalidState(
            f"what the model needs {what}: {', '.join(needs.reasons)}",
            hint='logs/environments.log in the home says why; install it here, or deploy with "own_packages": false',
        )


def _name(needs: Needs) -> str:
    """The same for the same packages beside the same installation."""
    content = [sorted(needs.packages), needs.python, sys.version, _here()]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _commands(draft: Path, python: Path, needs: Needs) -> list[list[str]]:
    uv = _uv()
    if uv is not None:
        install = [uv, "pip", "install", "--python", str(python), *needs.packages]
        return [[uv, "venv", "--python", needs.python or sys.executable, str(draft)], install]
    base = sys.executable if needs.python is None else f"python{needs.python}"
    return [[base, "-m", "venv", str(draft)], [str(python), "-m", "pip", "install", *needs.packages]]


def _uv() -> str | None:
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.exists() else shutil.which("uv")


def _here() -> list[str]:
    """The folders of what is installed here."""
    return [path for path in sys.path if Path(path).name in {"site-packages", "dist-packages"}]


def _add_ours(python: Path) -> None:
    """Put our packages behind the environment's own."""
    own = next((python.parents[1] / "lib").glob("python*")) / "site-packages"
    lines = [f"import site; site.addsitedir({path!r})" for path in _here()]
    (own / _OURS).write_text("".join(f"{line}{os.linesep}" for line in lines))
