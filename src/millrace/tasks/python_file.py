"""A Python file as a program of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

from millrace.core.errors import InvalidState
from millrace.jobs.job import SparkPythonTask
from millrace.jobs.job_run import TaskOutcome
from millrace.jobs.task_values import give, read_values
from millrace.tasks.given import Given

_LAST_WORDS_S = 2.0


def run_file(given: Given, work: SparkPythonTask) -> TaskOutcome:
    """Run it in the job's folder, with its arguments, and the run's parameters and task values at hand.

    Raises:
        NotFound: the file is not there.
        InvalidState: it ended with a code other than 0; the message has the last line that it wrote about that.
    """
    file = given.file(work.python_file, "Python file")
    give(given.artifacts, given.context.parameters, given.values)
    code, last = _run(given, [sys.executable, "-u", str(file.resolve()), *work.parameters])
    given.hand_on(read_values(given.artifacts))
    if code:
        said = f"{file.name} {_ended(code)}" + (f": {last}" if last else "")
        raise InvalidState(said, task_output={"exit_code": code})
    return TaskOutcome({"exit_code": 0})


def _run(given: Given, command: Sequence[str]) -> tuple[int, str]:
    """The program's exit code, and the last line that it wrote to standard error, which goes to ours as well."""
    last = [""]

    def pass_on() -> None:
        assert program.stderr is not None  # noqa: S101 - it is a pipe
        for line in program.stderr:
            sys.stderr.buffer.write(line)
            sys.stderr.buffer.flush()
            last[0] = line.decode(errors="replace").strip() or last[0]

    sys.stdout.flush()
    program = subprocess.Popen(  # noqa: S603 - the user's own file, with the user's own rights
        command, cwd=given.path("."), env=given.environment(), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    reader = threading.Thread(target=pass_on, daemon=True)
    reader.start()
    code = program.wait()
    # What it left running may hold its end of the pipe, so that the reader would never end: nor is the pipe closed here.
    reader.join(_LAST_WORDS_S)
    return code, last[0]


def _ended(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
