"""Figures from counts against scikit-learn on the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from millrace.monitoring.reference.answers import AnswerLayout, Answers
from millrace.monitoring.reference.count_answers import AnswerColumns, count_answers
from millrace.monitoring.reference.performance import classified, loss_of, loss_skewness, performance_columns, regressed


def counted(problem: Any, labels: Any, predictions: Any, scores: Any = None) -> Answers:
    classes = {"binary": ("0", "1"), "classes": ("a", "b", "c"), "regression": ()}[problem]
    columns = AnswerColumns(*(None if one is None else pa.array(one) for one in (labels, predictions, scores)))
    rows = len(next(one for one in (predictions, scores) if one is not None))
    groups = np.zeros(rows, dtype=np.int64)
    return count_answers(AnswerLayout(problem, classes), columns, groups, 1)[0]


def test_binary_figures_are_scikit_learns() -> None:
    from sklearn import metrics

    rng = np.random.default_rng(5)
    scores = rng.beta(1, 3, 4000)
    labels = (rng.random(4000) < scores).astype(int)
    answers = counted("binary", labels, None, scores)
    found = classified(answers)
    assert found.confusion.accuracy.value == pytest.approx(metrics.accuracy_score(labels, scores > 0.5))
    assert found.log_loss.value == pytest.approx(metrics.log_loss(labels, scores))
    assert found.brier.value == pytest.approx(metrics.brier_score_loss(labels, scores))
    assert found.roc_auc is not None
    exact = metrics.roc_auc_score(labels, scores)
    assert abs(found.roc_auc.estimate.value - exact) <= found.roc_auc.bound < 0.006
    assert found.roc_auc.estimate.value == pytest.approx(exact, abs=2e-4)
    columns = performance_columns(answers)
    assert columns["accuracy_score"] == found.confusion.accuracy.value
    assert columns["log_loss"] == found.log_loss.value
    assert columns["f1_score"]["one_vs_all"][1] == ("1", pytest.approx(metrics.f1_score(labels, scores > 0.5)))  # type: ignore[index]


def test_the_bound_of_the_area_holds_where_most_scores_are_tiny() -> None:
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(6)
    scores = np.exp(rng.normal(-8, 1.2, 60_000)).clip(0, 1)
    labels = (rng.random(60_000) < np.minimum(scores * 20, 1)).astype(int)
    found = classified(counted("binary", labels, None, scores)).roc_auc
    assert found is not None
    assert abs(found.estimate.value - roc_auc_score(labels, scores)) <= found.bound < 0.03


def test_more_classes_have_their_matrix_and_no_area() -> None:
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(7)
    labels, said = (rng.choice(["a", "b", "zebra"], 200).tolist() for _ in range(2))
    answers = counted("classes", labels, said, rng.random(200))
    found = classified(answers)
    assert found.classes == ("a", "b", "(other)")
    assert found.roc_auc is None
    assert found.confusion.f1.macro.value == pytest.approx(f1_score(labels, said, average="macro"))
    assert "log_loss" not in performance_columns(answers)
    assert loss_of(answers, "error").value == pytest.approx(np.mean(np.array(labels) != np.array(said)))


def test_a_regression_fills_its_columns() -> None:
    from sklearn import metrics

    labels, said = [3.0, 0.0, 2.0, 7.0], [2.5, 0.5, 2.0, 8.0]
    answers = counted("regression", labels, said)
    columns = performance_columns(answers)
    assert columns["mean_squared_error"] == pytest.approx(metrics.mean_squared_error(labels, said))
    assert columns["mean_average_error"] == pytest.approx(metrics.mean_absolute_error(labels, said))
    assert columns["r2_score"] == pytest.approx(metrics.r2_score(labels, said))
    assert columns["mean_absolute_percentage_error"] == pytest.approx(np.mean([0.5 / 3, 0.0, 1 / 7]))
    assert loss_of(answers, "squared_error").value == regressed(answers).mse.value


def test_without_labels_or_with_one_class_the_rest_is_null() -> None:
    assert performance_columns(counted("binary", None, None, [0.1, 0.9])) == {}
    assert performance_columns(Answers("regression", rows=3)) == {}
    columns = performance_columns(counted("binary", [1, 1], None, [0.4, 0.9]))
    assert columns["roc_auc_score"] is None
    assert columns["accuracy_score"] == 0.5
    assert dict(columns["precision"]["one_vs_all"]) == {"0": 0.0, "1": 1.0}  # type: ignore[index]
    assert "log_loss" not in performance_columns(counted("binary", [1, 0], [1, 1]))


def test_skewness_of_losses_is_scipys() -> None:
    from scipy.stats import skew

    rng = np.random.default_rng(8)
    scores = rng.beta(2, 3, 5000)
    labels = (rng.random(5000) < scores).astype(int)
    answers = counted("binary", labels, None, scores)
    losses = -np.log(np.where(labels == 1, scores, 1 - scores))
    assert loss_skewness(answers, "log_loss") == pytest.approx(skew(losses), abs=0.02)
    assert loss_skewness(answers, "error") == pytest.approx(skew((scores > 0.5) != labels))
    errors = rng.normal(0, 2, 300)
    regression = counted("regression", np.full(300, 5.0), 5.0 + errors)
    assert loss_skewness(regression, "squared_error") == pytest.approx(skew(errors**2))
    assert loss_skewness(Answers("binary"), "log_loss") == 0.0
    assert loss_skewness(Answers("binary"), "error") == 0.0
