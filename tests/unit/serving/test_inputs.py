from __future__ import annotations

import math

import pytest

from millrace.core.errors import InvalidInput
from millrace.serving.inputs import InputReader

READER = InputReader([("amount", "double"), ("items", "long"), ("active", "boolean"), ("region", "string")])


def test_values_become_floats_and_texts_in_input_order() -> None:
    record = {"region": "north", "more": [1], "active": True, "items": 3, "amount": 7}
    assert READER.from_record(record) == [7.0, 3.0, 1.0, "north"]
    assert all(isinstance(value, float) for value in READER.from_record(record)[:3])


def test_null_is_missing() -> None:
    amount, _, _, region = READER.from_values([None, 1, False, None])
    assert isinstance(amount, float)
    assert math.isnan(amount)
    assert region is None


def test_a_missing_column_is_named() -> None:
    with pytest.raises(InvalidInput, match="column 'items' is missing"):
        READER.from_record({"amount": 1, "active": True, "region": "x"})


@pytest.mark.parametrize(
    ("place", "value"),
    [(0, "12"), (0, [1]), (0, {}), (1, 1.5), (1, None), (1, "1"), (2, None), (2, 0.5), (3, 5), (3, True), (3, [])],
)
def test_a_wrong_type_is_named_by_its_column_only(place: int, value: object) -> None:
    values: list[object] = [1.0, 2, True, "x"]
    values[place] = value
    with pytest.raises(InvalidInput, match=f"column '{READER.columns[place]}'"):
        READER.from_values(values)


def test_a_number_beyond_doubles_is_refused() -> None:
    with pytest.raises(InvalidInput, match="column 'amount'"):
        READER.from_values([10**400, 1, True, "x"])


def test_logged_types_are_doubles_and_strings() -> None:
    assert READER.types == (("amount", "double"), ("items", "double"), ("active", "double"), ("region", "string"))
