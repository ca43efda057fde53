"""Sums that don't round, against Python's fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.statistics.exact import ExactSum, exact_sums

_NUMBERS = st.floats(-1e60, 1e60).filter(lambda value: value == 0 or abs(value) > 1e-200)
_ROWS = st.lists(st.tuples(st.integers(0, 2), _NUMBERS), max_size=30)


@given(_ROWS)
@settings(max_examples=150, deadline=None)
def test_groups_are_summed_without_rounding(rows: list[tuple[int, float]]) -> None:
    values, groups = np.array([v for _, v in rows]), np.array([g for g, _ in rows], dtype=np.int64)
    for group, found in enumerate(exact_sums(values, groups, 3)):
        exact = sum((Fraction(v) for g, v in rows if g == group), Fraction(0))
        assert sum(map(Fraction, found.parts), Fraction(0)) == exact
        assert float(found) == float(exact)


@given(st.permutations(range(12)), st.lists(_NUMBERS, min_size=12, max_size=12), st.integers(0, 12))
@settings(max_examples=100, deadline=None)
def test_neither_order_nor_splitting_shows(order: list[int], values: list[float], cut: int) -> None:
    shuffled = [values[at] for at in order]
    assert ExactSum.of(shuffled[:cut]) + ExactSum.of(shuffled[cut:]) == ExactSum.of(values)


def test_what_rounding_loses_is_kept() -> None:
    assert float(ExactSum.of([1e100, 1.0, -1e100])) == 1.0
    assert float(ExactSum()) == 0.0
    assert exact_sums(np.array([]), np.array([], dtype=np.int64), 2) == [ExactSum(), ExactSum()]
