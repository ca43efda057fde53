from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.core.errors import InvalidInput
from millrace.core.names import TableName, did_you_mean

_PARTS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,20}", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "full", "short"),
    [
        ("sales", "main.default.sales", "default.sales"),
        ("bronze.sales", "main.bronze.sales", "bronze.sales"),
        ("main.bronze.sales", "main.bronze.sales", "bronze.sales"),
        ("ml.features.churn-2", "ml.features.churn-2", "ml.features.churn-2"),
        ("1.2.3", "1.2.3", "1.2.3"),
    ],
)
def test_missing_parts_are_the_defaults(text: str, full: str, short: str) -> None:
    name = TableName.parse(text)
    assert (name.full, str(name)) == (full, short)


@pytest.mark.parametrize(
    "text", ["", ".", "a.", ".a", "a..b", "a.b.c.d", "a b", "a/b", "../x", "ä", "-a", "a\n", "a" * 129, "a;b", "a'b"]
)
def test_what_is_not_a_name_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        TableName.parse(text)
    assert caught.value.facts == {"name": text}
    assert "catalog.schema.table" in caught.value.hint


def test_a_name_of_the_longest_length_is_taken() -> None:
    assert TableName.parse("a" * 128).table == "a" * 128


@given(st.lists(_PARTS, min_size=1, max_size=3))
@settings(max_examples=100, deadline=None)
def test_every_written_form_reads_back_as_the_same_name(parts: list[str]) -> None:
    name = TableName.parse(".".join(parts))
    assert TableName.parse(str(name)) == TableName.parse(name.full) == TableName.parse(name) == name
    assert name.table == parts[-1]


def test_names_sort_by_catalog_schema_table() -> None:
    names = [TableName.parse(text) for text in ("ml.a.a", "b.b", "a.z", "a.b")]
    assert [str(name) for name in sorted(names)] == ["a.b", "a.z", "b.b", "ml.a.a"]


def test_the_nearest_known_name_is_suggested() -> None:
    assert did_you_mean("transaction", ["customers", "transactions"]) == "did you mean 'transactions'?"


def test_without_a_near_one_the_known_are_listed_a_lines_worth() -> None:
    assert did_you_mean("xyz", ["b", "a"]) == "there is: a, b"
    assert did_you_mean("xyz", [f"name{number}" for number in range(9)]).endswith("name7, ...")
    assert did_you_mean("xyz", []) == "there is none yet"
