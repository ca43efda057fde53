"""Rows of a log to counted answers, one set a group (a window of a version, a slice of it)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.monitoring.reference.answers import (
    LEAST_PROBABILITY,
    OTHER,
    POSITIVE,
    RIGHT,
    SCORE_CELLS,
    UNKNOWN,
    WRONG,
    AnswerLayout,
    Answers,
    Pair,
    Problem,
    score_edges,
)
from millrace.monitoring.reference.cells import Bools, Floats, Ints, as_numbers, kind_of
from millrace.statistics.exact import ExactSum, exact_sums

_MOST_CLASSES = 50
_CUT = 0.5
_HUGE = 1e50  # its sixth power is a double; what is larger is no label and no prediction


@dataclass(frozen=True, slots=True)
class AnswerColumns:
    """Arrow columns of n values each; None for one that there is not.

    Attributes:
        labels: null where not known.
        predictions: the predicted class, or number.
        scores: P(class 1) of a binary model, else the probability of the predicted class.
    """

    labels: Any = None
    predictions: Any = None
    scores: Any = None

    def where(self, kept: Bools) -> AnswerColumns:
        """The rows that are kept."""
        mask = pa.array(kept)
        columns = (self.labels, self.predictions, self.scores)
        return AnswerColumns(*(None if column is None else column.filter(mask) for column in columns))


def layout_of(columns: AnswerColumns, problem: Problem | None = None) -> AnswerLayout:
    """How to count a model's answers, from its reference's, which have labels.

    Args:
        columns: labels, and predictions or scores.
        problem: None guesses: `binary` where labels are 0 and 1 (or booleans), else `classes` for texts, whole numbers of an integer
            type, or where there are scores; else `regression`.
    """
    counted = {name: count for name, count in zip(*_counted_names(columns.labels), strict=True) if count}
    if problem is None:
        problem = _problem(columns, set(counted))
    if problem == "binary":
        return AnswerLayout(problem, ("0", POSITIVE))
    if problem == "classes":
        frequent = sorted(counted, key=lambda name: (-counted[name], name))[:_MOST_CLASSES]
        return AnswerLayout(problem, tuple(sorted(frequent)))
    values = _usable(as_numbers(columns.labels, "labels"))
    known = values[~np.isnan(values)]
    return AnswerLayout(problem, (), float(np.median(known)) if len(known) else 0.0)


def count_answers(layout: AnswerLayout, columns: AnswerColumns, groups: Ints, count: int) -> Sequence[Answers]:
    """The answers of each group.

    A label that is null or NaN is not known. A score that is missing or outside [0, 1] is none; without a prediction, a binary score
    over 0.5 is one of class 1. Numbers equal their texts: a label 1 and a prediction "1" or 1.0 are the same class.

    Args:
        layout: the reference's.
        columns: n rows.
        groups: n positions from 0 to count - 1; -1 for a row that is in none.
        count: how many groups.

    Raises:
        InvalidInput: scores, or a regression's labels or predictions, that are not numbers.
    """
    kept = groups >= 0
    if not kept.all():
        columns, groups = columns.where(kept), groups[kept]
    count_them = _regression if layout.problem == "regression" else _classes
    return count_them(layout, columns, groups, count)


def _problem(columns: AnswerColumns, names: set[str]) -> Problem:
    if names <= {"0", POSITIVE}:
        return "binary"
    labels = columns.labels
    said = labels if columns.predictions is None else columns.predictions
    whole = pa.types.is_integer(labels.type) and pa.types.is_integer(said.type) and len(names) <= _MOST_CLASSES
    return "classes" if kind_of(labels.type) == "text" or columns.scores is not None or whole else "regression"


def _regression(layout: AnswerLayout, columns: AnswerColumns, groups: Ints, count: int) -> Sequence[Answers]:
    rows = np.bincount(groups, minlength=count)
    if columns.labels is None or columns.predictions is None:
        return [Answers("regression", int(n)) for n in rows]
    truth = _usable(as_numbers(columns.labels, "labels"))
    error = _usable(as_numbers(columns.predictions, "predictions")) - truth
    known = ~np.isnan(error)
    truth, error, groups = truth[known], error[known], groups[known]
    labelled = np.bincount(groups, minlength=count)
    sums = {name: exact_sums(values, groups, count) for name, values in _powers(error, truth - layout.centre).items()}
    relative = truth != 0
    ape, of = np.minimum(np.abs(error[relative] / truth[relative]), _HUGE), groups[relative]
    for name, values in (("ape", ape), ("ape_2", ape * ape), ("ape_rows", np.ones(len(ape)))):
        sums[name] = exact_sums(values, of, count)
    return [
        Answers("regression", int(rows[at]), int(labelled[at]), sums={name: of[at] for name, of in sums.items()})
        for at in range(count)
    ]


def _powers(e: Floats, y: Floats) -> Mapping[str, Floats]:
    e2, y2 = e * e, y * y
    powers = {
        "abs": np.abs(e),
        "e": e,
        "e2": e2,
        "e4": e2 * e2,
        "e6": e2 * e2 * e2,
        "y": y,
        "y2": y2,
        "y3": y2 * y,
        "y4": y2 * y2,
    }
    return powers | {"e2y": e2 * y, "e2y2": e2 * y2}


def _usable(values: Floats) -> Floats:
    return np.where(np.abs(values) < _HUGE, values, np.nan)


def _classes(layout: AnswerLayout, columns: AnswerColumns, groups: Ints, count: int) -> Sequence[Answers]:
    names, rows = (*layout.classes, OTHER), len(groups)
    truth, said = _class_numbers(columns.labels, names, rows), _class_numbers(columns.predictions, names, rows)
    p = np.full(rows, np.nan) if columns.scores is None else as_numbers(columns.scores, "probabilities")
    p = np.where((p >= 0) & (p <= 1), p, np.nan)
    scored, came = said, truth
    if layout.problem == "binary":
        said = np.where((said < 0) & ~np.isnan(p), (p > _CUT).astype(np.int64), said)
        scored = np.full(rows, names.index(POSITIVE))
        # A label that is neither 0 nor 1 tells nothing of P(1).
        came = np.where(truth >= len(layout.classes), -1, truth)
    held = ~np.isnan(p) & (scored >= 0)
    outcome = np.where(came < 0, UNKNOWN, np.where(came == scored, RIGHT, WRONG))[held]
    of, p = groups[held], p[held]
    keys = (of * SCORE_CELLS + np.searchsorted(score_edges(), p, side="left")) * 3 + outcome
    cells = _score_counts(names, scored[held], keys, count)
    parts = (_pairs(names, said, truth, groups, count), cells, _loss_sums(p, outcome, of, count))
    totals = np.bincount(groups, minlength=count).tolist()
    labelled = np.bincount(groups[(truth >= 0) & (said >= 0)], minlength=count).tolist()
    return [Answers(layout.problem, *each) for each in zip(totals, labelled, *parts, strict=True)]


def _pairs(names: Sequence[str], said: Ints, truth: Ints, groups: Ints, count: int) -> Sequence[Mapping[Pair, int]]:
    """Counts by group, prediction and label; the label's last position stands for one that is not known."""
    size, answered = len(names), said >= 0
    keys = (groups[answered] * size + said[answered]) * (size + 1) + truth[answered] % (size + 1)
    found: list[dict[Pair, int]] = [{} for _ in range(count)]
    for key, rows in zip(*(each.tolist() for each in np.unique(keys, return_counts=True)), strict=True):
        rest, label = divmod(key, size + 1)
        at, prediction = divmod(rest, size)
        found[at][names[prediction], names[label] if label < size else None] = rows
    return found


