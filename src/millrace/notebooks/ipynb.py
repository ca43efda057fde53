"""Notebooks as `.ipynb`: nbformat's JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from millrace.core.errors import InvalidInput, first_line
from millrace.notebooks.libraries import import_nbformat
from millrace.notebooks.source_format import as_text
from millrace.notebooks.types import Cell, CellKind, Notebook

# Where the format that this one is exchanged with keeps titles.
_TITLES = "application/vnd.databricks.v1+cell"
_HINT = "give an .ipynb as Jupyter writes it"


def parse_ipynb(text: str) -> Notebook:
    """The notebook in a JSON text, of nbformat 4, or 3 and older, which are upgraded.

    Raises:
        InvalidInput: it is not JSON, or no notebook.
    """
    nbformat = import_nbformat()
    plain: dict[str, Any] = {}
    try:
        node = nbformat.convert(nbformat.reader.reads(text), to_version=4)
        plain = json.loads(json.dumps(node))
        wrong = _wrong(plain)
    except nbformat.reader.NotJSONError as error:
        raise InvalidInput(f"it is not JSON: {_fault(text)}", hint=_HINT) from error
    except (nbformat.ValidationError, KeyError, AttributeError, TypeError, ValueError) as error:
        wrong = first_line(error)
    if wrong:
        raise InvalidInput(f"it is JSON, but no notebook: {wrong}", hint=_HINT)
    cells = [_cell(cell) for cell in plain["cells"]]
    return Notebook(cells, plain["metadata"], plain["nbformat_minor"])


def render_ipynb(notebook: Notebook) -> str:
    """The JSON text of a notebook, in nbformat's own layout."""
    return write_node(to_node(notebook))


def write_node(node: Any) -> str:
    """The JSON text of what nbformat holds."""
    return cast("str", import_nbformat().v4.writes(node)) + "\n"


def to_node(notebook: Notebook) -> Any:
    """The notebook as nbformat holds it. Cells without an id get one by their number, so that the same notebook gives the same text."""
    nbformat = import_nbformat()

    cells = [_to_json(cell, number, notebook.version) for number, cell in enumerate(notebook.cells, 1)]
    whole = {"cells": cells, "metadata": dict(notebook.metadata), "nbformat": 4, "nbformat_minor": notebook.version}
    return nbformat.from_dict(json.loads(json.dumps(whole)))


def _wrong(plain: Mapping[str, Any]) -> str:
    """What of a notebook is missing. What else its schema asks for is not asked here: Jupyter opens such notebooks, too."""
    if not isinstance(plain.get("cells"), list) or not isinstance(plain.get("metadata"), dict):
        return "it has no list of cells"
    for number, cell in enumerate(plain["cells"], 1):
        if cell["cell_type"] not in {"code", "markdown", "raw"}:
            return f"cell {number} is a '{cell['cell_type']}'"
        if not isinstance(cell["source"], str) or not isinstance(cell["metadata"], dict):
            return f"cell {number} has no source"
    return ""


def _fault(text: str) -> str:
    try:
        json.loads(text)
    except ValueError as error:
        return first_line(error)
    return "it holds no object"


def _cell(cell: Mapping[str, Any]) -> Cell:
    kept = {name: value for name, value in cell.items() if name not in {"cell_type", "source"}}
    source = cell["source"].replace("\r\n", "\n")
    kind, source = _kind(cell["cell_type"], source)
    told = cell["metadata"].get(_TITLES)
    if not isinstance(told, dict) or not isinstance(told.get("title"), str) or not told["title"]:
        return Cell(kind, source, kept=kept)
    return Cell(kind, source, told["title"], bool(told.get("showTitle")), kept)


def _kind(given: str, source: str) -> tuple[CellKind, str]:
    """A code cell that is `%md` is text, as it is in source format."""
    told = as_text(source) if given == "code" else None
    return told or (cast("CellKind", given), source)


def _to_json(cell: Cell, number: int, version: int) -> Mapping[str, object]:
    kept = {name: value for name, value in cell.kept.items() if cell.kind == "code" or name not in _OF_CODE}
    made: dict[str, Any] = {"metadata": {}, **kept, "cell_type": cell.kind, "source": cell.source}
    if cell.kind == "code":
        made.setdefault("outputs", [])
        made.setdefault("execution_count", None)
    if version >= _WITH_IDS:
        made.setdefault("id", f"cell-{number}")
    if cell.title is not None:
        told = made["metadata"].get(_TITLES)
        titles = {**(told if isinstance(told, dict) else {}), "title": cell.title, "showTitle": cell.shows_title}
        made["metadata"] = {**made["metadata"], _TITLES: titles}
    return made


_OF_CODE: Sequence[str] = ("outputs", "execution_count")
_WITH_IDS = 5
