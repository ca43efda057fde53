"""`dbutils`: what notebooks ask of where they run."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from millrace.jobs.task_values import Exchange
from millrace.notebooks.context import NotebookContext
from millrace.notebooks.names.files import Files
from millrace.notebooks.names.helped import Helped
from millrace.notebooks.names.task_values import KernelValues, TaskValueMethods
from millrace.notebooks.names.widgets import Widgets
from millrace.notebooks.secrets import Redactor, Secrets

_HELP = """dbutils
  widgets       text, dropdown, combobox, multiselect; get, getAll, remove, removeAll: the notebook's parameters
  notebook      run(path, timeout_seconds, arguments): another notebook's exit value; exit(value)
  jobs          taskValues.set(key, value), .get(taskKey, key, default, debugValue)
  secrets       get, getBytes, list, listScopes: from MILLRACE_SECRET_<SCOPE>_<KEY> or the home's secrets.json
  fs            ls, head, put, cp, mv, rm, mkdirs: dbfs:/NAME in the home, other paths in the project"""


class NotebookExit(BaseException):
    """The notebook has said what it came to."""

    def __init__(self, value: str) -> None:
        super().__init__(value)
        self.value = value
        self.told = False


class NotebookMethods(Helped):
    """`dbutils.notebook`."""

    def __init__(self, context: NotebookContext) -> None:
        self._context, self._numbers = context, itertools.count(1)

    def exit(self, value: object = "") -> NoReturn:
        """End the notebook with a value; a program with exit code 0."""
        if _in_kernel():
            raise NotebookExit(str(value))
        raise SystemExit(0)

    def run(self, path: str, timeout_seconds: float = 0, arguments: dict[str, object] | None = None) -> str | None:
        """Run another notebook in a kernel of its own, and return what it exited with.

        Args:
            path: relative to this notebook.
            timeout_seconds: how long it may take; 0: any time.
            arguments: values for its widgets.

        Raises:
            NotFound, InvalidInput, InvalidState: as `run_notebook`.
        """
        from millrace.notebooks.nested import run_inside

        given = {name: str(value) for name, value in (arguments or {}).items()}
        return run_inside(self._context, path, timeout_seconds, given, next(self._numbers))


@dataclass(frozen=True, slots=True)
class SecretMetadata:
    """A secret's name."""

    key: str


@dataclass(frozen=True, slots=True)
class SecretScope:
    """A scope's name."""

    name: str


class SecretMethods(Helped):
    """`dbutils.secrets`. Nothing that is printed shows a secret's value."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def get(self, scope: str, key: str) -> str:
        """A secret as text."""
        return self._secrets.get(scope, key)

    def getBytes(self, scope: str, key: str) -> bytes:  # noqa: N802 - the name that people know
        """A secret as UTF-8."""
        return self._secrets.get(scope, key).encode()

    def redactor(self) -> Redactor:
        """What keeps all of them out of texts."""
        return Redactor(self._secrets.values())

    def list(self, scope: str) -> list[SecretMetadata]:
        """The names of a scope's secrets."""
        return [SecretMetadata(key) for key in self._secrets.keys(scope)]

    def listScopes(self) -> Sequence[SecretScope]:  # noqa: N802
        """The names of the scopes."""
        return [SecretScope(name) for name in self._secrets.scopes()]


class JobMethods:
    """`dbutils.jobs`."""

    def __init__(self, exchange: Exchange) -> None:
        self.taskValues = TaskValueMethods(exchange)


class Dbutils:
    """All of `dbutils`, for one notebook or program.

    Args:
        context: where it stands.
        exchange: where task values are kept; None: in this process, which knows those that the context has.
    """

    def __init__(self, context: NotebookContext, exchange: Exchange | None = None) -> None:
        home = Path(context.home)
        self.context = context
        self.widgets = Widgets(context.parameters)
        self.notebook = NotebookMethods(context)
        self.jobs = JobMethods(exchange or KernelValues(context.task_key, context.task_values))
        self.secrets = SecretMethods(Secrets(home))
        self.fs = Files(home, Path(context.project or "."))

    def help(self) -> None:
        """Print what there is."""
        sys.stdout.write(_HELP + "\n")

    def __repr__(self) -> str:
        return _HELP


def _in_kernel() -> bool:
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return get_ipython() is not None
