"""How far probabilities are from what comes true."""

from __future__ import annotations

import numpy as np
import pytest

from millrace.statistics.calibration import calibration_error, reliability


def test_bins_hold_about_as_many_rows_each_and_equal_scores_together() -> None:
    scores = np.repeat([0.1, 0.2, 0.7], [50, 30, 20])
    labels = np.concatenate(
        [np.repeat([1.0, 0.0], [5, 45]), np.repeat([1.0, 0.0], [15, 15]), np.repeat([1.0, 0.0], [7, 13])]
    )
    found = reliability(labels, scores)
    assert [each.rows for each in found] == [50, 30, 20]
    assert [each.said for each in found] == pytest.approx([0.1, 0.2, 0.7])
    assert [each.came_true for each in found] == pytest.approx([0.1, 0.5, 0.35])
    # By hand: 0.5 * 0 + 0.3 * 0.3 + 0.2 * 0.35.
    assert calibration_error(labels, scores) == pytest.approx(0.16)


def test_it_is_the_mean_distance_in_ten_bins() -> None:
    scores = np.linspace(0.05, 0.95, 1000)
    labels = (np.arange(1000) % 2).astype(float)
    by_hand = sum(abs(part.mean() - 0.5) for part in np.split(scores, 10)) / 10
    assert calibration_error(labels, scores) == pytest.approx(by_hand)
    assert calibration_error(np.ones(10), np.ones(10)) == 0
