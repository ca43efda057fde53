"""What an attempt came to, from its outcome, its exit code and why it was ended."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path

from millrace.jobs.attempt_files import TaskFailure, read_outcome
from millrace.jobs.job_run import TaskOutcome
from millrace.jobs.port import Ended

_TAIL_BYTES = 4_096
_LONGEST = 500
_SIGNALLED = 128
INTERRUPTED = "its executor ended"
TIMED_OUT = "timed out"


def ended(artifacts: Path, log: Path, code: int | None, reason: str) -> Ended:
    """How an attempt ended, of which nothing runs any more.

    Args:
        artifacts: its folder.
        log: its output.
        code: what its program ended with; None where nobody knows.
        reason: why it was ended by us: `INTERRUPTED`, starting with `TIMED_OUT`, or a cancellation; empty where it was not.
    """
    outcome = read_outcome(artifacts)
    match outcome:
        case TaskOutcome(refused=False):
            return Ended("SUCCESS", outcome.message, outcome.output)  # it was done, whatever came after
        case TaskOutcome():
            return Ended("FAILED", outcome.message, {**outcome.output, REFUSED: True})
        case _:
            pass
    output = (outcome.output if outcome else None) or {}
    if reason:
        return _ended_by_us(reason, output)
    if isinstance(outcome, TaskFailure):
        return Ended("FAILED", "\n  hint: ".join(filter(None, [outcome.message, outcome.hint])), output)
    if code is None:
        return Ended("FAILED", "what kept its process was killed", output, interrupted=True)
    return Ended("FAILED", _said(code, log), output)


def _ended_by_us(reason: str, output: Mapping[str, object]) -> Ended:
    if reason.startswith(TIMED_OUT):
        return Ended("TIMEDOUT", reason, output)
    interrupted = reason == INTERRUPTED
    return Ended("FAILED" if interrupted else "CANCELED", reason, output, interrupted=interrupted)


# In the output of an attempt that ended with a refusal, which is not tried again.
REFUSED = "refused"


def _said(code: int, log: Path) -> str:
    last = _last_line(log)
    return f"{_how(code)}: {last}" if last else _how(code)


def _how(code: int) -> str:
    if code > _SIGNALLED:
        try:
            return f"killed by {signal.Signals(code - _SIGNALLED).name}"
        except ValueError:
            pass
    return "ended without an outcome" if code == 0 else f"ended with code {code}"


def _last_line(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip()[:_LONGEST] if lines else ""
