from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest

from millrace.core.errors import InvalidInput
from millrace.statistics.randomisation import Groups, Statistic, distribution_distance, mean_difference, quantile_ratio

NAN = float("nan")


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def of(statistic: Statistic, second: Sequence[int]) -> float:
    return float(statistic(np.array([second], dtype=bool))[0])


def test_a_p_value_is_the_share_of_all_assignments_that_are_as_large() -> None:
    # Six callers with one to three rows each; three are in the second group: 20 assignments.
    rows = {"a": [1.0], "b": [2.0, 2.5], "c": [9.0], "d": [0.5, 3.0, 1.0], "e": [7.0, 8.0], "f": [4.0]}
    chosen = {"c", "e", "b"}

    def difference(group: set[str]) -> float:
        ours = [value for name in rows if name not in group for value in rows[name]]
        return mean([value for name in group for value in rows[name]]) - mean(ours)

    every = [difference(set(group)) for group in itertools.combinations(rows, 3)]
    exact = sum(value >= difference(chosen) - 1e-12 for value in every) / len(every)
    assert exact == 3 / 20  # c and e with a, b or f
    callers = [name for name, values in rows.items() for _ in values]
    groups = Groups.of(callers, [name in chosen for name in callers])
    values = np.array([value for some in rows.values() for value in some])
    found = groups.p_value(mean_difference(values), draws=20_000, seed=1)
    # 20 as large end the drawing, so the estimate varies by its own fifth or so.
    assert found == pytest.approx(exact, rel=0.7)
    assert (groups.sizes, groups.assignments) == ((3, 3), 20)


def test_nothing_as_large_gives_the_smallest_p_value_that_the_draws_allow() -> None:
    values = np.r_[np.zeros(100), np.ones(100)]
    groups = Groups.of(np.arange(200), values == 1)
    assert groups.p_value(mean_difference(values), draws=99, seed=1) == 0.01


def test_the_same_seed_gives_the_same_p_value() -> None:
    values = np.random.default_rng(3).normal(size=60)
    groups = Groups.of(np.arange(60), np.arange(60) % 3 == 0)
    first, again = (groups.p_value(mean_difference(values), draws=500, seed=7) for _ in range(2))
    assert first == again


def test_rows_of_one_caller_are_no_evidence_of_their_own() -> None:
    # One caller out of ten is bad, with a thousand rows; it happens to be in the second group, with four others.
    callers = np.r_[np.arange(10), np.full(1000, 9)]
    values = (callers == 9).astype(float)
    found = Groups.of(callers, callers >= 5).p_value(mean_difference(values), draws=1000, seed=1)
    # Half of all assignments have it there.
    assert 0.25 < found < 0.9
    assert Groups.of(np.arange(1010), callers >= 5).p_value(mean_difference(values), draws=1000, seed=1) < 0.01


def test_p_values_of_groups_that_are_no_different_are_spread_evenly() -> None:
    rng = np.random.default_rng(5)
    found = []
    for seed in range(400):
        callers = rng.integers(0, 40, 150)
        values = rng.normal(size=40)[callers] + rng.normal(size=150)  # rows of a caller are alike
        second = (rng.random(40) < 0.3)[callers]
        found.append(Groups.of(callers, second).p_value(mean_difference(values), draws=200, seed=seed))
    for level in (0.05, 0.2, 0.5):
        # Binomial: four standard deviations.
        spread = 4 * math.sqrt(level * (1 - level) / 400)
        assert abs(mean([value <= level for value in found]) - level) < spread


def test_quantiles_are_values_that_the_share_of_the_rows_does_not_exceed() -> None:
    values = np.array([5.0, 1.0, 2.0, 8.0, 4.0, 10.0, 3.0])
    second = [0, 0, 0, 1, 1, 1, 0]
    # Of 1 2 3 5 and of 4 8 10: at 0.5 the second of four, and of three the second.
    assert of(quantile_ratio(values, 0.5), second) == 8.0 / 2.0
    assert of(quantile_ratio(values, 0.95), second) == 10.0 / 5.0
    assert of(quantile_ratio(np.array([0.0, 1.0]), 0.5), [0, 1]) == math.inf


def test_the_distance_of_numbers_is_the_largest_gap_between_the_cumulative_shares() -> None:
    values = np.array([1.0, 2.0, 2.0, 3.0, 2.0, 3.0, 4.0, 4.0])
    # Cumulative shares at 1, 2, 3, 4: 1/4, 3/4, 1, 1 and 0, 1/4, 1/2, 1.
    assert of(distribution_distance(values), [0, 0, 0, 0, 1, 1, 1, 1]) == 0.5


def test_what_is_no_number_stands_above_all_numbers() -> None:
    values = np.array([1.0, 2.0, NAN, 1.0, NAN, NAN])
    assert of(distribution_distance(values), [0, 0, 0, 1, 1, 1]) == pytest.approx(1 / 3)


def test_the_distance_of_texts_is_half_the_sum_of_the_gaps() -> None:
    labels = np.array(["a", "b", "b", "c", "c", "c", "a", "b"])
    # a 1/4 and 1/4, b 2/4 and 1/4, c 1/4 and 2/4.
    assert of(distribution_distance(labels), [0, 0, 0, 0, 1, 1, 1, 1]) == 0.25


def test_a_caller_in_both_groups_counts_for_two() -> None:
    assert Groups.of(["a", "a", "b"], [False, True, True]).sizes == (1, 2)


def test_what_can_not_be_compared_is_refused() -> None:
    with pytest.raises(InvalidInput, match="nothing to compare"):
        Groups.of(["a", "b"], [True, True]).p_value(mean_difference(np.ones(2)), draws=10, seed=1)
    with pytest.raises(InvalidInput, match="shape"):
        Groups.of(["a", "b"], [True])
