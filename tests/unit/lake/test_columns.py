from __future__ import annotations

import uuid
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.core.errors import InvalidInput
from millrace.lake.columns import conform, new_columns, refuse_duplicate_keys, storable

UTC_US = pa.timestamp("us", tz="UTC")


@pytest.mark.parametrize(
    ("given_", "stored", "value"),
    [
        (pa.array([200], pa.uint8()), pa.int16(), 200),
        (pa.array([2**32 - 1], pa.uint32()), pa.int64(), 2**32 - 1),
        (pa.array([2**63 - 1], pa.uint64()), pa.int64(), 2**63 - 1),
        (pa.array([1.5], pa.float16()), pa.float32(), 1.5),
        (pa.array(["a"], pa.large_string()), pa.string(), "a"),
        (pa.array(["a"]).dictionary_encode(), pa.string(), "a"),
        (pa.array([b"ab"], pa.binary(2)), pa.binary(), b"ab"),
        (pa.array([date(2024, 1, 31)], pa.date64()), pa.date32(), date(2024, 1, 31)),
        (pa.array([datetime(1960, 1, 1)], pa.timestamp("s")), UTC_US, datetime(1960, 1, 1, tzinfo=UTC)),  # noqa: DTZ001 - naive is the case
        (pa.array([Decimal("1.5")], pa.decimal64(4, 1)), pa.decimal128(4, 1), Decimal("1.5")),
        (pa.array([["a"]], pa.large_list(pa.large_string())), pa.list_(pa.string()), ["a"]),
        (pa.array([[1, 2]], pa.list_(pa.int32(), 2)), pa.list_(pa.int32()), [1, 2]),
        (pa.array([{"a": 1}], pa.struct([("a", pa.uint8())])), pa.struct([("a", pa.int16())]), {"a": 1}),
        (pa.ExtensionArray.from_storage(pa.uuid(), pa.array([uuid.UUID(int=7).bytes], pa.binary(16))), pa.binary(), uuid.UUID(int=7).bytes),
    ],
)  # fmt: skip
def test_each_type_has_one_that_is_stored(given_: pa.Array, stored: pa.DataType, value: object) -> None:
    found = storable(pa.table({"x": given_}))
    assert found.schema.field("x").type == stored
    assert found.column("x").to_pylist() == [value]


@pytest.mark.parametrize(
    ("column", "says"),
    [
        (pa.array([2**63], pa.uint64()), "values that do not fit bigint"),
        (pa.array([1], pa.duration("s")), "duration"),
        (pa.array([1], pa.time64("us")), "time64"),
        (pa.nulls(1), "has no type"),
        (pa.array([1], pa.timestamp("ns")), "finer than a microsecond"),
    ],
)
def test_what_can_not_be_stored_is_refused_by_name(column: pa.Array, says: str) -> None:
    with pytest.raises(InvalidInput, match=f"column 'x'.*{says}"):
        storable(pa.table({"x": column}))


def test_conforming_orders_columns_fills_nulls_and_adds_new_ones_behind() -> None:
    table = pa.schema([("a", pa.int64()), ("b", pa.string()), ("c", pa.float64())])
    rows = pa.table({"new": [True], "c": pa.array([1], pa.int8()), "a": pa.nulls(1)})
    assert new_columns(rows, table) == ["new"]
    assert conform(rows, table).to_pydict() == {"a": [None], "b": [None], "c": [1.0], "new": [True]}
    assert conform(rows, table).schema.field("a").type == pa.int64()
    assert conform(rows, table, fill=False).column_names == ["a", "c", "new"]


@pytest.mark.parametrize(
    ("given_", "stored"),
    [
        (pa.array([1]), pa.string()),
        (pa.array([1]), pa.bool_()),
        (pa.array([1]), UTC_US),
        (pa.array([True]), pa.int64()),
        (pa.array([1.0]), pa.int64()),
        (pa.array([1.0]), pa.float32()),
        (pa.array([Decimal(1)]), pa.float64()),
        (pa.array([date(2024, 1, 1)]), UTC_US),
        (pa.array(["2024-01-01"]), pa.date32()),
        (pa.array([[1.0]]), pa.list_(pa.int64())),
        (pa.array([{"a": 1}]), pa.struct([("b", pa.int64())])),
    ],
)
def test_a_type_never_changes(given_: pa.Array, stored: pa.DataType) -> None:
    with pytest.raises(InvalidInput, match=r"column 'x' is .*, the table stores"):
        conform(pa.table({"x": given_}), pa.schema([("x", stored)]))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5), st.sampled_from([8, 16, 32, 64]))
def test_numbers_fit_as_they_are_or_not_at_all(values: list[int], bits: int) -> None:
    stored = {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}[bits]
    rows = pa.table({"x": pa.array(values, pa.int64())})
    if all(-(2 ** (bits - 1)) <= value < 2 ** (bits - 1) for value in values):
        assert conform(rows, pa.schema([("x", stored)])).column("x").to_pylist() == values
    else:
        with pytest.raises(InvalidInput):
            conform(rows, pa.schema([("x", stored)]))


def test_up_to_five_duplicate_keys_are_shown_and_all_are_counted() -> None:
    keys = [n for n in range(7) for _ in range(2)] + [99]
    with pytest.raises(InvalidInput) as refused:
        refuse_duplicate_keys(pa.table({".": keys, "k": ["a"] * 15}), [".", "k"])
    assert refused.value.message.startswith("7 keys are there more than once: ")
    assert refused.value.message.count("(") == 5


def test_keys_that_differ_in_one_column_are_no_duplicates() -> None:
    refuse_duplicate_keys(pa.table({"a": ["1", "11"], "b": ["11", "1"]}), ["a", "b"])
    with pytest.raises(InvalidInput, match="no key columns"):
        refuse_duplicate_keys(pa.table({"a": [1]}), [])
