"""Values that tasks of a run hand on to each other, as `dbutils.jobs.taskValues` has them; for any Python that a task runs.

Of a program they are files beside the attempt: what it sets is there when it is over, whatever became of it before that. Of a
notebook its kernel keeps them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from millrace.core.errors import InvalidInput, NotFound
from millrace.core.names import did_you_mean

# Where the attempt's own folder is told to the programs that it runs.
VARIABLE: Final = "MILLRACE_TASK"
GIVEN, SET = "given.json", "values.json"
_LONGEST = 48 << 10  # as much as other platforms take
_MISSING: Final = object()


class Exchange(Protocol):
    """Where the values of tasks are kept: files beside an attempt, or what a notebook's kernel was told."""

    def before(self) -> Mapping[str, Mapping[str, Any]] | None:
        """What the tasks before this one set, by task and name; None where this is no task of a run."""
        ...

    def keep(self, key: str, value: Any) -> None:
        """Keep a JSON value for the tasks after this one."""
        ...


class TaskValues:
    """Values by task and name, wherever they are kept."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def set(self, key: str, value: object) -> None:
        """Give a value to the tasks after this one. Outside a run nobody gets it.

        Raises:
            InvalidInput: it is not what JSON has a form for, or longer than 48 KiB.
        """
        try:
            text = json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
            kept = json.loads(text, parse_int=_whole)
        except (TypeError, ValueError) as error:
            raise InvalidInput(
                f"the task value '{key}' is not JSON: {error}",
                hint="give a text, a number, or lists and dicts of such; of NumPy's numbers, float(x)",
            ) from error
        if len(text) > _LONGEST:
            raise InvalidInput(
                f"the task value '{key}' has {len(text):,} bytes, more than {_LONGEST:,}",
                hint="write a table or a file, and give its name",
            )
        self._exchange.keep(key, kept)

    def get(
        self,
        taskKey: str,  # noqa: N803 - the names that people know
        key: str,
        default: Any = _MISSING,
        debugValue: Any = _MISSING,  # noqa: N803
    ) -> Any:
        """What a task before this one set under this name.

        Args:
            taskKey: that task.
            key: the value's name.
            default: where that task set no such value.
            debugValue: outside a run, where there are no other tasks.

        Raises:
            NotFound: there is no such value and no `default`.
        """
        before = self._exchange.before()
        if before is None:
            hint = "give debugValue=, for when this runs alone"
            return _or_raise(debugValue, f"there is no run here, so no task '{taskKey}'", hint)
        values = before.get(taskKey, {})
        if key in values:
            return values[key]
        if taskKey not in before:
            said = f"no task '{taskKey}' before this one set a value"
            return _or_raise(default, said, did_you_mean(taskKey, before))
        return _or_raise(default, f"the task '{taskKey}' set no value '{key}'", did_you_mean(key, values))


class _Files:
    """Beside the attempt that the environment names."""

    def before(self) -> Mapping[str, Mapping[str, Any]] | None:
        folder = _folder()
        return None if folder is None else read_given(folder)

    def keep(self, key: str, value: Any) -> None:
        folder = _folder()
        if folder is not None:
            _write(folder / SET, {**read_values(folder), key: value})


def task_parameters() -> Mapping[str, str]:
    """The parameters of the run that this program is a task of; none where it is none."""
    folder = _folder()
    return {} if folder is None else {str(k): str(v) for k, v in _read(folder / GIVEN).get("parameters", {}).items()}


def give(folder: Path, parameters: Mapping[str, str], values: Mapping[str, Mapping[str, object]]) -> None:
    """Write what an attempt's programs may ask for: the run's parameters, and what tasks before it have set."""
    _write(
        folder / GIVEN, {"parameters": dict(parameters), "values": {key: dict(each) for key, each in values.items()}}
    )


def read_given(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    """Task to name to value, as the attempt was given them."""
    found: Mapping[str, Mapping[str, Any]] = _read(folder / GIVEN).get("values", {})
    return found


def read_values(folder: Path) -> Mapping[str, Any]:
    """What the attempt has set."""
    return _read(folder / SET)


def _whole(digits: str) -> int:
    """A whole number, as far as what keeps it has room."""
    number = int(digits)
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"the whole number {digits:.40} has more than 64 bits")
    return number


def _or_raise(value: Any, message: str, hint: str) -> Any:
    if value is _MISSING:
        raise NotFound(message, hint=hint)
    return value


def _folder() -> Path | None:
    named = os.environ.get(VARIABLE)
    return Path(named) if named else None


def _read(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path, document: object) -> None:
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(json.dumps(document), encoding="utf-8")
    draft.replace(path)


FILES: Final = _Files()
task_values: Final = TaskValues(FILES)
