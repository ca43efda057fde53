"""`dbutils.jobs.taskValues`: small values from one task of a job to those after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from millrace.jobs.task_values import TaskValues
from millrace.notebooks.names.helped import Helped


class TaskValueMethods(TaskValues, Helped):
    """`dbutils.jobs.taskValues`."""


@dataclass
class KernelValues:
    """Task values in a kernel: it was told what the tasks before it set, and tells what this one sets.

    Attributes:
        task_key: this task; empty outside a job.
        known: what the tasks before it set, by task and name.
        values: what this one has set; outside a job they are in the notebook's result all the same.
    """

    task_key: str
    known: Mapping[str, Mapping[str, Any]]
    values: dict[str, Any] = field(default_factory=dict)

    def before(self) -> Mapping[str, Mapping[str, Any]] | None:
        """What the tasks before it set; None outside a job."""
        return self.known if self.task_key else None

    def keep(self, key: str, value: Any) -> None:
        """Keep a value; the last of a name wins."""
        self.values[key] = value
