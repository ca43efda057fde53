from __future__ import annotations

from pathlib import Path

import pytest

from millrace.core.errors import InvalidInput, MillraceError, NotFound
from millrace.notebooks.check import check_notebook, parse_include
from millrace.notebooks.types import Cell, Notebook

HEADER = "# Databricks notebook source\n"


def check(folder: Path, *sources: str) -> None:
    check_notebook(folder / "main.py", Notebook([Cell("code", source) for source in sources]))


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("%scala\nval x = 1", "%scala"),
        ("%r\nx <- 1", "%r"),
        ("%sh ls", "%sh"),
        ("%pip install x", "%pip"),
        ("%%bash\nls", "%bash"),
        ("x = 1\n%pip install x", "installs packages: %pip install x"),
        ("!pip install x", "installs packages: !pip install x"),
    ],
)
def test_other_languages_and_installs_are_refused_with_the_cells_number(tmp_path: Path, source: str, word: str) -> None:
    with pytest.raises(InvalidInput, match=rf"main.py: cell 2 .*{word}") as error:
        check(tmp_path, "x = 1", source)
    assert error.value.hint
    assert error.value.facts["cell"] == 2


@pytest.mark.parametrize(
    "source", ["%sql\nSELECT 1", "%time x", "%matplotlib inline", 'x = """\n%pip\n"""', "", "%python\nx = 1", "!ls"]
)
def test_what_can_run_passes(tmp_path: Path, source: str) -> None:
    check(tmp_path, source)


def test_includes_are_looked_at_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(f"{HEADER}# MAGIC %run ./b\n")
    (tmp_path / "b.py").write_text(f"{HEADER}# MAGIC %r\n# MAGIC x <- 1\n")
    with pytest.raises(InvalidInput, match=r"b.py: cell 1 is %r"):
        check(tmp_path, "%run ./a")


def test_a_missing_include_is_told_with_its_cell(tmp_path: Path) -> None:
    (tmp_path / "helpers.py").write_text(HEADER)
    with pytest.raises(NotFound, match=r"main.py: cell 2 runs ./helper: there is no notebook") as error:
        check(tmp_path, "", "%run ./helper")
    assert error.value.hint == "did you mean 'helpers'?"


def test_a_notebook_that_runs_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(f"{HEADER}# MAGIC %run ./other\n")
    (tmp_path / "other.py").write_text(f"{HEADER}# MAGIC %run ./main\n")
    with pytest.raises(InvalidInput, match=r"runs a notebook inside itself: main.py -> other.py -> main.py"):
        check(tmp_path, "%run ./other")


def test_a_plain_program_may_be_run_in_place(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("x = 1\n")
    check(tmp_path, "%run ./program.py")


def test_an_include_has_a_path_and_parameters() -> None:
    include = parse_include('./other $day="a b" $n=3')
    assert (include.name, include.parameters) == ("./other", {"day": "a b", "n": "3"})


@pytest.mark.parametrize("line", ["", "./a b", './a $x="', "./a $x"])
def test_a_wrong_include_is_told(line: str) -> None:
    with pytest.raises(MillraceError) as error:
        parse_include(line)
    assert error.value.hint
