"""The `:table` row of the profile table: which columns had values, and how good the answers were."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from millrace.monitoring.counts.window_counts import WindowCounts
from millrace.monitoring.reference.answers import POSITIVE, RIGHT, WRONG, Answers
from millrace.monitoring.tables.statistics import Row
from millrace.statistics.confusion import PerClass, confusion_figures
from millrace.statistics.intervals import Estimate, area
from millrace.statistics.regression import regression_figures


def table_row(window: WindowCounts, columns: Iterable[str]) -> Row:
    """Rows, those of the columns that have values, and quality of the answers whose labels are known (null without labels)."""
    named = sorted(name for name in columns if window.cells[name][1:].any())
    row: Row = {"count": window.rows, "non_null_columns": named}
    if window.answers is None or not window.answers.labelled:
        return row
    if window.answers.problem == "regression":
        return row | _regression(window.answers)
    return row | _classes(window.answers)


def _classes(answers: Answers) -> Row:
    known = {(said, label): rows for (said, label), rows in answers.pairs.items() if label is not None and rows}
    classes = sorted({name for pair in known for name in pair})
    at = {name: place for place, name in enumerate(classes)}
    matrix = np.zeros((len(classes), len(classes)), dtype=np.int64)
    for (said, label), rows in known.items():
        matrix[at[said], at[label]] = rows
    figures = confusion_figures(matrix)
    confusion = [{"prediction": s, "label": t, "count": rows} for (s, t), rows in sorted(known.items())]
    row: Row = {"accuracy_score": _value(figures.accuracy), "confusion_matrix": confusion}
    for name, figure in (("precision", figures.precision), ("recall", figures.recall), ("f1_score", figures.f1)):
        row[name] = _by_class(classes, figure)
    if answers.scored:
        row["log_loss"] = answers.total("log_loss") / answers.scored
    if answers.problem == "binary" and POSITIVE in answers.scores:
        cells = answers.scores[POSITIVE]
        row["roc_auc_score"] = _value(area(cells[:, WRONG], cells[:, RIGHT]).estimate)
    return row


def _regression(answers: Answers) -> Row:
    names = ("abs", "e", "e2", "e4", "y", "y2", "y3", "y4", "e2y", "e2y2", "ape", "ape_2", "ape_rows")
    figures = regression_figures(answers.labelled, {name: answers.total(name) for name in names})
    return {
        "mean_squared_error": _value(figures.mse),
        "root_mean_squared_error": _value(figures.rmse),
        "mean_average_error": _value(figures.mae),
        "mean_absolute_percentage_error": _value(figures.mape),
        "r2_score": _value(figures.r2),
    }


def _by_class(classes: list[str], figure: PerClass) -> Row:
    """A class that makes it 0/0 counts as 0."""
    one_vs_all = [(name, _value(one) or 0.0) for name, one in zip(classes, figure.one_vs_all, strict=True)]
    return {"one_vs_all": one_vs_all, "macro": _value(figure.macro), "weighted": _value(figure.weighted)}


def _value(estimate: Estimate) -> float | None:
    return estimate.value if estimate else None
