"""Counted answers as figures of merit with intervals, and as columns of the profile table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np

from millrace.monitoring.reference.answers import (
    LEAST_PROBABILITY,
    OTHER,
    POSITIVE,
    RIGHT,
    SCORE_CELLS,
    UNKNOWN,
    WRONG,
    Answers,
    score_centres,
)
from millrace.monitoring.reference.cells import Floats, Ints
from millrace.statistics.confusion import ConfusionFigures, PerClass, confusion_figures
from millrace.statistics.intervals import Area, AreaLaw, Estimate, area, area_law, mean
from millrace.statistics.regression import RegressionFigures, regression_figures

_BINARY_CLASSES = ("0", POSITIVE)
_DATABRICKS = {
    "mse": "mean_squared_error",
    "rmse": "root_mean_squared_error",
    "mae": "mean_average_error",
    "mape": "mean_absolute_percentage_error",
    "r2": "r2_score",
}


@dataclass(frozen=True, slots=True)
class Classified:
    """How good classes were.

    Attributes:
        classes: those that were seen, by name, `(other)` last; the order of what is by class.
        confusion: figures of the confusion matrix.
        log_loss, brier: of P(class 1), or of the probability of the predicted class being right; undefined without scores.
        roc_auc: of P(class 1); None for more classes, or without scores.
    """

    classes: tuple[str, ...]
    confusion: ConfusionFigures
    log_loss: Estimate
    brier: Estimate
    roc_auc: Area | None


def classified(answers: Answers) -> Classified:
    """Figures of classes, binary or more."""
    classes = classes_of(answers)
    return Classified(
        classes,
        confusion_figures(matrix_of(answers, classes)),
        loss_of(answers, "log_loss"),
        loss_of(answers, "brier"),
        area_of(answers),
    )


def regressed(answers: Answers) -> RegressionFigures:
    """Figures of a regression."""
    names = ("abs", "e2", "e4", "y", "y2", "y3", "y4", "e2y", "e2y2", "ape", "ape_2", "ape_rows")
    return regression_figures(answers.labelled, {name: answers.total(name) for name in names})


def loss_of(answers: Answers, name: str) -> Estimate:
    """The mean of `log_loss` or `brier` over rows with label and score, of `error` (wrong or not) or `squared_error` over labelled ones."""
    if name == "squared_error":
        return mean(answers.total("e2"), answers.total("e4"), answers.labelled, least=0.0)
    if name == "error":
        wrong = sum(count for (said, true), count in answers.pairs.items() if true is not None and said != true)
        return mean(wrong, wrong, answers.labelled, least=0.0)
    return mean(answers.total(name), answers.total(f"{name}_2"), answers.scored, least=0.0)


def cell_losses() -> tuple[Floats, Floats]:
    """The log-loss in each of the 256 cells of a score where its class did not come true, and where it did."""
    p = np.clip(score_centres(), LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    return -np.log(1 - p), -np.log(p)


def loss_skewness(answers: Answers, name: str) -> float:
    """The skewness of a row's loss; 0 where it is not known, or the loss is the same everywhere."""
    if name == "squared_error":
        rows = max(answers.labelled, 1)
        first, second, third = (answers.total(power) / rows for power in ("e2", "e4", "e6"))
    elif name == "error":
        first = second = third = loss_of(answers, name).value if answers.labelled else 0.0
    else:
        counts, (wrong, right) = scores_of(answers), cell_losses()
        rows = max(int(counts[:, :UNKNOWN].sum()), 1)
        first, second, third = (
            float(counts[:, WRONG] @ wrong**power + counts[:, RIGHT] @ right**power) / rows for power in (1, 2, 3)
        )
    variance = second - first * first
    central = third - 3 * first * second + 2 * first**3
    return central / variance**1.5 if variance > 0 else 0.0


def area_of(answers: Answers) -> Area | None:
    """ROC AUC of a binary model's scores; None for other models and without scores."""
    if answers.problem != "binary" or POSITIVE not in answers.scores:
        return None
    counts = answers.scores[POSITIVE]
    return area(counts[:, WRONG], counts[:, RIGHT])


def area_law_of(answers: Answers) -> AreaLaw:
    """How the area of rows like these varies by chance, where `area_of` has one."""
    counts = answers.scores[POSITIVE]
    return area_law(counts[:, WRONG], counts[:, RIGHT])


def scores_of(answers: Answers) -> Ints:
    """256 x 3 counts over all classes: did what was scored come true?"""
    return np.asarray(sum(answers.scores.values(), np.zeros((SCORE_CELLS, UNKNOWN + 1), dtype=np.int64)))


def classes_of(answers: Answers) -> tuple[str, ...]:
    """The classes that were said or came true, by name, `(other)` last; 0 and 1 in any case for a binary model."""
    names = {name for pair, count in answers.pairs.items() if count for name in pair if name is not None}
    if answers.problem == "binary":
        names |= set(_BINARY_CLASSES)
    return tuple(sorted(names, key=lambda name: (name == OTHER, name)))


def matrix_of(answers: Answers, classes: Sequence[str]) -> Ints:
    """Labelled rows by prediction (down) and label (across)."""
    at = {name: position for position, name in enumerate(classes)}
    matrix = np.zeros((len(classes), len(classes)), dtype=np.int64)
    for (said, true), count in answers.pairs.items():
        if true is not None:
            matrix[at[said], at[true]] += count
    return matrix


def performance_columns(answers: Answers) -> Mapping[str, object]:
    """Columns of the profile table's `:table` row, as Databricks has them; none without labels. What is not defined is null.

    A row of class by class figures has 0 where the figure is 0/0, as scikit-learn counts it.
    """
    if not answers.labelled:
        return {}
    if answers.problem == "regression":
        figures = regressed(answers)
        return {column: _number(getattr(figures, name)) for name, column in _DATABRICKS.items()}
    found = classified(answers)
    pairs = sorted((said, true, count) for (said, true), count in answers.pairs.items() if true is not None)
    columns: dict[str, object] = {
        "accuracy_score": _number(found.confusion.accuracy),
        "confusion_matrix": [{"prediction": said, "label": true, "count": count} for said, true, count in pairs],
    }
    for column, name in (("precision", "precision"), ("recall", "recall"), ("f1_score", "f1")):
        columns[column] = _by_class(found.classes, getattr(found.confusion, name))
    if answers.problem == "binary" and answers.scored:
        columns["log_loss"] = _number(found.log_loss)
        columns["roc_auc_score"] = _number(found.roc_auc.estimate) if found.roc_auc else None
    return columns


def _by_class(classes: Iterable[str], figure: PerClass) -> Mapping[str, object]:
    each = [(name, _number(one) or 0.0) for name, one in zip(classes, figure.one_vs_all, strict=True)]
    return {"one_vs_all": each, "macro": _number(figure.macro), "weighted": _number(figure.weighted)}


def _number(estimate: Estimate) -> float | None:
    return estimate.value if estimate and isfinite(estimate.value) else None
