"""`dbutils.jobs.taskValues`: small values from one task of a job to those after it."""

from __future__ import annotations

import json
from collections.abc import Mapping

from millrace.core.errors import InvalidInput, NotFound
from millrace.core.names import did_you_mean
from millrace.notebooks.names.helped import Helped

_LARGEST = 48 * 1024
_NONE = object()


class TaskValues(Helped):
    """What this task sets, and what the tasks before it set.

    Args:
        task_key: this task; empty outside a job.
        known: by task and name, JSON values.
    """

    def __init__(self, task_key: str, known: Mapping[str, Mapping[str, object]]) -> None:
        self._task_key, self._known = task_key, known
        self.values: dict[str, object] = {}

    def set(self, key: str, value: object) -> None:
        """Keep a value for the tasks after this one; outside a job it is only kept in the result.

        Raises:
            InvalidInput: it is not JSON, or larger than 48 KiB.
        """
        try:
            text = json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InvalidInput(
                f"the task value '{key}' is not JSON: {error}",
                hint="give a text, number, list or dictionary; of NumPy's numbers, float(x)",
            ) from error
        if len(text) > _LARGEST:
            raise InvalidInput(
                f"the task value '{key}' has {len(text):,} bytes, more than {_LARGEST:,}",
                hint="write a table or a file, and pass its name",
            )
        self.values[key] = json.loads(text)

    def get(
        self,
        taskKey: str,  # noqa: N803 - the name that people know
        key: str,
        default: object = _NONE,
        debugValue: object = _NONE,  # noqa: N803
    ) -> object:
        """What a task before this one set.

        Args:
            taskKey: that task.
            key: the value's name.
            default: where that task set no such value.
            debugValue: outside a job, where there are no other tasks.

        Raises:
            NotFound: there is no such value, and no default.
        """
        if not self._task_key:
            if debugValue is not _NONE:
                return debugValue
            raise NotFound(
                f"there is no job here, so no task '{taskKey}'",
                hint="give debugValue= for when the notebook runs alone",
            )
        values = self._known.get(taskKey, {})
        if key in values:
            return values[key]
        if default is not _NONE:
            return default
        if taskKey not in self._known:
            raise NotFound(f"no task '{taskKey}' before this one set a value", hint=did_you_mean(taskKey, self._known))
        raise NotFound(f"the task '{taskKey}' set no value '{key}'", hint=did_you_mean(key, values))
