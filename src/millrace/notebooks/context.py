"""What a kernel is told about the notebook that it runs: a file that the environment names."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from millrace.core.settings import Settings
from millrace.jobs.task_values import task_parameters

VARIABLE = "MILLRACE_NOTEBOOK"
REPLY_KEY = "millrace"  # where the kernel's replies have what a notebook's runner reads


@dataclass(frozen=True, slots=True)
class NotebookContext:
    """Where a notebook stands.

    Attributes:
        home: the home's folder.
        path: the notebook; empty where there is none, as in a plain program.
        project: the folder that `dbutils.fs` may use beside the home's files.
        parameters: values for widgets.
        task_key: the task of a job that this is; empty outside a job.
        task_values: what the tasks before it set, by task and name; JSON values.
        artifacts: where notebooks that this one runs are kept; empty: in the home.
        depth: how many notebooks run this one.
    """

    home: str
    path: str = ""
    project: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    task_key: str = ""
    task_values: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    artifacts: str = ""
    depth: int = 0

    def to_json(self) -> str:
        """As `read_context` reads it."""
        return json.dumps(asdict(self))


def read_context(env: Mapping[str, str] | None = None) -> NotebookContext:
    """The context that this process was given.

    Of a program that was given none: the home, the working directory as project, and the parameters of the run that it is a task of.
    """
    env = os.environ if env is None else env
    file = env.get(VARIABLE)
    if file:
        known = json.loads(Path(file).read_text(encoding="utf-8"))
        names = {each.name for each in fields(NotebookContext)}
        return NotebookContext(**{name: value for name, value in known.items() if name in names})
    home, here = str(Settings.load(env=env).home), str(Path.cwd())
    return NotebookContext(home=home, project=here, parameters=task_parameters())
