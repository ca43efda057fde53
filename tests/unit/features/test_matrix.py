from __future__ import annotations

import math
import struct
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.core.errors import InvalidInput
from millrace.features.matrix import is_model_type, model_column, model_frame, model_value


def bits(value: float) -> bytes:
    return struct.pack("<d", value)


def test_each_kind_of_column() -> None:
    table = pa.table(
        {
            "money": pa.array([Decimal("0.10"), None], pa.decimal128(18, 2)),
            "count": pa.array([3, None], pa.int32()),
            "flag": pa.array([True, None]),
            "ratio": pa.array([0.1, None], pa.float32()),
            "text": pa.array(["a", None]),
            "kind": pa.array(["b", None]).dictionary_encode(),
            "nothing": pa.nulls(2),
        }
    )
    frame = model_frame(table, ["text", "money", "count", "flag", "ratio", "kind", "nothing"])
    assert list(frame.columns) == ["text", "money", "count", "flag", "ratio", "kind", "nothing"]
    assert [str(kind) for kind in frame.dtypes] == ["object", *["float64"] * 4, "object", "float64"]
    assert frame["text"].tolist() == ["a", None]
    assert frame["kind"].tolist() == ["b", None]
    assert frame.iloc[0][["money", "count", "flag", "ratio"]].tolist() == [0.1, 3.0, 1.0, 0.10000000149011612]
    assert frame.iloc[1][["money", "count", "flag", "ratio", "nothing"]].isna().all()


def test_the_frame_may_be_written_to() -> None:
    frame = model_frame(pa.table({"x": [1.0, 2.0]}), ["x"])
    frame.loc[0, "x"] = 5.0
    assert frame["x"].tolist() == [5.0, 2.0]


def test_no_rows() -> None:
    table = pa.table(
        {"m": pa.array([], pa.decimal128(18, 2)), "t": pa.array([], pa.string()), "x": pa.array([], pa.int8())}
    )
    frame = model_frame(table, ["m", "t", "x"])
    assert len(frame) == 0
    assert [str(kind) for kind in frame.dtypes] == ["float64", "object", "float64"]


CASES = [
    (pa.decimal128(18, 2), st.decimals(min_value=-(10**16) + 1, max_value=10**16 - 1, places=2)),
    (pa.decimal128(38, 10), st.decimals(min_value=-(10**27), max_value=10**27, places=10)),
    (pa.decimal128(10, 0), st.decimals(min_value=-(10**9), max_value=10**9, places=0)),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.float64(), st.floats(allow_nan=True)),
    (pa.float32(), st.floats(width=32)),
    (pa.bool_(), st.booleans()),
]


@pytest.mark.parametrize(("kind", "values"), CASES, ids=lambda case: str(case) if isinstance(case, pa.DataType) else "")
def test_a_frame_is_what_model_value_makes_of_each_value(kind: pa.DataType, values: st.SearchStrategy[Any]) -> None:
    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.one_of(st.none(), values), max_size=6), st.integers(0, 2))
    def law(given_values: list[Any], skip: int) -> None:
        column = pa.chunked_array([pa.array(given_values, kind), pa.array([None], kind)]).slice(skip)
        made = model_column(pa.table({"x": column}), "x")
        for value, number in zip(column.to_pylist(), made, strict=True):
            one = math.nan if value is None else model_value(value)
            assert isinstance(one, float)
            assert bits(number) == bits(one) or (math.isnan(one) and math.isnan(number))

    law()


def test_large_decimals_are_rounded_once() -> None:
    # Two roundings (to a float, then in the quotient) would miss some of these by one unit in the last place.
    cents = np.random.default_rng(1).integers(2**53, 10**18, 2000).tolist()
    values = [Decimal(number).scaleb(-2) for number in cents]
    made = model_column(pa.table({"x": pa.array(values, pa.decimal128(18, 2))}), "x")
    assert made.tolist() == [float(value) for value in values]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("a", "a"),
        (True, 1.0),
        (3, 3.0),
        (0.5, 0.5),
        (Decimal("0.10"), 0.1),
        (np.float32(0.5), 0.5),
        (np.int64(7), 7.0),
    ],
)
def test_single_values(value: object, expected: object) -> None:
    assert model_value(value) == expected
    assert type(model_value(value)) is type(expected)


@pytest.mark.parametrize("value", [[1], {"a": 1}, b"x", datetime(2025, 1, 1, tzinfo=UTC), 10**400])
def test_values_that_no_model_takes(value: object) -> None:
    with pytest.raises(InvalidInput):
        model_value(value)


def test_columns_that_no_model_takes() -> None:
    at = pa.array([datetime(2025, 1, 1, tzinfo=UTC)], pa.timestamp("us", "UTC"))
    table = pa.table({"at": at, "many": [[1.0]], "x": [1]})
    assert [is_model_type(field.type) for field in table.schema] == [False, False, True]
    with pytest.raises(InvalidInput, match=r"'at' of type timestamp.*\n.*exclude it"):
        model_frame(table, ["x", "at"])
    with pytest.raises(InvalidInput, match="'many'"):
        model_frame(table, ["many"])
    with pytest.raises(InvalidInput, match="'y' is missing") as caught:
        model_frame(table, ["y"])
    assert caught.value.facts == {"column": "y"}
