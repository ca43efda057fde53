from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from functools import reduce
from operator import add

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.monitoring.counts.count import count_windows
from millrace.monitoring.counts.sums import Moments
from millrace.monitoring.counts.window_counts import WindowCounts
from millrace.monitoring.reference.profile import ReferenceProfile

_REFERENCE = ReferenceProfile.build(pa.table({"x": [0.0, 1.0, 2.0, 5.0], "t": ["a", "b", "b", "c"]}))
_COLUMNS = {column.name: column for column in _REFERENCE.columns}
_NUMBERS = st.one_of(st.none(), st.floats(-10, 10), st.sampled_from([math.nan, math.inf, 0.0]))
_TEXTS = st.one_of(st.none(), st.sampled_from(["a", "b", "new", ""]))
_ROW = st.tuples(_NUMBERS, _TEXTS, st.integers(0, 10**6))
Row = tuple[float | None, str | None, int]


def counted(rows: Sequence[Row]) -> WindowCounts:
    table = pa.table(
        {"x": pa.array([row[0] for row in rows], pa.float64()), "t": pa.array([row[1] for row in rows], pa.string())}
    )
    times = np.array([row[2] for row in rows])
    (window,) = count_windows(table, np.zeros(len(rows), dtype=np.int64), _COLUMNS, times)
    return window


def same(one: WindowCounts, other: WindowCounts) -> None:
    assert (one.number, one.rows, one.newest_us, one.absent) == (
        other.number,
        other.rows,
        other.newest_us,
        other.absent,
    )
    assert {name: list(cells) for name, cells in one.cells.items()} == {n: list(c) for n, c in other.cells.items()}
    for name, moments in one.moments.items():
        there = other.moments[name]
        assert (moments.count, moments.low, moments.high) == (there.count, there.low, there.high)
        assert (moments.zeros, moments.nans) == (there.zeros, there.nans)
        assert (moments.total, moments.squares) == pytest.approx((there.total, there.squares), abs=1e-9)


@given(st.lists(_ROW, min_size=1, max_size=30), st.lists(st.integers(0, 3), min_size=30, max_size=30))
@settings(max_examples=60, deadline=None)
def test_rows_split_any_way_add_up_to_the_whole(rows: list[Row], parts: list[int]) -> None:
    split = [[row for row, part in zip(rows, parts, strict=False) if part == one] for one in range(4)]
    pieces = [counted(part) for part in split if part]
    same(reduce(add, pieces), counted(rows))
    same(reduce(add, reversed(pieces)), counted(rows))


@given(st.tuples(*[st.lists(_ROW, min_size=1, max_size=5)] * 3))
@settings(max_examples=30, deadline=None)
def test_adding_is_associative(groups: tuple[list[Row], list[Row], list[Row]]) -> None:
    one, two, three = map(counted, groups)
    same((one + two) + three, one + (two + three))


def test_counts_are_what_plain_python_counts() -> None:
    rows: list[Row] = [(2.0, "b", 3), (None, "new", 9), (math.nan, None, 1), (0.0, "", 2)]
    window = counted([*rows, (math.inf, "b", 0)])
    assert window.moments["x"] == Moments(count=2, total=2.0, squares=4.0, low=0.0, high=2.0, zeros=1, nans=1)
    assert window.moments["t"] == Moments(count=4, total=5.0, squares=11.0, low=0.0, high=3.0, zeros=1, nans=0)
    assert window.cells["x"][0] == 2
    assert list(window.cells["t"]) == [1, 2, 0, 0, 2]  # missing, then b, a, c, all others
    assert (window.newest_us, window.absent) == (9, {})


def test_moments_have_a_mean_and_a_spread_where_there_are_values() -> None:
    values = [3.5, -1.0, 8.25, 8.25]
    moments = Moments.of(np.array(values))
    assert moments.mean == pytest.approx(statistics.fmean(values))
    assert moments.sd == pytest.approx(statistics.stdev(values))
    assert (Moments().mean, Moments().sd, Moments.of(np.array([4.0])).sd) == (None, None, None)


def test_a_column_that_is_not_there_or_of_another_kind_is_absent_and_missing() -> None:
    log = pa.table({"x": ["a", "b"]})
    (window,) = count_windows(log, np.zeros(2, dtype=np.int64), _COLUMNS)
    assert window.absent == {"x": 2, "t": 2}
    assert [int(window.cells[name][0]) for name in ("x", "t")] == [2, 2]
    assert not window.moments
