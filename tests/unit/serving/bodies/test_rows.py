from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.serving.bodies.rows import numeric

NUMBERS = st.floats() | st.integers(-(2**70), 2**70) | st.booleans()


def tables(values: st.SearchStrategy[float | None]) -> st.SearchStrategy[list[list[float | None]]]:
    """Of one width."""
    return st.integers(1, 4).flatmap(
        lambda width: st.lists(st.lists(values, min_size=width, max_size=width), min_size=1, max_size=4)
    )


@given(tables(NUMBERS) | tables(NUMBERS | st.none()))
def test_numbers_are_a_matrix_of_what_python_makes_of_each(rows: list[list[float | None]]) -> None:
    made = numeric(rows)
    assert made is not None
    expected = [[math.nan if value is None else float(value) for value in row] for row in rows]
    # As text, in which NaN is the same as NaN, and -0.0 is not 0.0.
    assert repr(made.tolist()) == repr(expected)


@pytest.mark.parametrize(
    "rows",
    [
        [["1.5"]],
        [[1.0, 2.0], [3.0, "4"]],
        [[1.0, [2.0]]],
        [[1.0, {}]],
        [[10**400]],
        [[1.0, 2.0, 3.0], [4.0]],  # together they have as many values as a matrix of two columns
        [[1.0, None], [2.0]],
        [],
    ],
)
def test_what_is_no_table_of_numbers_is_no_matrix(rows: list[list[object]]) -> None:
    assert numeric(rows) is None
