"""A notebook as it is read from a file, and what came of running one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

CellKind = Literal["code", "markdown", "raw"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell.

    Attributes:
        kind: `code` is Python, or a language that its first line names (`%sql`).
        source: as it stands in an `.ipynb`: lines end with a newline, the last one need not.
        title: what stands above the cell; None: nothing does.
        shows_title: whether it is shown.
        kept: what only an `.ipynb` has: the cell's id, metadata, attachments, outputs; JSON.
    """

    kind: CellKind
    source: str
    title: str | None = None
    shows_title: bool = True
    kept: Mapping[str, object] = field(default_factory=dict)

    @property
    def magic(self) -> str | None:
        """The word after `%` where the cell begins with one, as `sql`, `run`; `%%time` is `%time`."""
        first = self.source.lstrip("\n \t").split("\n", 1)[0].split(None, 1) if self.kind == "code" else []
        return first[0][1:] if first and first[0].startswith("%") else None


@dataclass(frozen=True, slots=True)
class Notebook:
    """Cells in order. `metadata` and `version` (the minor one of nbformat 4) are those of an `.ipynb`."""

    cells: Sequence[Cell]
    metadata: Mapping[str, object] = field(default_factory=dict)
    version: int = 5


@dataclass(frozen=True, slots=True)
class NotebookResult:
    """A notebook that ran to its end, or to its `dbutils.notebook.exit`.

    Attributes:
        exit_value: what it exited with; None where it did not.
        output: the executed notebook.
        task_values: what it set for the tasks after it; JSON values.
        notes: what its author may want to know: a parameter that nothing asked for.
    """

    path: Path
    output: Path
    exit_value: str | None
    cells: int
    seconds: float
    task_values: Mapping[str, object] = field(default_factory=dict)
    notes: Sequence[str] = ()
