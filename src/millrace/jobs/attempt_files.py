"""What the executor and the program of an attempt tell each other: two JSON files in the attempt's folder.

The program is started with the path of `attempt.json` as its last argument. It writes `outcome.json` before it ends with code 0,
or, where it failed, before it ends with another; an attempt without an outcome has failed, whatever the code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from millrace.core.clock import iso, parse_time
from millrace.core.errors import InvalidInput
from millrace.jobs.documents import kind_of, work_document, work_of
from millrace.jobs.job import Work
from millrace.jobs.job_run import RunId, TaskContext, TaskOutcome

_ATTEMPT = "attempt.json"
_OUTCOME = "outcome.json"


@dataclass(frozen=True, slots=True)
class TaskFailure:
    """What an attempt raised. `output` is kept all the same: it may name the notebook with the error in it."""

    message: str
    hint: str = ""
    output: Mapping[str, object] | None = None


def write_attempt(context: TaskContext, work: Work) -> Path:
    """Write what the attempt is told, into its folder of artifacts, which is made; return the path."""
    folder = Path(context.artifacts)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    told = asdict(context) | {"due": None if context.due is None else iso(context.due)}
    _write(folder / _ATTEMPT, {"context": told, "kind": kind_of(work), "work": work_document(work)})
    return folder / _ATTEMPT


def read_attempt(path: Path) -> tuple[TaskContext, Work]:
    """What an attempt is told: where it runs, and what it does.

    Raises:
        InvalidInput: there is no such file, or it is another one.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        told = found["context"]
        due = None if told["due"] is None else parse_time(told["due"])
        ids = {name: RunId(told[name]) for name in ("run_id", "task_run_id")}
        return TaskContext(**{**told, **ids, "due": due}), work_of(found["kind"], found["work"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"{path} does not say what an attempt is to do", hint="the executor writes it") from error


def write_outcome(artifacts: str | Path, outcome: TaskOutcome | TaskFailure) -> None:
    """Write what an attempt came to, in one step: it is there whole or not at all, also after a power cut.

    A float that is not finite becomes null, as JSON has no word for it: a NaN in the first row of a query is no failure.

    Raises:
        InvalidInput: the output is not JSON.
    """
    try:
        _write(Path(artifacts) / _OUTCOME, {"failed": isinstance(outcome, TaskFailure), **_finite(asdict(outcome))})
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"the output of the task is not JSON: {error}", hint="give texts, numbers, lists and dicts"
        ) from error


def read_outcome(artifacts: str | Path) -> TaskOutcome | TaskFailure | None:
    """What an attempt came to; None where it did not say."""
    try:
        found: dict[str, Any] = json.loads((Path(artifacts) / _OUTCOME).read_text(encoding="utf-8"))
        return TaskFailure(**found) if found.pop("failed") else TaskOutcome(**found)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value


def _write(path: Path, document: Mapping[str, object]) -> None:
    text = json.dumps(document, ensure_ascii=False, allow_nan=False)
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
