from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Engine, Integer, MetaData, Table, create_engine, insert, select, text
from sqlalchemy.exc import StatementError

from millrace.database.documents import Document

_TABLE = Table("documents", MetaData(), Column("id", Integer, primary_key=True), Column("document", Document))
_WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=3),
    max_leaves=10,
)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = create_engine("sqlite://")
    _TABLE.metadata.create_all(engine)
    yield engine
    engine.dispose()


def through(engine: Engine, value: object) -> Any:
    with engine.begin() as connection:
        query = insert(_TABLE).values(document=value).returning(_TABLE.c.id)
        number = connection.execute(query).scalar_one()
        return connection.execute(select(_TABLE.c.document).where(_TABLE.c.id == number)).scalar_one()


def same(one: object, other: object) -> bool:
    """Equal in type as well: 1, 1.0 and True are three values."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@given(value=_VALUES)
@settings(max_examples=150, deadline=None)
def test_what_is_read_is_what_was_written(engine: Engine, value: object) -> None:
    assert same(through(engine, value), value)


def test_none_is_null_in_the_database(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(insert(_TABLE).values(id=1_000_000, document=None))
        found = connection.execute(text("SELECT document IS NULL FROM documents WHERE id = 1000000")).scalar_one()
    assert found == 1


def test_a_float_that_is_not_finite_becomes_null(engine: Engine) -> None:
    assert through(engine, [float("nan"), float("inf"), -float("inf"), 0.5]) == [None, None, None, 0.5]


@pytest.mark.parametrize("value", [datetime(2025, 3, 1, tzinfo=UTC), {1: "a"}, {"a": {1, 2}}, b"bytes", object()])
def test_what_json_has_no_form_for_is_refused(engine: Engine, value: object) -> None:
    with pytest.raises(StatementError):
        through(engine, value)
