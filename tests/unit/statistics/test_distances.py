"""Distances against cases worked by hand, scipy, and the laws of distances."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.core.errors import InvalidInput
from millrace.statistics.distances import (
    js_from_counts,
    ks_from_counts,
    l_infinity_from_counts,
    psi_from_counts,
    tv_from_counts,
    wasserstein_from_counts,
)

Counts = list[int]
DISTANCES = [ks_from_counts, tv_from_counts, l_infinity_from_counts, js_from_counts, psi_from_counts]
sides = st.integers(1, 8).flatmap(
    lambda k: st.tuples(*[st.lists(st.integers(0, 40), min_size=k, max_size=k).filter(any) for _ in range(2)])
)


def test_a_case_worked_by_hand() -> None:
    reference, current = [10, 20, 10], [2, 4, 14]  # shares .25 .5 .25 and .1 .2 .7
    assert ks_from_counts(reference, current) == pytest.approx(0.45)
    assert tv_from_counts(reference, current) == pytest.approx(0.45)
    assert l_infinity_from_counts(reference, current) == pytest.approx(0.45)
    psi = -0.15 * math.log(0.4) - 0.3 * math.log(0.4) + 0.45 * math.log(2.8)
    assert psi_from_counts(reference, current) == pytest.approx(psi)
    assert wasserstein_from_counts(reference, current, [0, 1, 2, 3]) == pytest.approx(0.6)


@given(sides)
@settings(max_examples=100, deadline=None)
def test_jensen_shannon_is_scipys(case: tuple[Counts, Counts]) -> None:
    from scipy.spatial.distance import jensenshannon

    # scipy takes the root of a rounding error where both are equal
    assert js_from_counts(*case) == pytest.approx(float(np.nan_to_num(jensenshannon(*case, base=2))), abs=1e-7)


@given(sides)
@settings(max_examples=100, deadline=None)
def test_laws_of_distances(case: tuple[Counts, Counts]) -> None:
    reference, current = case
    for distance in DISTANCES:
        assert distance(reference, reference) == 0.0
        assert distance(reference, current) == pytest.approx(distance(current, reference))
        assert distance(reference, [7 * count for count in current]) == pytest.approx(distance(reference, current))
    ks, tv = ks_from_counts(reference, current), tv_from_counts(reference, current)
    assert l_infinity_from_counts(reference, current) <= 2 * tv + 1e-12
    assert ks <= tv + 1e-12 <= js_from_counts(reference, current) * math.sqrt(2 * math.log(2)) + 1e-6
    assert js_from_counts(reference, current) ** 2 <= tv + 1e-12


@given(sides, st.floats(0.1, 10))
@settings(max_examples=50, deadline=None)
def test_wasserstein_is_the_area_between_the_curves(case: tuple[Counts, Counts], scale: float) -> None:
    reference, current = case
    k = len(reference)
    edges = np.cumsum(np.r_[0.0, np.arange(1, k + 1) * scale])
    at = np.linspace(0, edges[-1], 20001)
    curves = [np.interp(at, edges, np.r_[0, np.cumsum(c) / np.sum(c)]) for c in (reference, current)]
    area = np.trapezoid(np.abs(curves[0] - curves[1]), at)
    assert wasserstein_from_counts(reference, current, edges) == pytest.approx(area, abs=1e-4 * edges[-1])


def test_moving_everything_by_one_bin_moves_the_mean_by_its_width() -> None:
    assert wasserstein_from_counts([5, 0], [0, 9], [0, 2, 4]) == pytest.approx(2.0)


def test_ks_from_bins_is_near_the_exact_distance() -> None:
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 4000), rng.normal(0.3, 1, 3000)
    inner = np.quantile(a, np.arange(1, 64) / 64)
    counts = [np.bincount(np.searchsorted(inner, x, side="right"), minlength=64) for x in (a, b)]
    exact = ks_2samp(a, b).statistic
    assert exact - 1 / 64 <= ks_from_counts(*counts) <= exact + 1e-12


def test_an_empty_cell_has_a_finite_stability_index() -> None:
    assert psi_from_counts([50, 50], [100, 0]) == pytest.approx(0.5 * math.log(2) + (1e-4 - 0.5) * math.log(1e-4 / 0.5))


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize(
    ("reference", "current", "fact"),
    [
        ([1, 2], [1], "shapes"),
        ([0, 0], [1, 2], "no rows"),
        ([1, -1], [1, 2], "negative"),
        ([1, math.nan], [1, 2], "negative"),
    ],
)
def test_bad_counts_are_refused(distance: Callable[..., float], reference: Counts, current: Counts, fact: str) -> None:
    with pytest.raises(InvalidInput, match=fact):
        distance(reference, current)


@pytest.mark.parametrize("edges", [[0, 1], [0, 1, math.inf], [0, 2, 1]])
def test_bad_edges_are_refused(edges: list[float]) -> None:
    with pytest.raises(InvalidInput, match="edges"):
        wasserstein_from_counts([1, 2], [2, 1], edges)


def test_a_ks_distance_is_never_over_one() -> None:
    # Shares of a third add up to a little over 1 in floats.
    for bins in range(2, 600):
        reference = np.ones(bins, dtype=np.int64)
        current = np.zeros(bins + 1, dtype=np.int64)
        current[-1] = 1
        assert ks_from_counts(np.append(reference, 0), current) <= 1.0
