"""Intervals against published cases, statsmodels' formulas, scikit-learn and bootstraps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from millrace.statistics.intervals import area, area_law, f1, mean, proportion, root


def test_wilson_is_scipys() -> None:
    from scipy.stats import binomtest

    for hits, rows in ((0, 10), (3, 10), (81, 263), (10, 10), (1, 1), (999, 1000)):
        theirs, ours = binomtest(hits, rows).proportion_ci(method="wilson"), proportion(hits, rows)
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
        assert ours.value == hits / rows
    assert not proportion(0, 0)


def test_f1_is_what_its_jaccard_index_says() -> None:
    found = f1(30, 10, 20)
    assert found.value == pytest.approx(60 / 90)
    jaccard = proportion(30, 60)
    assert found.low == pytest.approx(2 * jaccard.low / (1 + jaccard.low))
    assert f1(0, 0, 5).value == 0.0
    assert f1(0, 0, 5).high > 0.3
    assert not f1(0, 0, 0)


def test_a_mean_has_the_normal_interval_and_keeps_its_bound() -> None:
    values = np.random.default_rng(0).exponential(size=40)
    found = mean(float(values.sum()), float((values**2).sum()), 40, least=0.0)
    error = values.std(ddof=1) / math.sqrt(40)
    assert (found.value, found.error) == pytest.approx((values.mean(), error))
    assert (found.low, found.high) == pytest.approx(
        (values.mean() - 1.959964 * error, values.mean() + 1.959964 * error)
    )
    assert mean(1.0, 1.0, 10, least=0.0).low == 0.0
    assert math.isnan(mean(1.0, 1.0, 1).error)
    squared = root(mean(40.0, 50.0, 10))
    assert squared.value == 2.0
    assert not root(mean(0, 0, 0))


_COUNTS = st.integers(1, 12).flatmap(
    lambda k: st.tuples(*[st.lists(st.integers(0, 9), min_size=k, max_size=k).filter(any) for _ in range(2)])
)


@given(_COUNTS)
@settings(max_examples=40, deadline=None)
def test_the_area_of_cells_is_scikit_learns_with_ties(case: tuple[list[int], list[int]]) -> None:
    from sklearn.metrics import roc_auc_score

    negatives, positives = case
    scores = np.repeat([*range(len(negatives))] * 2, [*negatives, *positives])
    labels = np.repeat([0, 1], [sum(negatives), sum(positives)])
    found = area(negatives, positives)
    assert found.estimate.value == pytest.approx(roc_auc_score(labels, scores))
    assert 0 <= found.estimate.low <= found.estimate.value <= found.estimate.high <= 1
    # Scores spread inside their cells, as well or as badly as can be: the area moves by the bound.
    apart = np.where(labels == 1, 0.4, -0.4)
    assert roc_auc_score(labels, scores + apart) == pytest.approx(found.estimate.value + found.bound)
    assert roc_auc_score(labels, scores - apart) == pytest.approx(found.estimate.value - found.bound)


def test_delongs_error_is_that_of_pairs_worked_by_hand() -> None:
    """V10 and V01 of DeLong et al. by their double sum, on scores with ties."""
    zeros, ones = [0.1, 0.2, 0.2, 0.4, 0.7], [0.2, 0.5, 0.8, 0.9]
    won = np.array([[(a > b) + (a == b) / 2 for b in zeros] for a in ones])
    variance = won.mean(axis=1).var(ddof=1) / 4 + won.mean(axis=0).var(ddof=1) / 5
    edges = sorted({*zeros, *ones})
    counts = [[side.count(edge) for edge in edges] for side in (zeros, ones)]
    found = area(*counts)
    assert found.estimate.value == pytest.approx(won.mean())
    assert found.estimate.error == pytest.approx(math.sqrt(variance))
    assert (found.negatives, found.positives) == (5, 4)


@given(_COUNTS)
@settings(max_examples=40, deadline=None)
def test_the_law_of_areas_gives_these_rows_delongs_error(case: tuple[list[int], list[int]]) -> None:
    law, found, counts = area_law(*case), area(*case).estimate, [sum(side) for side in case]
    least = [found.value**2 / (count + 1) for count in counts]
    assume(all(variance > low for variance, low in zip(law.variances, least, strict=True)))
    assert math.sqrt(law.chance(*counts)[0]) == pytest.approx(found.error, abs=1e-12)


def test_rows_that_are_in_order_do_not_rule_out_an_error() -> None:
    """One row in n + 1 at the wrong end: the moments of a Bernoulli draw, of which only the leading terms count."""
    apart, swapped = area_law([0, 199, 1], [1, 0, 199]), area_law([200, 0], [0, 200])
    for law in (apart, swapped):
        assert law.variances == pytest.approx((1 / 201, 1 / 201), rel=0.02)
        assert law.thirds == pytest.approx((-1 / 201, -1 / 201), rel=0.03)


def test_the_law_of_areas_tells_how_samples_of_any_size_vary() -> None:
    """Areas of 20,000 samples of 60 and 30 rows, by the sum of ranks, against the law of 40,000 rows."""
    rng = np.random.default_rng(0)
    edges = np.linspace(-4, 6, 255)
    sides = rng.normal(0, 1, 20_000), rng.normal(1.5, 1, 20_000)
    law = area_law(*(np.bincount(np.searchsorted(edges, side), minlength=256) for side in sides))
    rows = np.concatenate([rng.normal(0, 1, (20_000, 60)), rng.normal(1.5, 1, (20_000, 30))], axis=1)
    ranks = rows.argsort(axis=1).argsort(axis=1)[:, 60:] + 1
    areas = (ranks.sum(axis=1) - 30 * 31 / 2) / (60 * 30)
    variance, skewness = law.chance(60, 30)
    assert variance == pytest.approx(areas.var(), rel=0.04)
    assert skewness == pytest.approx(((areas - areas.mean()) ** 3).mean() / areas.std() ** 3, rel=0.12)


def test_one_class_has_no_area_and_classes_apart_are_not_certain() -> None:
    assert not area([3, 2], [0, 0]).estimate
    assert not area([0, 0], [1, 0]).estimate
    perfect = area([5, 0], [0, 8]).estimate
    assert (perfect.value, perfect.high) == (1.0, 1.0)
    assert perfect.low == pytest.approx(proportion(5, 5).low)


def covered(draw: Any, truth: float, times: int) -> float:
    found = [draw(np.random.default_rng(seed)) for seed in range(times)]
    return float(np.mean([one.low <= truth <= one.high for one in found]))


def test_intervals_of_areas_hold_the_truth_as_often_as_they_say() -> None:
    from statistics import NormalDist

    def draw(rng: np.random.Generator) -> Any:
        edges = np.linspace(-4, 6, 200)
        sides = (rng.normal(0, 1, 150), rng.normal(1.4, 1, 60))
        return area(*(np.bincount(np.searchsorted(edges, side), minlength=201) for side in sides)).estimate

    assert 0.92 <= covered(draw, NormalDist().cdf(1.4 / math.sqrt(2)), 600) <= 0.98
