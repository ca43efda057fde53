"""The loss of each answer, once its label is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from millrace.monitoring.reference.cells import Bools, Floats, as_numbers, kind_of

# A probability of exactly 0 or 1 would make one row outweigh all others.
_LEAST_PROBABILITY = 1e-6


def row_losses(labels: Any, probabilities: Any, predictions: Any) -> Floats:
    """The loss per row: n values, NaN where the label or the answer is missing.

    With probabilities the log-loss `-ln P(label)` of a 0/1 label, probabilities kept within [1e-6, 1 - 1e-6]; else 1 where the
    predicted label is not the label, and 0 where it is.
    """
    if probabilities is not None:
        truth, p = as_numbers(labels, "labels"), as_numbers(probabilities, "probabilities")
        p = np.clip(p, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
        losses: Floats = -np.log(np.where(truth > 0, p, 1 - p))
        return np.where(np.isnan(truth) | np.isnan(p), np.nan, losses)
    known = _valid(labels) & _valid(predictions)
    return np.where(known, (comparable(labels) != comparable(predictions)).astype(np.float64), np.nan)


def comparable(column: Any) -> Any:
    """Labels as a numpy array in which equal labels are equal: numbers as floats (1 and 1.0 are the same), else text."""
    if kind_of(column.type) == "numeric":
        return as_numbers(column, "labels")
    return np.asarray(column.cast(pa.string()).to_pylist(), dtype=object)


def _valid(column: Any) -> Bools:
    return np.asarray(column.is_valid(), dtype=bool)
