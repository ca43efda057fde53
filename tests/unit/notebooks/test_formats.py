from __future__ import annotations

import json
import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.core.errors import InvalidInput, NotFound
from millrace.notebooks.ipynb import parse_ipynb, render_ipynb
from millrace.notebooks.read import find_notebook, read_notebook, write_notebook
from millrace.notebooks.source_format import parse_source, render_source
from millrace.notebooks.types import Cell, Notebook

SOURCE = """# Databricks notebook source
# MAGIC %md
# MAGIC # Churn
# MAGIC
# MAGIC What it is about.

# COMMAND ----------

# DBTITLE 1,Load
import math
x = math.pi

# COMMAND ----------

# MAGIC %sql
# MAGIC SELECT 1

# COMMAND ----------

# DBTITLE 0,Hidden
# MAGIC %run ./other $day="monday"

# COMMAND ----------

# MAGIC %python
# MAGIC y = 2

# COMMAND ----------

y = 3
# MAGIC %timeit y
"""

# Lines as people write them, and those that mean something in the format.
_LINES = st.one_of(
    st.text(
        alphabet=string.printable.replace("\r", "").replace("\n", "").replace("\x0b", "").replace("\x0c", ""),
        max_size=12,
    ),
    st.sampled_from(["", " ", "%sql", "%md", "%time x", "!ls", "'''", "%s", "x = 1", "# a remark", "%run ./a", "ü€𝄞"]),
)
_SOURCES = st.lists(_LINES, max_size=5).map("\n".join)
_TITLES = st.none() | st.text(alphabet=string.ascii_letters + " ,#", min_size=1, max_size=8)
_CELLS = st.builds(Cell, st.sampled_from(["code", "markdown", "raw"]), _SOURCES, _TITLES, st.booleans())
_NOTEBOOKS = st.lists(_CELLS, max_size=5).map(Notebook)


def shown(notebook: Notebook) -> list[tuple[object, ...]]:
    """What both formats hold."""
    return [(cell.kind, cell.source, cell.title, cell.title is None or cell.shows_title) for cell in notebook.cells]


def test_source_format_is_read_as_people_write_it() -> None:
    assert shown(parse_source(SOURCE)) == [
        ("markdown", "# Churn\n\nWhat it is about.", None, True),
        ("code", "import math\nx = math.pi", "Load", True),
        ("code", "%sql\nSELECT 1", None, True),
        ("code", '%run ./other $day="monday"', "Hidden", False),
        ("code", "%python\ny = 2", None, True),
        ("code", "y = 3\n%timeit y", None, True),
    ]
    assert render_source(parse_source(SOURCE)) == SOURCE


def test_text_beside_md_is_text() -> None:
    text = "# Databricks notebook source\r\n# MAGIC %md ## Beside\r\n# MAGIC below\r\n"
    assert shown(parse_source(text)) == [("markdown", "## Beside\nbelow", None, True)]


@settings(deadline=None)
@given(_NOTEBOOKS)
def test_what_is_written_is_what_is_read(notebook: Notebook) -> None:
    try:
        text = render_source(notebook)
    except InvalidInput:
        return  # it is told, not lost: the next test says when
    again = parse_source(text)
    assert [(c.kind, c.source, c.title) for c in again.cells] == [(c.kind, c.source, c.title) for c in notebook.cells]
    assert render_source(again) == text
    by_json = parse_ipynb(render_ipynb(again))
    assert shown(by_json) == shown(again)
    assert render_source(by_json) == text


_PLAIN = st.lists(
    st.text(alphabet=string.ascii_letters + " =()\"':%", max_size=12).filter(lambda line: not line.startswith("%")),
    max_size=5,
).map("\n".join)


@settings(deadline=None)
@given(
    st.lists(st.builds(Cell, st.sampled_from(["code", "markdown"]), _PLAIN, _TITLES), min_size=1, max_size=4).map(
        Notebook
    )
)
def test_ordinary_cells_are_never_refused(notebook: Notebook) -> None:
    if (
        notebook.cells[0].source
        or len(notebook.cells) > 1
        or notebook.cells[0].title
        or notebook.cells[0].kind != "code"
    ):
        assert shown(parse_source(render_source(notebook))) == shown(notebook)


