"""The stage `test`: the project's own tests, in a process of their own, away from every home."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from millrace.ci.types import Check, Project, StageResult, Target
from millrace.core.errors import InvalidState

_STDERR = 2
_NO_TESTS = 5  # pytest's exit code where it found none
_OURS = {"pytest": ["-m", "pytest"], "python": [], "python3": []}


def run_tests(project: Project, target: Target, results: Path, *, aside: bool = False) -> StageResult:
    """Run the project's test command; `results` is where pytest writes its JUnit file.

    What the tests print goes to standard output, or to standard error where that is kept for something else (`aside`).

    Raises:
        InvalidState: the command can't be run.
    """
    if not project.tests.strip():
        return StageResult("test", target.name, "passed", "the project has no tests", (Check("tests", "skipped"),))
    command = _words(project.tests)
    results.unlink(missing_ok=True)
    begun = time.perf_counter()
    code = _run(command, project.folder, results, aside=aside)
    seconds = time.perf_counter() - begun
    if code == 0:
        check = Check(project.tests, "passed", "all tests passed", seconds)
        return StageResult("test", target.name, "passed", "all tests passed", (check,), seconds=seconds)
    said = "there are no tests" if code == _NO_TESTS else f"`{project.tests}` ended with exit code {code}"
    hint = 'write one, or say tests = "" in millrace.toml' if code == _NO_TESTS else "its output is above"
    check = Check(project.tests, "failed", said, seconds)
    return StageResult("test", target.name, "failed", said, (check,), seconds=seconds, hint=hint)


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        raise InvalidState(
            f"the tests can't be run: `{command}`: {error}", hint="close its quotes: tests in millrace.toml"
        ) from error


def _run(command: list[str], folder: Path, results: Path, *, aside: bool) -> int:
    with TemporaryDirectory(prefix="millrace-tests-") as empty:
        # What reads a home by default finds an empty one: tests must not change what is trained and served.
        options = f"{os.environ.get('PYTEST_ADDOPTS', '')} --junitxml={shlex.quote(str(results))}"
        environment = os.environ | {"MILLRACE_HOME": empty, "PYTEST_ADDOPTS": options.strip()}
        try:
            return subprocess.run(  # noqa: S603 - the project's own command
                _with_our_python(command), cwd=folder, env=environment, stdout=_STDERR if aside else None, check=False
            ).returncode
        except OSError as error:
            raise InvalidState(
                f"the tests can't be run: {command[0]}: {error.strerror}",
                hint="say the command as tests in millrace.toml",
            ) from error


def _with_our_python(command: list[str]) -> list[str]:
    """`pytest` and `python` are those that millrace itself runs in, whatever is first on the path."""
    if command[0] in _OURS:
        return [sys.executable, *_OURS[command[0]], *command[1:]]
    return [shutil.which(command[0]) or command[0], *command[1:]]