def _score_counts(names: Sequence[str], scored: Ints, keys: Ints, count: int) -> Sequence[Mapping[str, Ints]]:
    found: list[dict[str, Ints]] = [{} for _ in range(count)]
    for number in np.unique(scored).tolist():
        counted = np.bincount(keys[scored == number], minlength=count * SCORE_CELLS * 3)
        counted = counted.reshape(count, SCORE_CELLS, 3).astype(np.int64)
        for at in np.flatnonzero(counted.any(axis=(1, 2))).tolist():
            found[at][names[number]] = counted[at].copy()
    return found


def _loss_sums(p: Floats, outcome: Ints, groups: Ints, count: int) -> Sequence[Mapping[str, ExactSum]]:
    known = outcome != UNKNOWN
    p, right, groups = p[known], outcome[known] == RIGHT, groups[known]
    given = np.clip(np.where(right, p, 1 - p), LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    loss, brier = -np.log(given), (p - right) ** 2
    values = {"log_loss": loss, "log_loss_2": loss * loss, "brier": brier, "brier_2": brier * brier}
    sums = {name: exact_sums(each, groups, count) for name, each in values.items()}
    return [{name: of[at] for name, of in sums.items()} for at in range(count)]


def _class_numbers(column: Any, names: Sequence[str], rows: int) -> Ints:
    """Position of each value's class among the names, of `(other)` where it has none; -1 for null and NaN."""
    if column is None:
        return np.full(rows, -1, dtype=np.int64)
    codes, found = _coded(column)
    positions = {name: at for at, name in enumerate(names)}
    lookup = np.array([*(positions.get(name, len(names) - 1) for name in found), -1], dtype=np.int64)
    return lookup[codes]


def _counted_names(column: Any) -> tuple[Sequence[str], Sequence[int]]:
    codes, names = _coded(column)
    return names, np.bincount(codes[codes >= 0], minlength=len(names)).tolist()


def _coded(column: Any) -> tuple[Ints, Sequence[str]]:
    """Each value's position among the names, -1 for null and NaN; and the names."""
    if kind_of(column.type) == "numeric":
        values = as_numbers(column, "labels")
        found, codes = np.unique(values, return_inverse=True)
        names = [str(int(value)) if value.is_integer() else repr(value) for value in found.tolist()]
        return np.where(np.isnan(values), -1, codes).astype(np.int64), names
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    coded = pc.dictionary_encode(column.cast(pa.string()))
    codes = pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes, coded.dictionary.to_pylist()
