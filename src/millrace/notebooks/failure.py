"""Why a notebook did not come to its end: which cell, which line, and what it said."""

from __future__ import annotations

from pathlib import Path

from millrace.core.errors import InvalidState
from millrace.notebooks.execution import Ended
from millrace.notebooks.secrets import Redactor
from millrace.notebooks.types import Notebook


def failure(  # noqa: PLR0917
    path: Path, notebook: Notebook, ended: Ended, output: Path, timeout_s: float | None, redactor: Redactor
) -> InvalidState:
    """The error to raise, without secrets."""
    number = ended.cell or 0
    cell = notebook.cells[number - 1]
    title = f" ({cell.title})" if cell.title else ""
    line = ended.told.line if not (ended.died or ended.stop) else None
    lines = cell.source.split("\n")
    source = lines[line - 1].strip() if line is not None and 0 < line <= len(lines) else ""
    where = f"{path.name}: cell {number}{title}"
    shown = f"\n  | {source}" if source else ""
    at = f" at line {line}" if source else ""
    return InvalidState(
        redactor.text(f"{where} {_what(ended, timeout_s, at)}{shown}"),
        hint=f"the executed notebook is kept in {output}",
        cell=number,
        title=cell.title,
        line=line,
        source=redactor.text(source),
        error=ended.error[0] or ended.stop or ("DeadKernel" if ended.died else ""),
        output=str(output),
        task_values=ended.told.task_values,
    )


def _what(ended: Ended, timeout_s: float | None, at: str) -> str:
    if ended.died:
        return "killed its kernel: it ended without a word, as it does when memory runs out"
    if ended.stop == "timeout":
        return f"was stopped: the notebook took longer than {timeout_s:g} s"
    if ended.stop is not None:
        return f"was stopped: the notebook was {ended.stop}"
    name, said = ended.error
    return f"failed{at}: {name}: {said}" if said else f"failed{at}: {name}"
