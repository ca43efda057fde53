"""Metrics against plain Python and worked cases."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.core.errors import InvalidInput
from millrace.statistics.metrics import METRICS, brier, f1, log_loss, measure, metric_named, precision, recall, roc_auc

rows = st.lists(
    st.tuples(st.sampled_from([0, 1]), st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.50001, 0.9, 1.0])),
    min_size=1,
    max_size=30,
)

LABELS = [1, 1, 1, 0, 0, 0, 0, 1]
SCORES = [0.9, 0.6, 0.4, 0.7, 0.2, 0.5, 0.1, 0.5]  # hits 2, false alarms 1, missed 2


def pairs_won(labels: list[int], scores: list[float]) -> float:
    """ROC AUC by counting every pair."""
    ones = [s for y, s in zip(labels, scores, strict=True) if y]
    zeros = [s for y, s in zip(labels, scores, strict=True) if not y]
    if not ones or not zeros:
        return math.nan
    return sum((a > b) + 0.5 * (a == b) for a in ones for b in zeros) / (len(ones) * len(zeros))


def test_confusion_figures_of_a_case_worked_by_hand() -> None:
    assert precision(LABELS, SCORES) == 2 / 3
    assert recall(LABELS, SCORES) == 1 / 2
    assert f1(LABELS, SCORES) == 4 / 7
    assert METRICS["accuracy"](LABELS, SCORES) == 5 / 8


def test_a_half_is_predicted_zero_as_scikit_learn_does() -> None:
    assert METRICS["accuracy"]([0], [0.5]) == 1.0


def test_log_loss_and_brier_of_a_case_worked_by_hand() -> None:
    assert log_loss([1, 0], [0.8, 0.4]) == pytest.approx(-(math.log(0.8) + math.log(0.6)) / 2, rel=1e-15)
    assert brier([1, 0], [0.8, 0.4]) == pytest.approx((0.04 + 0.16) / 2, rel=1e-15)


def test_log_loss_of_a_certain_error_is_large_and_finite() -> None:
    assert log_loss([1], [0.0]) == pytest.approx(-math.log(2.220446049250313e-16))


@given(rows)
@settings(max_examples=150, deadline=None)
def test_roc_auc_is_the_share_of_pairs_won(case: list[tuple[int, float]]) -> None:
    labels, scores = [y for y, _ in case], [s for _, s in case]
    assert roc_auc(labels, scores) == pytest.approx(pairs_won(labels, scores), nan_ok=True)


@given(rows)
@settings(max_examples=100, deadline=None)
def test_weights_are_repeated_rows(case: list[tuple[int, float]]) -> None:
    labels, scores = np.array([y for y, _ in case], float), np.array([s for _, s in case])
    times = np.arange(len(case)) % 3 + 1
    for name, metric in METRICS.items():
        weighted = metric.prepare(labels, scores)(times[None, :].astype(float))[0]
        repeated = metric(np.repeat(labels, times), np.repeat(scores, times))
        assert weighted == pytest.approx(repeated, nan_ok=True), name


def test_one_class_and_nothing_predicted_have_stated_results() -> None:
    assert math.isnan(roc_auc([1, 1], [0.2, 0.9]))
    assert precision([1, 0], [0.1, 0.2]) == 0.0
    assert recall([0, 0], [0.9, 0.2]) == 0.0
    assert f1([0, 0], [0.1, 0.2]) == 0.0


@pytest.mark.parametrize(
    ("labels", "scores", "fact"),
    [
        ([], [], "no rows"),
        ([0, 2], [0.1, 0.2], "neither 0 nor 1"),
        ([0, math.nan], [0.1, 0.2], "neither 0 nor 1"),
        ([0, 1], [0.1, math.nan], "not a probability"),
        ([0, 1], [0.1, 1.1], "not a probability"),
        ([0, 1], [0.1], "shape"),
    ],
)
def test_bad_input_is_refused(labels: list[float], scores: list[float], fact: str) -> None:
    with pytest.raises(InvalidInput, match=fact):
        measure(labels, scores)


def test_measure_gives_every_metric_and_a_wrong_name_its_neighbour() -> None:
    assert list(measure([0, 1], [0.2, 0.7])) == list(METRICS)
    with pytest.raises(InvalidInput, match=re.escape("did you mean 'log_loss'?")):
        metric_named("logloss")


def test_gain_is_positive_for_the_better_model_in_either_direction() -> None:
    assert roc_auc.gain(0.9, 0.8) == pytest.approx(0.1)
    assert log_loss.gain(0.3, 0.4) == pytest.approx(0.1)
