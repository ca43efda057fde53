"""The kernel: IPython's own, which tells with each reply what a notebook's runner has to know."""

from __future__ import annotations

import os
import traceback
import warnings
from pathlib import Path
from typing import Any

from ipykernel.ipkernel import IPythonKernel

from millrace.notebooks.aliases import use_vendor_names
from millrace.notebooks.context import REPLY_KEY, read_context
from millrace.notebooks.kernel.cells import Cells
from millrace.notebooks.kernel.outgoing import Outgoing
from millrace.notebooks.names.dbutils import Dbutils, NotebookExit
from millrace.notebooks.names.display import display, displayHTML
from millrace.notebooks.names.task_values import KernelValues


class MillraceKernel(IPythonKernel):  # type: ignore[misc]  # ipykernel is untyped
    """A kernel in which `spark`, `dbutils`, `display` and `displayHTML` are there."""

    implementation = "millrace"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        _name_experiment()
        context = read_context()
        self._task_values = KernelValues(context.task_key, context.task_values)
        self._dbutils = dbutils = Dbutils(context, self._task_values)
        self._outgoing = Outgoing(self.session, dbutils.secrets.redactor())
        shell: Any = self.shell
        self._cells = Cells(shell, dbutils)
        self._cells.install()
        shell.user_ns.update(dbutils=dbutils, display=display, displayHTML=displayHTML)
        shell.user_ns_hidden.update(dbutils=dbutils, display=display, displayHTML=displayHTML)
        shell.set_custom_exc((NotebookExit,), _tell_exit)
        use_vendor_names()
        # Of a progress bar that some libraries would like to show: it says nothing about the notebook.
        warnings.filterwarnings("ignore", "IProgress not found")

    async def do_execute(self, code: str, *arguments: Any, **options: Any) -> Any:
        """IPython's, with `millrace` in the reply: the exit's value, task values, where an error was."""
        self._outgoing.begin()
        shell: Any = self.shell
        shell.last_execution_result = None
        reply = await super().do_execute(code, *arguments, **options)
        reply[REPLY_KEY] = self._told(shell.last_execution_result)
        return reply

    def _told(self, result: Any) -> dict[str, object]:
        error = None if result is None else result.error_before_exec or result.error_in_exec
        told: dict[str, object] = {
            "task_values": self._task_values.values,
            "unread": self._dbutils.widgets.unread(),
        }
        if isinstance(error, NotebookExit):
            told["exit"] = error.value
        elif error is not None:
            told["line"] = _line(error, self.shell)
        return told


def _name_experiment() -> None:
    """In JupyterLab, which tells the notebook's path, as `millrace exec` does it beforehand."""
    notebook = os.environ.get("JPY_SESSION_NAME")
    if notebook:
        os.environ.setdefault("MLFLOW_EXPERIMENT_NAME", f"/{Path(notebook).stem}")


def _tell_exit(
    _shell: Any, _kind: type, error: NotebookExit, _trace: object, tb_offset: int | None = None
) -> list[str]:
    del tb_offset
    from IPython.display import display as show

    if not error.told:  # by the notebook that was run inside this one
        show({"text/plain": f"Notebook exited: {error.value}"}, raw=True)
    error.told = True
    return []


def _line(error: BaseException, shell: Any) -> int | None:
    """The line of the cell that the error came through; of a cell that calls what other cells define, its own."""
    if isinstance(error, SyntaxError):
        return error.lineno
    files = getattr(shell.compile, "_filename_map", {})
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
    return frames[0].lineno if frames else None
