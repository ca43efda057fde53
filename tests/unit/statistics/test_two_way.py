from __future__ import annotations

import math

import numpy as np
import pytest

from millrace.core.errors import InvalidInput
from millrace.statistics.two_way import two_way_mean


def _panel(
    rng: np.random.Generator, keys: int, blocks: int, *, of_keys: float, of_blocks: float
) -> tuple[np.ndarray, ...]:
    """Each key once in each block; rows share what their key and their block have."""
    by_key, by_block = rng.normal(0, of_keys, keys), rng.normal(0, of_blocks, blocks)
    values = by_key[:, None] + by_block[None, :] + rng.normal(0, 1, (keys, blocks))
    return values.ravel(), np.repeat(np.arange(keys), blocks), np.tile(np.arange(blocks), keys)


def test_the_value_is_the_mean() -> None:
    found = two_way_mean(np.array([1.0, 2.0, 6.0]), np.array([0, 1, 1]), np.array([0, 0, 5]), seed=1)
    assert (found.value, found.rows, found.blocks) == (3.0, 3, 2)
    assert found.interval.low <= 3.0 <= found.interval.high


def test_what_is_the_same_everywhere_has_no_width() -> None:
    values, keys, blocks = np.full(200, 0.25), np.arange(200) % 20, np.arange(200) // 20
    found = two_way_mean(values, keys, blocks, seed=1)
    assert found.interval.low == found.interval.high == 0.25


@pytest.mark.parametrize(("of_keys", "of_blocks"), [(0.0, 0.0), (1.0, 0.0), (0.0, 0.4), (0.7, 0.3)])
def test_the_interval_holds_zero_at_least_as_often_as_it_says(of_keys: float, of_blocks: float) -> None:
    rng, hits, runs = np.random.default_rng(5), 0, 60
    for seed in range(runs):
        values, keys, blocks = _panel(rng, 40, 8, of_keys=of_keys, of_blocks=of_blocks)
        interval = two_way_mean(values, keys, blocks, seed=seed, draws=200).interval
        hits += interval.low <= 0 <= interval.high
    assert hits >= 50  # where each is right in 95 of 100, fewer than 50 of 60 are once in 5,000


def test_a_shared_shock_makes_the_interval_wide() -> None:
    values, keys, blocks = _panel(np.random.default_rng(3), 300, 8, of_keys=0.0, of_blocks=0.5)
    wide = two_way_mean(values, keys, blocks, seed=1).interval
    naive = 2 * 1.96 * values.std() / math.sqrt(len(values))
    assert wide.high - wide.low > 4 * naive


def test_one_block_of_time_says_nothing_about_others() -> None:
    found = two_way_mean(np.array([1.0, 3.0]), np.array([0, 1]), np.array([7, 7]), seed=1)
    assert found.value == 2.0
    assert math.isnan(found.interval.low)
    assert not found.interval.excludes_zero


def test_nothing_is_no_mean() -> None:
    nothing = np.array([], dtype=np.int64)
    found = two_way_mean(nothing.astype(np.float64), nothing, nothing, seed=1)
    assert math.isnan(found.value)
    assert found.rows == found.blocks == 0


def test_many_keys_are_drawn_in_groups_with_the_same_width() -> None:
    values, keys, blocks = _panel(np.random.default_rng(9), 4000, 6, of_keys=1.0, of_blocks=0.0)
    grouped = two_way_mean(values, keys, blocks, seed=1).interval
    # By keys alone the standard error is that of the keys' means; by blocks there is hardly any.
    error = values.reshape(4000, 6).mean(axis=1).std() / math.sqrt(4000)
    assert 2 * 1.96 * error < grouped.high - grouped.low < 4 * 1.96 * error


def test_the_same_seed_gives_the_same_bits() -> None:
    values, keys, blocks = _panel(np.random.default_rng(2), 50, 7, of_keys=1.0, of_blocks=1.0)
    assert two_way_mean(values, keys, blocks, seed=4) == two_way_mean(values, keys, blocks, seed=4)
    assert two_way_mean(values, keys, blocks, seed=4) != two_way_mean(values, keys, blocks, seed=5)


def test_what_can_not_be_is_refused() -> None:
    one = np.array([1])
    with pytest.raises(InvalidInput):
        two_way_mean(np.array([1.0, 2.0]), one, one, seed=1)
    with pytest.raises(InvalidInput):
        two_way_mean(np.array([1.0]), one, one, seed=1, confidence=1.0)
