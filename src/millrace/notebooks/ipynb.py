"""Notebooks as `.ipynb`: nbformat's JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from millrace.core.errors import InvalidInput, first_line
from millrace.notebooks.source_format import as_text
from millrace.notebooks.types import Cell, CellKind, Notebook

# Where the format that this one is exchanged with keeps titles.
_TITLES = "application/vnd.databricks.v1+cell"
_INDENT = 1  # nbformat's own


def parse_ipynb(text: str) -> Notebook:
    """The notebook in a JSON text, of nbformat 4, or 3 and older, which are upgraded.

    Raises:
        InvalidInput: it is not JSON, or no notebook.
    """
    import nbformat

    try:
        node = nbformat.reads(text, as_version=4)
        nbformat.validate(node)
    except nbformat.reader.NotJSONError as error:
        raise InvalidInput(f"it is not JSON: {_fault(text)}", hint="give an .ipynb as Jupyter writes it") from error
    except (nbformat.ValidationError, KeyError, AttributeError, TypeError, ValueError) as error:
        raise InvalidInput(
            f"it is JSON, but no notebook: {first_line(error)}", hint="give an .ipynb as Jupyter writes it"
        ) from error
    plain = json.loads(json.dumps(node))
    cells = [_cell(cell) for cell in plain["cells"]]
    return Notebook(cells, plain["metadata"], plain["nbformat_minor"])


def render_ipynb(notebook: Notebook) -> str:
    """The JSON text of a notebook, in nbformat's own layout."""
    import nbformat

    return cast("str", nbformat.writes(to_node(notebook), indent=_INDENT)) + "\n"


def to_node(notebook: Notebook) -> Any:
    """The notebook as nbformat holds it. Cells without an id get one by their number, so that the same notebook gives the same text."""
    import nbformat

    cells = [_to_json(cell, number, notebook.version) for number, cell in enumerate(notebook.cells, 1)]
    whole = {"cells": cells, "metadata": dict(notebook.metadata), "nbformat": 4, "nbformat_minor": notebook.version}
    return nbformat.from_dict(json.loads(json.dumps(whole)))


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
