"""Notebooks in source format: a `.py` file whose comments say where cells begin, and what is no Python."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping

from millrace.core.errors import InvalidInput
from millrace.notebooks.types import Cell, CellKind, Notebook

HEADER = "# Databricks notebook source"
_BORDER = "# COMMAND ----------"
_TITLE = re.compile(r"# DBTITLE ([01]),(.*)")
_MAGIC = "# MAGIC"
# Cells that are no code, by their first word.
_KINDS: Mapping[str, CellKind] = {"%md": "markdown", "%raw": "raw"}
_LINE_MAGIC = re.compile(r"[%!]")


def is_source_format(text: str) -> bool:
    """Whether a file's text is a notebook in source format."""
    return text.removeprefix("\ufeff").split("\n", 1)[0].rstrip() == HEADER


def parse_source(text: str) -> Notebook:
    """The notebook in a text that `is_source_format`."""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")[1:]
    if lines and lines[-1] == "":
        lines.pop()  # the file's last line end
    chunks: list[list[str]] = [[]]
    for line in lines:
        if line.rstrip() == _BORDER:
            chunks.append([])
        else:
            chunks[-1].append(line)
    last = len(chunks) - 1
    bare = [_without_margins(chunk, first=number > 0, last=number < last) for number, chunk in enumerate(chunks)]
    return Notebook([] if bare == [[]] else [_cell(chunk) for chunk in bare])


def render_source(notebook: Notebook) -> str:
    """The text of a notebook. Outputs, ids and metadata of an `.ipynb` have no place in it.

    Raises:
        InvalidInput: a cell holds a line that means something else in this format.
    """
    cells = [_lines(cell) for cell in notebook.cells]
    text = f"\n\n{_BORDER}\n\n".join("\n".join(lines) for lines in cells)
    rendered = f"{HEADER}\n{text}\n" if cells else f"{HEADER}\n"
    _refuse_loss(notebook, rendered)
    return rendered


def _without_margins(lines: list[str], *, first: bool, last: bool) -> list[str]:
    """Without the empty line that stands between a border and a cell."""
    if first and lines and not lines[0]:
        lines = lines[1:]
    return lines[:-1] if last and lines and not lines[-1] else lines


def _cell(lines: list[str]) -> Cell:
    titled = _TITLE.fullmatch(lines[0]) if lines else None
    title, shown = (titled[2], titled[1] == "1") if titled else (None, True)
    body = lines[1:] if titled else lines
    first = next((line for line in body if line), "")
    if not _is_magic(first):
        return Cell("code", "\n".join(map(_uncommented, body)), title, shown)
    source = "\n".join(map(_bare, body))
    told = as_text(source)
    return Cell("code", source, title, shown) if told is None else Cell(told[0], told[1], title, shown)


def as_text(source: str) -> tuple[CellKind, str] | None:
    """What a cell that begins with `%md` or `%raw` is: its kind and its text; None for code."""
    words = source.split(None, 1)
    kind = _KINDS.get(words[0]) if words else None
    if kind is None:
        return None
    beside, line_end, below = source.lstrip().removeprefix(words[0]).partition("\n")
    return kind, beside.lstrip() + line_end + below if beside.strip() else below


def _is_magic(line: str) -> bool:
    return line == _MAGIC or line.startswith(_MAGIC + " ")


def _bare(line: str) -> str:
    return line[len(_MAGIC) + 1 :] if _is_magic(line) else line


def _uncommented(line: str) -> str:
    """A line magic in the middle of Python code is a comment in the file, and none in the notebook."""
    return _bare(line) if _is_magic(line) and _LINE_MAGIC.match(_bare(line)) else line


def _lines(cell: Cell) -> list[str]:
    title = [] if cell.title is None else [f"# DBTITLE {int(cell.shows_title)},{cell.title}"]
    if cell.kind != "code":
        word = next(word for word, kind in _KINDS.items() if kind == cell.kind)
        return title + [_commented(line) for line in f"{word}\n{cell.source}".split("\n")]
    lines = cell.source.split("\n")
    first = next((line for line in lines if line), "")
    if first.startswith("%"):
        return title + [_commented(line) for line in lines]
    if any(map(_LINE_MAGIC.match, lines)) and not is_python(cell.source):
        return title + [_commented(line) if _LINE_MAGIC.match(line) else line for line in lines]
    return title + lines


def _commented(line: str) -> str:
    return f"{_MAGIC} {line}" if line else _MAGIC


def is_python(source: str) -> bool:
    """Whether it is Python as it stands, so that a line that begins with `%` is inside a text."""
    try:
        ast.parse(source)
    except (SyntaxError, ValueError):
        return False
    return True


def _refuse_loss(notebook: Notebook, text: str) -> None:
    """What would be read differently from what was written is not written."""
    again = parse_source(text).cells
    given = [Cell(cell.kind, cell.source, cell.title, cell.shows_title) for cell in notebook.cells]
    if list(again) == given:
        return
    number = next((n for n, (one, other) in enumerate(zip(given, again, strict=False), 1) if one != other), len(given))
    raise InvalidInput(
        f"cell {number} can't be written in source format: a line in it means something else there",
        hint=f"change lines that begin with `{_BORDER}`, `# MAGIC` or `# DBTITLE`, or keep the notebook as .ipynb",
        cell=number,
    )
