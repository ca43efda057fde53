from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as reference  # noqa: TID253 - the reference

from millrace.automl.metrics import metric_for, score
from millrace.automl.types import Problem, Task
from millrace.core.errors import InvalidInput


def problem(
    metric: str, classes: tuple[object, ...], task: Task = "classification", positive: object = None
) -> Problem:
    return Problem(task, "y", metric, metric_for(task, metric).higher_is_better, classes, positive)


def test_of_more_than_two_classes_metrics_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels, weights = rng.integers(0, 3, 200), rng.random(200)
    shares = rng.dirichlet([1, 1, 1], 200)
    said = shares.argmax(axis=1)
    many = {
        "log_loss": reference.log_loss(labels, shares, sample_weight=weights),
        "accuracy": reference.accuracy_score(labels, said, sample_weight=weights),
        "f1": reference.f1_score(labels, said, average="macro", sample_weight=weights),
        "precision": reference.precision_score(labels, said, average="macro", sample_weight=weights),
        "recall": reference.recall_score(labels, said, average="macro", sample_weight=weights),
        "roc_auc": reference.roc_auc_score(labels, shares, multi_class="ovr", average="macro", sample_weight=weights),
    }
    for name, value in many.items():
        assert score(problem(name, ("a", "b", "c")), labels, shares, weights) == pytest.approx(value), name


def test_the_positive_class_may_be_the_first() -> None:
    labels, ones = np.array([0, 0, 0, 1]), np.array([0.9, 0.2, 0.1, 0.4])
    shares = np.column_stack([1 - ones, ones])
    said = np.where(ones > 0.5, "no", "yes")
    truth = np.array(["yes", "no"])[labels]
    first = score(problem("recall", ("yes", "no"), positive="yes"), labels, shares)
    assert first == reference.recall_score(truth, said, pos_label="yes")


def test_of_numbers_metrics_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth, said, weights = rng.normal(size=50), rng.normal(size=50), rng.random(50)
    expected = {
        "rmse": reference.root_mean_squared_error(truth, said, sample_weight=weights),
        "mae": reference.mean_absolute_error(truth, said, sample_weight=weights),
        "r2": reference.r2_score(truth, said, sample_weight=weights),
    }
    for name, value in expected.items():
        assert score(problem(name, (), "regression"), truth, said, weights) == pytest.approx(value)


def test_an_unknown_metric_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(InvalidInput) as error:
        metric_for("classification", "logloss")
    assert "log_loss" in error.value.hint
