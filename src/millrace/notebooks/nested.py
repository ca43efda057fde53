"""`dbutils.notebook.run`: a notebook that another one runs."""

from __future__ import annotations

from pathlib import Path

from millrace.core.errors import InvalidState
from millrace.notebooks.context import NotebookContext
from millrace.notebooks.read import find_notebook
from millrace.notebooks.run import run_notebook

_DEEPEST = 8


def run_inside(
    context: NotebookContext, name: str, timeout_s: float, arguments: dict[str, str], number: int
) -> str | None:
    """Run it in a kernel of its own, and return what it exited with. Its outputs are kept beside those of the one that runs it."""
    if context.depth >= _DEEPEST:
        raise InvalidState(
            f"{name} would be the {_DEEPEST + 1}th notebook inside another", hint="does a notebook run itself?"
        )
    folder = Path(context.path).parent if context.path else Path.cwd()
    path = find_notebook(name, folder)
    kept = Path(context.artifacts or Path(context.home) / "notebooks" / "nested")
    return run_notebook(
        path,
        output=kept / f"{number:03}-{path.stem}.ipynb",
        home=context.home,
        parameters=arguments,
        project=Path(context.project) if context.project else None,
        task_key=context.task_key,
        task_values=context.task_values,
        timeout_s=timeout_s or None,
        depth=context.depth + 1,
    ).exit_value
