"""Values that tasks of a run hand on to each other, as `dbutils.jobs.taskValues` has them; for any Python that a task runs.

They are files beside the attempt: what a task sets is there when the attempt is over, whatever became of its process before that.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from millrace.core.errors import InvalidInput, NotFound
from millrace.core.names import did_you_mean

# Where the attempt's own folder is told to the programs that it runs.
VARIABLE: Final = "MILLRACE_TASK"
GIVEN, SET = "given.json", "values.json"
_LONGEST = 48 << 10  # as much as other platforms take
_MISSING: Final = object()


class TaskValues:
    """Values by task and name. Outside a run nothing is kept: `set` does nothing, and `get` has the `debugValue`."""

    def set(self, key: str, value: object) -> None:
        """Give a value to the tasks after this one.

        Raises:
            InvalidInput: it is not what JSON has a form for, or longer than 48 KiB.
        """
        try:
            text = json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InvalidInput(
                f"the task value '{key}' is no JSON: {error}", hint="give a text, a number, or lists and dicts of such"
            ) from error
        if len(text) > _LONGEST:
            raise InvalidInput(
                f"the task value '{key}' has {len(text):,} characters", hint="write a table, and give its name"
            )
        folder = _folder()
        if folder is not None:
            _write(folder / SET, {**read_values(folder), key: value})

    def get(
        self,
        taskKey: str,  # noqa: N803 - the names that people know
        key: str,
        default: Any = _MISSING,
        debugValue: Any = _MISSING,  # noqa: N803
    ) -> Any:
        """What an earlier task of the run gave under this name; `debugValue` where there is no run.

        Raises:
            NotFound: there is no such value and no `default`.
        """
        folder = _folder()
        if folder is None:
            return _or_raise(debugValue, f"there is no run to have a value '{key}'", "give debugValue=, for this case")
        given = read_given(folder)
        values = given.get(taskKey, {})
        if key in values:
            return values[key]
        known = [f"{task}.{name}" for task, names in given.items() for name in names]
        return _or_raise(default, f"task '{taskKey}' gave no value '{key}'", did_you_mean(f"{taskKey}.{key}", known))


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


task_values: Final = TaskValues()
