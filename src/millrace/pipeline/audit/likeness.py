"""Columns that nearly equal the label: each alone, over a training set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from millrace.pipeline.audit.findings import Finding
from millrace.pipeline.audit.job import Thresholds
from millrace.statistics.metrics import roc_auc

if TYPE_CHECKING:
    import pyarrow as pa

Floats = npt.NDArray[np.float64]
_HINT = "leave it out with exclude=, or find out how it comes to know the label; --accept it where it is honest"
_MOST_CATEGORIES = 100
_CLASS_SHARE = 10  # of `min_rows`, a tenth must be of either class
_ROWS_PER_CATEGORY = 5


def label_likeness(rows: pa.Table, inputs: Sequence[str], label: str, thresholds: Thresholds) -> list[Finding]:
    """A leak for each input that alone tells the label, a warning for one that is named after it.

    Args:
        rows: a training set; the label is 0 and 1, without nulls.
        inputs: the model's inputs among its columns.
        label: the label's column.
        thresholds: from when on.
    """
    labels = rows.column(label).to_numpy().astype(np.float64)
    rare = int(min(labels.sum(), len(labels) - labels.sum())) if len(labels) else 0
    if len(labels) < thresholds.min_rows or rare * _CLASS_SHARE < thresholds.min_rows:
        fact = f"{len(labels):,} training rows with {rare:,} of the rarer class are too few to compare columns with the label"
        return [Finding("label likeness", "warning", label, fact, "audit again with more history, or lower --min-rows")]
    found = [finding for name in inputs for finding in _judge(rows.column(name), name, label, labels, thresholds)]
    if any(finding.severity == "leak" for finding in found):
        return found
    checked = f"{len(inputs)} columns, each alone against the label over {len(labels):,} rows"
    return [*found, Finding("label likeness", "ok", label, checked)]


def _judge(values: pa.ChunkedArray, name: str, label: str, labels: Floats, thresholds: Thresholds) -> list[Finding]:
    reason = _reason(values, labels, thresholds)
    if reason is not None:
        return [Finding("label likeness", "leak", name, f"'{name}' {reason}", _HINT, column=name)]
    if label.lower() in name.lower():
        return [
            Finding(
                "label likeness",
                "warning",
                name,
                f"'{name}' is named after the label '{label}'",
                "make sure that it is known before the label is",
                column=name,
            )
        ]
    return []


def _reason(values: pa.ChunkedArray, labels: Floats, thresholds: Thresholds) -> str | None:
    """Why a column tells the label; None where it does not."""
    import pyarrow as pa

    null = values.is_null().to_numpy()
    explained = explained_share(null.astype(np.int64), labels)
    if explained >= thresholds.purity:
        return f"is null where the label is {int(labels[null].mean() > 0.5)}: its nulls explain {explained:.1%} of it"  # noqa: PLR2004 - a majority
    numbers = as_numbers(values)
    if numbers is not None:
        known = ~np.isnan(numbers)
        area = separation(numbers[known], labels[known])
        if area >= thresholds.auc and known.sum() * 2 >= len(labels):
            return f"alone ranks the label with an AUC of {area:.4f}{_affine(numbers[known], labels[known])}"
    if pa.types.is_nested(values.type):
        return None
    codes = np.asarray(values.combine_chunks().dictionary_encode().indices.fill_null(-1))
    categories = int(codes.max(initial=-1)) + 1
    if not 1 < categories <= min(_MOST_CATEGORIES, len(labels) // _ROWS_PER_CATEGORY):
        return None
    explained = explained_share(codes, labels)
    if explained >= thresholds.purity:
        return f"has {categories} values that explain {explained:.1%} of the label"
    return None


def as_numbers(values: pa.ChunkedArray) -> Floats | None:
    """A column as float64 with NaN for null; None where it has no order."""
    import pyarrow as pa

    kind = values.type
    if pa.types.is_boolean(kind):
        values = values.cast(pa.int8())
    elif pa.types.is_timestamp(kind) or pa.types.is_date64(kind):
        values = (
            values.cast(pa.timestamp("us"), safe=False).cast(pa.int64())
            if pa.types.is_timestamp(kind)
            else values.cast(pa.int64())
        )
    elif pa.types.is_date(kind):
        values = values.cast(pa.int32())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        return None
    result: Floats = values.cast(pa.float64(), safe=False).to_numpy().astype(np.float64)
    return result


def separation(numbers: Floats, labels: Floats) -> float:
    """The area under the ROC curve of a column, whichever way round, in [0.5, 1]; 0.5 where there is one class or value."""
    if len(numbers) == 0 or labels.min() == labels.max():
        return 0.5
    _, ranks = np.unique(numbers, return_inverse=True)
    area = roc_auc(labels, ranks / max(ranks.max(), 1))
    return max(area, 1 - area)


def explained_share(codes: npt.NDArray[np.int64], labels: Floats) -> float:
    """Mutual information of categories and label over the label's entropy, in [0, 1] (Theil's U; Theil 1970)."""
    whole = _entropy(np.array([labels.mean()]))[0]
    if whole == 0:
        return 0.0
    _, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
    shares = np.bincount(inverse, weights=labels) / counts
    return float(1 - (_entropy(shares) * counts).sum() / len(labels) / whole)


def _entropy(shares: Floats) -> Floats:
    inside = (shares > 0) & (shares < 1)
    result = np.zeros_like(shares)
    p = shares[inside]
    result[inside] = -(p * np.log(p) + (1 - p) * np.log(1 - p))
    return result


def _affine(numbers: Floats, labels: Floats) -> str:
    zeros, ones = np.unique(numbers[labels == 0]), np.unique(numbers[labels == 1])
    if len(zeros) == 1 and len(ones) == 1 and zeros[0] != ones[0]:
        same = (zeros[0], ones[0]) == (0.0, 1.0)
        return ": it equals it" if same else f": it is {ones[0]:g} where the label is 1 and {zeros[0]:g} where it is 0"
    return ""
