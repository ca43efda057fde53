"""Running a notebook: in a kernel of its own, with the home's tables, and its outputs kept whatever happens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from millrace.core.errors import InvalidInput
from millrace.core.settings import Settings
from millrace.notebooks.check import check_notebook
from millrace.notebooks.context import NotebookContext
from millrace.notebooks.execution import Ended, Execution
from millrace.notebooks.failure import failure
from millrace.notebooks.ipynb import to_node
from millrace.notebooks.keep import Keeper
from millrace.notebooks.kernel_process import (
    experiment_of,
    kernel_environment,
    kernel_folder,
    kernel_manager,
    with_our_modules,
)
from millrace.notebooks.port import CellProgress
from millrace.notebooks.read import read_notebook
from millrace.notebooks.secrets import Redactor, Secrets
from millrace.notebooks.types import Notebook, NotebookResult

_LOOK_S = 0.1


class Silent:
    """Progress that nobody is told of."""

    def begins(self, number: int, total: int, title: str) -> None:
        """Say nothing."""

    def ends(self, number: int, total: int, title: str, seconds: float, *, failed: bool) -> None:
        """Say nothing."""


def run_notebook(
    path: Path,
    *,
    output: Path,
    home: str | Path | None = None,
    parameters: Mapping[str, str] | None = None,
    project: Path | None = None,
    task_key: str = "",
    task_values: Mapping[str, Mapping[str, object]] | None = None,
    timeout_s: float | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    progress: CellProgress | None = None,
    depth: int = 0,
) -> NotebookResult:
    """Execute all cells of a notebook in order. The process's working directory is not the notebook's: the kernel's is, its own folder.

    Args:
        path: an `.ipynb`, or a `.py` in source format.
        output: where the executed notebook is kept, an `.ipynb`; it is written anew after each cell, whole or not at all. What
            the kernel says outside of cells is beside it, in a `.log`, if it says anything. Notebooks that this one runs are beside it, too.
        home: the home; None: `MILLRACE_HOME`, else `./.millrace`.
        parameters: values for its widgets.
        project: the folder that `dbutils.fs` may use, and that its experiment's name is relative to; None: the notebook's folder.
        task_key: the job's task that this is; empty outside a job.
        task_values: what the tasks before it set, by task and name; JSON values.
        timeout_s: for all cells together; None: any time.
        cancelled: asked ten times a second; True interrupts the running cell, and kills it where it does not heed that.
        progress: told of each cell.
        depth: how many notebooks run this one.

    Raises:
        NotFound: there is no such file, or a notebook that it includes is not there.
        InvalidInput: it is no notebook, or has what can't run here; nothing ran.
        InvalidState: a cell failed, took too long or killed the kernel, or it was cancelled; `facts` say which (`cell`, `title`, `line`,
            `error`, `output`). The output is kept.
        KeyboardInterrupt: Ctrl-C, after the cell was interrupted and the output kept.
    """
    path, settings = path.absolute(), Settings.load(home)
    if output.suffix != ".ipynb":
        raise InvalidInput(f"the executed notebook can't be {output}", hint="give a name that ends in .ipynb")
    if output.absolute().resolve() == path.resolve():
        raise InvalidInput(f"the executed notebook would replace {path}", hint="give it another name or folder")
    notebook = read_notebook(path)
    check_notebook(path, notebook)
    project = (project or path.parent).absolute()
    context = NotebookContext(
        home=str(settings.home),
        path=str(path),
        project=str(project),
        parameters=dict(parameters or {}),
        task_key=task_key,
        task_values=task_values or {},
        artifacts=str(output.with_suffix("").absolute()),
        depth=depth,
    )
    redactor = Redactor(Secrets(settings.home).values())
    keeper = Keeper(output, redactor)
    begun = time.monotonic()
    ended = _execute(notebook, settings, context, keeper, progress or Silent(), timeout_s, cancelled)
    seconds = time.monotonic() - begun
    if ended.cell is not None:
        raise failure(path, notebook, ended, output, timeout_s, redactor)
    told = ended.told
    notes = [f"the parameter '{name}' was given, and nothing asked for it" for name in told.unread]
    return NotebookResult(path, output, told.exit_value, ended.cells, seconds, told.task_values, notes)


def _execute(  # noqa: PLR0917
    notebook: Notebook,
    settings: Settings,
    context: NotebookContext,
    keeper: Keeper,
    progress: CellProgress,
    timeout_s: float | None,
    cancelled: Callable[[], bool],
) -> Ended:
    node, path = to_node(replace(notebook, version=max(notebook.version, 5))), Path(context.path)
    _forget_outputs(node)
    with kernel_folder(context) as folder, keeper.log() as log:
        execution = Execution(
            node,
            kernel_manager(folder),
            titles=[cell.title or "" for cell in notebook.cells],
            timeout_s=timeout_s,
            keep=lambda: keeper.keep(node),
            progress=progress,
        )
        environment = kernel_environment(settings, folder, experiment_of(path, Path(context.project)))
        return _in_thread(
            execution,
            cancelled,
            lambda: execution.run(cwd=str(path.parent), env=with_our_modules(environment), log=log),
        )


def _forget_outputs(node: Any) -> None:
    node.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    for cell in node.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None


def _in_thread(execution: Execution, cancelled: Callable[[], bool], run: Callable[[], Ended]) -> Ended:
    """Run in a thread of its own, so that this one can be interrupted, and may have an event loop."""
    results: list[Ended] = []
    errors: list[BaseException] = []
    done = threading.Event()  # not the thread's own join: a Ctrl-C in it makes Python believe that the thread has ended

    def work() -> None:
        try:
            results.append(run())
        except BaseException as error:  # noqa: BLE001 - raised again by who waits
            errors.append(error)
        finally:
            done.set()

    threading.Thread(target=work, name="notebook", daemon=True).start()
    interrupt: KeyboardInterrupt | None = None
    while not done.is_set():
        try:
            done.wait(_LOOK_S)
            if cancelled():
                execution.stop("cancelled")
        except KeyboardInterrupt as pressed:
            interrupt = pressed
            execution.stop("interrupted")
    if interrupt is not None:
        raise interrupt
    if errors:
        raise errors[0]
    return results[0]
