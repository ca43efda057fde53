from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from millrace.cli.main import main


@dataclass(frozen=True)
class Said:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    def json(self) -> dict[str, Any]:
        """The one object that was printed; there is nothing else on standard output."""
        assert self.code in (0, 3), self.err
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found

    def refused(self, code: int = 1) -> str:
        """The message of a command that could not be done; it ends with a hint and has printed nothing else."""
        assert self.code == code, self.out + self.err
        assert self.out == ""
        message, _, hint = self.err.rpartition("\n  hint: ")
        assert message.startswith("error: ")
        assert hint.strip()
        return self.err


Cli = Callable[..., Said]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """Runs a command line in this process, in a home and a working directory of the test's own."""
    monkeypatch.setenv("MILLRACE_HOME", str(home))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Said:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Said(code, printed.out, printed.err)

    return run
