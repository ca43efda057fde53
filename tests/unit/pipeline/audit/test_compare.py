from __future__ import annotations

import pyarrow as pa
import pytest

from millrace.pipeline.audit.compare import compare


def rows(**columns: list[object]) -> pa.Table:
    return pa.table(columns)


def test_the_same_rows_in_another_order_do_not_differ() -> None:
    one = rows(id=[1, 2, 3], v=[1.0, None, float("nan")], text=["a", None, "c"])
    assert not compare(one, one.take(pa.array([2, 0, 1])), ["id"])


@pytest.mark.parametrize(
    ("before", "after", "differs"),
    [
        (1.0, 1.0 + 1e-12, False),  # a sum that fell to the other side of the twelfth digit
        (1.0, 1.0 + 1e-8, True),
        (0.0, 1e-10, False),  # against the largest value of the column, which is 1000
        (None, 0.0, True),
        (float("nan"), None, True),
        (float("inf"), float("inf"), False),
        (float("inf"), float("-inf"), True),
    ],
)
def test_floats_are_compared_to_nine_digits(before: float | None, after: float | None, *, differs: bool) -> None:
    one = pa.table({"id": [1, 2], "v": pa.array([before, 1e3], pa.float64())})
    other = pa.table({"id": [1, 2], "v": pa.array([after, 1e3], pa.float64())})
    assert bool(compare(one, other, ["id"])) is differs


def test_what_differs_is_counted_by_column_with_an_example() -> None:
    one = rows(id=[1, 2, 3], a=[1, 2, 3], b=["x", "y", "z"], c=[True, True, None])
    other = rows(id=[1, 2, 4], a=[1, 5, 3], b=["x", "y", "z"], c=[True, None, None])
    found = compare(one, other, ["id"])
    assert found.columns == {"a": 1, "c": 1}
    assert (found.keys, found.gone, found.new) == (3, 1, 1)
    assert found.example == {"id": "2", "a": "2 becomes 5"}
    assert str(found) == "a of 1 keys, c of 1 keys, 1 keys gone, 1 keys more (of 3), for example id 2; a 2 becomes 5"


def test_keys_that_come_and_go_are_differences() -> None:
    found = compare(rows(id=[1], a=[1]), rows(id=[1, 2], a=[1, 9]), ["id"])
    assert found
    assert (found.gone, found.new, found.columns) == (0, 1, {})


def test_composite_keys_and_nested_and_retyped_columns() -> None:
    one = pa.table({"a": ["1", "11"], "b": ["11", "1"], "l": [[1], [2]], "n": pa.array([1, 2], pa.int32())})
    other = pa.table({"a": ["11", "1"], "b": ["1", "11"], "l": [[2], [3]], "n": pa.array([2, 1], pa.int64())})
    found = compare(one, other, ["a", "b"])
    assert found.columns == {"l": 1}


def test_a_column_that_is_gone_differs_in_every_row() -> None:
    assert compare(rows(id=[1, 2], a=[1, 2]), rows(id=[1, 2]), ["id"]).columns == {"a": 2}


def test_no_rows_do_not_differ() -> None:
    empty = pa.table({"id": pa.array([], pa.int64()), "a": pa.array([], pa.float64())})
    assert not compare(empty, empty, ["id"])
