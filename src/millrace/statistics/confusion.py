"""Figures of a confusion matrix of any number of classes, with intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt

from millrace.statistics.intervals import UNKNOWN, Estimate, around, f1, proportion
from millrace.statistics.metrics import Floats

_OfClass = Callable[[float, float, float], Estimate]


@dataclass(frozen=True, slots=True)
class PerClass:
    """One figure for each class, and over classes. A class that makes it 0/0 counts as 0 in both means, as in scikit-learn.

    Attributes:
        one_vs_all: in the order of the matrix; undefined for 0/0.
        macro: mean of the classes.
        weighted: mean by the classes' labelled rows.
    """

    one_vs_all: tuple[Estimate, ...]
    macro: Estimate
    weighted: Estimate


@dataclass(frozen=True, slots=True)
class ConfusionFigures:
    """Accuracy, and precision, recall and F1 by class."""

    accuracy: Estimate
    precision: PerClass
    recall: PerClass
    f1: PerClass


def confusion_figures(matrix: npt.ArrayLike) -> ConfusionFigures:
    """Figures of a k x k matrix of counts: predictions down, labels across. Without rows all are undefined.

    A class's own figures have Wilson's intervals. Means over classes have the delta method's, for a matrix drawn as a multinomial.
    Source: Takahashi et al. 2022, Confidence interval for micro-averaged F1 and macro-averaged F1 scores.
    """
    counts = np.asarray(matrix, dtype=np.float64)
    hit, said, true = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    return ConfusionFigures(
        proportion(float(hit.sum()), float(counts.sum())),
        _per_class(counts, (said, 0), lambda h, s, _: proportion(h, s)),
        _per_class(counts, (true, 1), lambda h, _, t: proportion(h, t)),
        _per_class(counts, (said + true, None), lambda h, s, t: f1(h, s - h, t - h)),
    )


def _per_class(counts: Floats, under: tuple[Floats, int | None], figure: _OfClass) -> PerClass:
    """`under` is the denominator of each class (the numerator is its hits, twice for F1), and along which axis its rows lie (None: both)."""
    hit, said, true = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    each = tuple(figure(*one) for one in zip(hit.tolist(), said.tolist(), true.tolist(), strict=True))
    rows = counts.sum()
    if rows <= 0:
        return PerClass(each, UNKNOWN, UNKNOWN)
    values, slopes = _slopes(hit, *under)
    macro = _delta(counts, float(values.mean()), slopes.mean(axis=0))
    weighted_value = float(values @ true / rows)
    weighted_slopes = np.tensordot(true / rows, slopes, 1) + (values - weighted_value)[None, :] / rows
    return PerClass(each, macro, _delta(counts, weighted_value, weighted_slopes))


def _slopes(hit: Floats, whole: Floats, axis: int | None) -> tuple[Floats, Floats]:
    """Values of the k classes, and how each changes with each cell: k x k x k."""
    size, times = len(hit), 2.0 if axis is None else 1.0
    values = np.divide(times * hit, whole, out=np.zeros(size), where=whole > 0)
    inverse = np.divide(1.0, whole, out=np.zeros(size), where=whole > 0)
    slopes, at = np.zeros((size, size, size)), np.arange(size)
    for along in (0, 1) if axis is None else (axis,):
        where = (at, at, slice(None)) if along == 0 else (at, slice(None), at)
        slopes[where] -= (values * inverse)[:, None]
    slopes[at, at, at] += times * inverse
    return values, slopes


def _delta(counts: Floats, value: float, slopes: Floats) -> Estimate:
    rows = float(counts.sum())
    variance = (counts * slopes**2).sum() - (counts * slopes).sum() ** 2 / rows
    return around(value, sqrt(max(float(variance), 0.0)), int(rows), (0.0, 1.0))
