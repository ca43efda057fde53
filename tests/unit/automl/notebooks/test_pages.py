"""A notebook's two forms: deterministic, valid, and of the same cells."""

from __future__ import annotations

import ast
import json

import nbformat  # noqa: TID253 - this is what is tested
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.automl.notebooks.pages import Notebook, assigned, code, text

_CELLS = Notebook((text("# A", "", "b | c"), code("x = 1\n", "", "x")))


class TestForms:
    def test_the_same_cells_give_the_same_bytes(self) -> None:
        assert _CELLS.ipynb() == _CELLS.ipynb()

    def test_it_is_a_notebook_of_python(self) -> None:
        made = nbformat.reads(_CELLS.ipynb(), as_version=4)
        nbformat.validate(made)
        assert [cell.cell_type for cell in made.cells] == ["markdown", "code"]
        assert json.loads(_CELLS.ipynb())["metadata"]["kernelspec"]["name"] == "python3"

    def test_the_source_has_its_marks(self) -> None:
        lines = _CELLS.source().splitlines()
        assert lines[0] == "# Databricks notebook source"
        assert lines[1:5] == ["# MAGIC %md", "# MAGIC # A", "# MAGIC", "# MAGIC b | c"]
        assert "# COMMAND ----------" in lines


class TestCode:
    def test_empty_parts_are_left_out(self) -> None:
        assert code("a", "", "  ", "b").text == "a\nb"

    def test_never_more_than_two_empty_lines(self) -> None:
        assert code("a\n\n\n", "\n\nb").text == "a\n\n\nb"

    @pytest.mark.parametrize("value", [[], {"a": [1.5, None]}, ["x" * 60, "y" * 60, "it's"], {}, "/a/b.parquet"])
    def test_what_is_assigned_is_read_back(self, value: object) -> None:
        assert _read(assigned("NAME", value)) == value

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
            lambda part: st.lists(part) | st.dictionaries(st.text(), part),
            max_leaves=12,
        )
    )
    def test_any_plain_value_is_read_back(self, value: object) -> None:
        assert _read(assigned("NAME", value)) == value


def _read(line: str) -> object:
    (statement,) = ast.parse(line).body
    assert isinstance(statement, ast.Assign)
    return ast.literal_eval(statement.value)
