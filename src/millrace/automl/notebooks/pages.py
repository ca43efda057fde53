"""A notebook as data: cells of text and of code, and the two forms in which it is kept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pprint import pformat
from typing import Literal

from millrace.notebooks.libraries import import_nbformat

_WIDTH = 110
_FIRST = "# Databricks notebook source"
_BREAK = "\n\n# COMMAND ----------\n\n"


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: Markdown or Python."""

    kind: Literal["text", "code"]
    text: str


@dataclass(frozen=True, slots=True)
class Notebook:
    """Cells in order. The same cells give the same bytes in either form."""

    cells: Sequence[Cell]

    def ipynb(self) -> str:
        """As a Jupyter notebook, without outputs."""
        nbformat = import_nbformat()
        v4 = nbformat.v4
        made = v4.new_notebook(metadata=_METADATA)
        for number, cell in enumerate(self.cells):
            new = v4.new_markdown_cell if cell.kind == "text" else v4.new_code_cell
            made.cells.append(new(cell.text, id=f"cell-{number}"))  # ids are random otherwise
        nbformat.validate(made)
        return str(nbformat.writes(made)) + "\n"

    def source(self) -> str:
        """In source format: a Python file whose cells are parted by `# COMMAND ----------`."""
        return _FIRST + "\n" + _BREAK.join(map(_source, self.cells)) + "\n"


def text(*lines: str) -> Cell:
    """A cell of Markdown."""
    return Cell("text", "\n".join(lines))


def code(*parts: str) -> Cell:
    """A cell of Python: parts one below the other. Empty ones are left out, and there are never more than two empty lines."""
    joined = "\n".join(part for part in parts if part.strip())
    return Cell("code", re.sub(r"\n{4,}", "\n\n\n", joined).strip("\n"))


def assigned(name: str, value: object) -> str:
    """`name = value` as Python that people can read and change."""
    start = f"{name} = "
    shown = pformat(value, width=_WIDTH - len(start), compact=True, sort_dicts=False)
    return start + shown.replace("\n", "\n" + " " * len(start))


def _source(cell: Cell) -> str:
    if cell.kind == "code":
        return cell.text
    return "\n".join(f"# MAGIC {line}".rstrip() for line in ("%md", *cell.text.split("\n")))


_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
