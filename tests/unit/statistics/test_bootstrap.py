"""The paired bootstrap: against theory where there is one, and its own promises."""

from __future__ import annotations

import math

import numpy as np
import pytest

from millrace.core.errors import InvalidInput
from millrace.statistics.bootstrap import metric_intervals, paired_gain
from millrace.statistics.metrics import METRICS, accuracy, brier, log_loss, roc_auc


def sample(n: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, a good model's scores and a worse one's."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0.02, 0.98, n)
    labels = (rng.random(n) < truth).astype(int)
    return labels, truth, np.clip(truth + rng.normal(0, 0.3, n), 0.01, 0.99)


def test_a_mean_difference_has_the_interval_of_the_central_limit_theorem() -> None:
    labels, good, poor = sample(2000, 1)
    gains = (poor - labels) ** 2 - (good - labels) ** 2
    half = 1.959964 * gains.std() / math.sqrt(len(gains))
    interval = paired_gain(brier, labels, good, poor, seed=3)
    assert interval.low == pytest.approx(gains.mean() - half, abs=0.15 * half)
    assert interval.high == pytest.approx(gains.mean() + half, abs=0.15 * half)


@pytest.mark.parametrize("name", list(METRICS))
def test_the_better_model_has_a_positive_interval_and_swapping_turns_it(name: str) -> None:
    labels, good, _ = sample(3000, 2)
    poor = np.full(len(labels), 0.4)
    interval = paired_gain(METRICS[name], labels, good, poor, seed=5, draws=200)
    turned = paired_gain(METRICS[name], labels, poor, good, seed=5, draws=200)
    assert interval.low > 0
    assert interval.excludes_zero
    assert (turned.low, turned.high) == pytest.approx((-interval.high, -interval.low), abs=1e-12)


def test_a_model_against_itself_is_a_draw() -> None:
    labels, good, _ = sample(500, 3)
    interval = paired_gain(log_loss, labels, good, good, seed=0)
    assert (interval.low, interval.high) == (0.0, 0.0)
    assert not interval.excludes_zero


def test_the_seed_decides_to_the_bit() -> None:
    labels, good, poor = sample(400, 4)
    first, again, other = (paired_gain(roc_auc, labels, good, poor, seed=s, draws=100) for s in (9, 9, 10))
    assert first == again
    assert first != other


def test_one_class_has_no_interval_for_roc_auc() -> None:
    interval = paired_gain(roc_auc, [1, 1, 1], [0.1, 0.2, 0.3], [0.3, 0.2, 0.1], seed=0, draws=20)
    assert math.isnan(interval.low)
    assert not interval.excludes_zero


def test_an_impossible_confidence_is_refused() -> None:
    with pytest.raises(InvalidInput, match="confidence"):
        paired_gain(accuracy, [0, 1], [0.1, 0.9], [0.2, 0.8], seed=0, confidence=1.0)


def test_an_interval_of_a_metric_covers_what_the_metric_is() -> None:
    # The mean squared error of these scores is 1/6 by integration: E[p (1 - p)] for p uniform.
    rng, covered = np.random.default_rng(0), 0
    for _ in range(60):
        truth = rng.random(300)
        labels = (rng.random(300) < truth).astype(int)
        found = metric_intervals([brier], labels, truth, seed=1, draws=200)["brier"]
        covered += found.low <= 1 / 6 <= found.high
    assert covered >= 52


def test_rows_of_a_group_are_drawn_together() -> None:
    rng = np.random.default_rng(0)
    once = rng.random(200)
    labels = (rng.random(200) < once).astype(int)
    alone = metric_intervals([brier], labels, once, seed=1)["brier"]
    groups = np.tile(np.arange(200), 4)
    repeated = metric_intervals([brier], np.tile(labels, 4), np.tile(once, 4), seed=1, groups=groups)["brier"]
    # Four copies of each row say nothing new: the same draws, the same interval.
    assert (repeated.low, repeated.high) == pytest.approx((alone.low, alone.high), rel=1e-12)
