from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.monitoring.reference import tally
from millrace.monitoring.reference.cells import distinct_values, quantile_edges
from millrace.monitoring.reference.tally import Groups, Tally, tally_codes, tally_numbers

_ODD = [0.0, -0.0, 5e-324, -5e-324, 1.0, math.nextafter(1.0, 2), 1.7976931348623157e308, -1.7976931348623157e308]
_VALUES = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([*_ODD, math.nan, math.inf, -math.inf]),
    st.integers(-3, 3).map(float),
)
_ROWS = st.lists(st.tuples(_VALUES, st.integers(-1, 4)), max_size=60)
_GROUPS = 5


def counted(rows: Sequence[tuple[float, int]], edges: Sequence[float]) -> Tally:
    values, groups = np.array([v for v, _ in rows], dtype=float), np.array([g for _, g in rows], dtype=np.int64)
    return tally_numbers(values, None, np.array(edges), Groups.of(groups, _GROUPS, len(rows)))


def same(one: Tally, other: Tally) -> bool:
    """Whole numbers and extremes equal; sums to rounding."""
    exact = all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("cells", "count", "low", "high", "zeros", "nans")
    )
    # Numbers that cancel each other out leave what was rounded of the sums before: n**2 times half a last place of the largest.
    largest = np.maximum(np.abs(one.low), np.abs(one.high))
    largest[one.count == 0] = 0
    with np.errstate(over="ignore", invalid="ignore"):
        near = [
            np.isclose(one.total, other.total, rtol=1e-12, atol=1e-11 * largest)
            | ~np.isfinite(one.total)
            | ~np.isfinite(other.total),
            np.isclose(one.squares, other.squares, rtol=1e-12, equal_nan=True),
        ]
    return exact and all(bool(where.all()) for where in near)


def cell_of(value: float, edges: Sequence[float]) -> int:
    """0 for missing, else 1 and the number of edges that the value is above."""
    return 0 if math.isnan(value) else 1 + sum(value > edge for edge in edges)


@given(_ROWS, st.lists(st.one_of(st.sampled_from(_ODD), st.floats(-5, 5)), max_size=6), st.sampled_from([0, 10**9]))
@settings(max_examples=100, deadline=None)
def test_tallies_are_what_plain_python_counts(rows: list[tuple[float, int]], edges: list[float], few: int) -> None:
    edges = sorted(set(edges))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tally, "_FEW", few)
        patch.setattr(tally, "_PIECE", 7)
        found = counted(rows, edges)
    for group in range(_GROUPS):
        values = [value for value, number in rows if number == group]
        finite = [value for value in values if math.isfinite(value)]
        cells = [cell_of(value, edges) for value in values]
        assert found.cells[group].tolist() == [cells.count(at) for at in range(len(edges) + 2)]
        assert found.count[group] == len(finite)
        assert found.nans[group] == sum(math.isnan(value) for value in values)
        assert found.zeros[group] == sum(value == 0 for value in values)
        assert (found.low[group], found.high[group]) == (min(finite, default=math.inf), max(finite, default=-math.inf))
        if sum(map(abs, finite)) < 1e150:
            largest = max(map(abs, finite), default=0.0)
            total = float(sum(map(Fraction, finite), Fraction()))
            assert found.total[group] == pytest.approx(total, rel=1e-12, abs=1e-12 * largest)
            squares = float(sum((Fraction(value) ** 2 for value in finite), Fraction()))
            assert found.squares[group] == pytest.approx(squares, rel=1e-12, abs=1e-300)


@given(_ROWS, _ROWS, _ROWS)
@settings(max_examples=50, deadline=None)
def test_tallies_add_up_however_rows_are_split(
    one: list[tuple[float, int]], two: list[tuple[float, int]], three: list[tuple[float, int]]
) -> None:
    edges = [-2.0, 0.0, 1.0]
    a, b, c = (counted(rows, edges) for rows in (one, two, three))
    assert same(a + b, b + a)
    assert same((a + b) + c, a + (b + c))
    assert same(a + b + c, counted([*one, *two, *three], edges))
    assert same(a + Tally.empty(_GROUPS, len(edges) + 1), a)


@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_sorting_and_looking_up_agree_on_many_rows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.lognormal(size=5000) * rng.choice([-1.0, 0.0, 1.0, np.nan, np.inf, 1e-310, 1e12], 5000)
    values = np.round(values, 2) if seed % 2 else values
    groups = rng.integers(-1, 3, 5000)
    edges = quantile_edges(*distinct_values(values[np.isfinite(values)]))
    found = counted(list(zip(values.tolist(), groups.tolist(), strict=True)), edges.tolist())
    for group in range(3):
        inside = values[groups == group]
        cells = np.searchsorted(edges, inside[~np.isnan(inside)])
        expected = [np.isnan(inside).sum(), *np.bincount(cells, minlength=len(edges) + 1)]
        assert found.cells[group].tolist() == expected


@given(
    st.lists(st.tuples(st.integers(-1, 3), st.integers(-1, 2)), max_size=40),
    st.lists(st.text(max_size=3), min_size=4, max_size=4, unique=True),
    st.sampled_from(["one", "three"]),
)
@settings(max_examples=100, deadline=None)
def test_texts_are_counted_by_their_codes(rows: list[tuple[int, int]], texts: list[str], shape: str) -> None:
    """The last two texts are in no category of their own."""
    codes = np.array([code for code, _ in rows], dtype=np.int64)
    groups = np.array([group for _, group in rows], dtype=np.int64) if shape == "three" else None
    lengths = np.array([len(text) for text in texts], dtype=float)
    placed = Groups.of(groups, 3, len(rows))
    found = tally_codes(codes, np.array([0, 1, 2, 2]), lengths, 3, placed)
    for group in range(3):
        inside = [code for code, number in rows if (number if shape == "three" else 0) == group]
        known = [texts[code] for code in inside if code >= 0]
        cells = [1 + min(code, 2) for code in inside]
        assert found.cells[group].tolist() == [cells.count(at) for at in range(4)]
        assert (found.count[group], found.nans[group]) == (len(known), 0)
        assert found.total[group] == sum(map(len, known))
        assert found.squares[group] == sum(len(text) ** 2 for text in known)
        assert found.zeros[group] == sum(not text for text in known)
        assert found.low[group] == min(map(len, known), default=math.inf)
        assert found.high[group] == max(map(len, known), default=-math.inf)


def test_nulls_are_missing_and_no_nans() -> None:
    values = np.array([1.0, math.nan, math.nan])
    found = tally_numbers(values, np.array([1]), np.array([0.5]), Groups.of(None, 1, 3))
    assert (found.cells.tolist(), found.nans.tolist()) == ([[2, 0, 1]], [1])
    assert math.isnan(values[1])
    assert values[0] == 1.0


def test_rows_of_groups_in_order_are_not_moved() -> None:
    assert Groups.of(np.array([0, 0, 2]), 3, 3).order is None
    assert Groups.of(np.array([1, 0, -1]), 3, 3).order is not None
