"""The program that does one attempt of a task: `python -m millrace.tasks.attempt ATTEMPT.JSON`.

What came of it is written beside that file, see `jobs/attempt_files.py`. Progress goes to standard error, what the work prints to
standard output: whoever started the program leads both into the attempt's log.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from millrace.core.errors import InvalidInput, MillraceError, first_line
from millrace.jobs.attempt_files import TaskFailure, read_attempt, write_outcome
from millrace.jobs.job import Work
from millrace.jobs.job_run import TaskOutcome
from millrace.tasks.given import Given
from millrace.tasks.perform import perform

_DONE, _FAILED, _USAGE, _REFUSED, _INTERRUPTED = 0, 1, 2, 3, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Do it: 0 done, 1 failed, 2 no such attempt, 3 refused, 130 told to stop."""
    told = list(sys.argv[1:] if argv is None else argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what is stopped may tidy up, as after Ctrl-C
    try:
        context, work = read_attempt(Path(told[-1] if told else ""))
    except InvalidInput as error:
        sys.stderr.write(f"error: {error}\n")
        return _USAGE
    # What the user's code opens by itself, as `mr.spark()`, is this home; times are UTC.
    os.environ |= {"MILLRACE_HOME": context.home, "TZ": "UTC"}
    with closing(Given(context)) as given:
        return _attempt(given, work)


def _attempt(given: Given, work: Work) -> int:
    came: TaskOutcome | TaskFailure
    try:
        came = perform(given, work)
        write_outcome(given.artifacts, came)
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        return _INTERRUPTED
    except BaseException as error:  # noqa: BLE001 - a worker's boundary: whatever the work raises is the attempt's end
        return _failed(given, error)
    if came.message:
        sys.stderr.write(f"{'refused: ' if came.refused else ''}{came.message}\n")
    return _REFUSED if came.refused else _DONE


def _failed(given: Given, error: BaseException) -> int:
    """Say why in the log, and for whoever asks about the run."""
    if isinstance(error, MillraceError):
        sys.stderr.write(f"error: {error}\n")
        output = error.facts.get("task_output")  # what a handler knows all the same
        failure = TaskFailure(error.message, error.hint, output if isinstance(output, dict) else None)
    else:
        traceback.print_exception(error)
        failure = TaskFailure(f"{type(error).__name__}: {first_line(error)}", "the whole trace is in its log")
    write_outcome(given.artifacts, failure)
    return _FAILED


if __name__ == "__main__":
    sys.exit(main())