@settings(deadline=None)
@given(st.lists(_LINES, max_size=12).map("\n".join))
def test_any_text_behind_the_header_is_a_notebook(text: str) -> None:
    once = parse_source(f"# Databricks notebook source\n{text}")
    try:
        written = render_source(once)
    except InvalidInput:
        return
    assert shown(parse_source(written)) == shown(once)


_JSON_CELLS = st.fixed_dictionaries(
    {
        "cell_type": st.just("code"),
        "source": _SOURCES.filter(lambda text: not text.lstrip().startswith(("%md", "%raw"))),
        "metadata": st.dictionaries(
            st.sampled_from(["tags", "mine"]), st.lists(st.text(max_size=3), max_size=2, unique=True)
        ),
        "execution_count": st.none() | st.integers(0, 9),
        "outputs": st.lists(
            st.fixed_dictionaries(
                {"output_type": st.just("stream"), "name": st.just("stdout"), "text": st.text(max_size=5)}
            ),
            max_size=2,
        ),
    }
)


@settings(deadline=None)
@given(st.lists(_JSON_CELLS, max_size=4))
def test_an_ipynb_keeps_all_that_it_has(cells: list[dict[str, object]]) -> None:
    named = [{**cell, "id": f"c{number}"} for number, cell in enumerate(cells)]
    whole = {"cells": named, "metadata": {"mine": {"a": 1}}, "nbformat": 4, "nbformat_minor": 5}
    notebook = parse_ipynb(json.dumps(whole))
    assert parse_ipynb(render_ipynb(notebook)) == notebook
    written = json.loads(render_ipynb(notebook))
    for given_cell, cell in zip(named, written["cells"], strict=True):
        assert "".join(cell["source"]) == given_cell["source"]
        assert (cell["metadata"], cell["id"], cell["execution_count"]) == (
            given_cell["metadata"],
            given_cell["id"],
            given_cell["execution_count"],
        )
    assert written["metadata"] == whole["metadata"]


@pytest.mark.parametrize("line", ["# COMMAND ----------", "# MAGIC %sql"])
def test_a_line_that_means_something_else_there_is_refused(line: str) -> None:
    with pytest.raises(InvalidInput, match="cell 2 can't be written in source format"):
        render_source(Notebook([Cell("code", "x = 1"), Cell("code", f"y = 1\n{line}\nz = 1")]))


def test_a_percent_sign_inside_a_text_stays_python() -> None:
    cell = Cell("code", 'text = """\n%s and %d\n"""')
    assert "MAGIC" not in render_source(Notebook([cell]))


def test_files_are_found_with_and_without_their_ending(tmp_path: Path) -> None:
    write_notebook(Notebook([Cell("code", "x = 1")]), tmp_path / "sub" / "load.py")
    write_notebook(Notebook([Cell("code", "x = 1")]), tmp_path / "sub" / "train.ipynb")
    assert find_notebook("./sub/load", tmp_path) == tmp_path / "sub" / "load.py"
    assert find_notebook("../sub/train", tmp_path / "sub") == tmp_path / "sub" / "train.ipynb"
    assert [cell.source for cell in read_notebook(tmp_path / "sub" / "train.ipynb").cells] == ["x = 1"]
    with pytest.raises(NotFound, match="there is no notebook") as error:
        find_notebook("./sub/lode", tmp_path)
    assert error.value.hint == "did you mean 'load'?"


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.py", "print(1)\n", "is a Python program, not a notebook"),
        ("a.txt", "x", "is no notebook: its name ends in '.txt'"),
        ("a.ipynb", "{", "it is not JSON: Expecting property name"),
        ("a.ipynb", "[]", "is JSON, but no notebook"),
        ("a.ipynb", '{"cells": 3, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}', "is JSON, but no notebook"),
        ("a.ipynb", '{"hello": 1}', "is JSON, but no notebook"),
    ],
)
def test_what_is_no_notebook_is_told(tmp_path: Path, name: str, text: str, says: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InvalidInput, match=says):
        read_notebook(tmp_path / name)


def test_a_binary_file_and_a_missing_one_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match="it is not text"):
        read_notebook(tmp_path / "a.py")
    with pytest.raises(NotFound, match="there is no file"):
        read_notebook(tmp_path / "b.py")
