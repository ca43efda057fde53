from __future__ import annotations

import math
import re
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.core.errors import InvalidInput
from millrace.serving.bodies.rows import Columns, Lists, Records, Rows
from millrace.serving.inputs import InputReader, split_inputs

READER = InputReader([("amount", "double"), ("items", "long"), ("active", "boolean"), ("region", "string")])


ROW: list[object] = [1.0, 2, True, "x"]


def read(*records: dict[str, object]) -> list[list[object]]:
    return split_inputs(READER.read(Records(records)), READER.types)


def test_values_become_floats_and_texts_in_input_order() -> None:
    record = {"region": "north", "more": [1], "active": True, "items": 3, "amount": 7}
    (row,) = read(record)
    assert row == [7.0, 3.0, 1.0, "north"]
    assert all(isinstance(value, float) for value in row[:3])


def test_null_is_missing() -> None:
    ((amount, _, _, region),) = split_inputs(READER.from_values([[None, 1, False, None]]), READER.types)
    assert isinstance(amount, float)
    assert math.isnan(amount)
    assert region is None


def test_a_missing_column_is_named() -> None:
    with pytest.raises(InvalidInput, match="column 'items' is missing"):
        read({"amount": 1, "active": True, "region": "x"})


@pytest.mark.parametrize(
    ("place", "value"),
    [(0, "12"), (0, [1]), (0, {}), (1, 1.5), (1, None), (1, "1"), (2, None), (2, 0.5), (3, 5), (3, True), (3, [])],
)
def test_a_wrong_type_is_named_by_its_column_only(place: int, value: object) -> None:
    values = [*ROW[:place], value, *ROW[place + 1 :]]
    with pytest.raises(InvalidInput, match=f"column '{READER.columns[place]}'"):
        READER.from_values([ROW, values])


def test_a_number_beyond_doubles_is_refused() -> None:
    with pytest.raises(InvalidInput, match="column 'amount'"):
        READER.from_values([[10**400, 1, True, "x"]])


def test_logged_types_are_doubles_and_strings() -> None:
    assert READER.types == (("amount", "double"), ("items", "double"), ("active", "double"), ("region", "string"))


VALUE = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.just("12") | st.just([1])


@settings(max_examples=300, deadline=None)
@given(
    rows=st.lists(st.fixed_dictionaries({"a": VALUE, "b": VALUE, "more": VALUE}), min_size=1, max_size=4),
    kinds=st.tuples(st.sampled_from(["double", "long", "boolean"]), st.sampled_from(["double", "long"])),
)
def test_whole_matrices_are_read_as_value_by_value(rows: list[dict[str, Any]], kinds: tuple[str, str]) -> None:
    reader = InputReader([("b", kinds[1]), ("a", kinds[0])])
    careful = InputReader([("b", kinds[1]), ("a", kinds[0]), ("none", "string")])
    names = list(rows[0])
    shapes: list[Rows] = [
        Records(rows),
        Lists(names, [[row[name] for name in names] for row in rows]),
        Columns({name: [row[name] for row in rows] for name in names}),
    ]
    try:
        wanted = careful.read(Records([{**row, "none": None} for row in rows])).numbers
    except InvalidInput as error:
        for shape in shapes:
            with pytest.raises(InvalidInput, match=re.escape(error.message)):
                reader.read(shape)
    else:
        for shape in shapes:
            np.testing.assert_array_equal(reader.read(shape).numbers, wanted)


@pytest.mark.parametrize(
    "rows",
    [
        Records([{"a": 1.0, "b": "x" * 10_000}, *({"a": 1.0, "b": 2.0} for _ in range(500))]),
        Lists(["a", "b"], [[1.0, 2.0] for _ in range(500)] + [[1.0, "x" * 10_000]]),
        Columns({"a": [1.0] * 501, "b": [*[2.0] * 500, "x" * 10_000]}),
        Columns({"a": np.ones(501), "b": [*["y"] * 500, "x" * 10_000]}),
    ],
)
def test_a_long_text_among_numbers_takes_no_more_room_than_it_has(rows: Rows) -> None:
    tracemalloc.start()
    try:
        assert rows.matrix(["a", "b"]) is None
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 200_000  # a matrix of texts of that width has 40 MB


def test_a_column_of_texts_that_are_numbers_is_no_number() -> None:
    assert Columns({"a": np.array(["1", "2"])}).matrix(["a"]) is None
    assert Lists(None, np.array([["1", "2"]])).matrix(["a", "b"]) is None
