"""Rows of the profile table: what each column looked like in one window, and how good the answers were."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.monitoring.reference.cells import Floats, as_numbers, as_text
from millrace.monitoring.reference.column import ColumnProfile
from millrace.monitoring.reference.losses import comparable
from millrace.monitoring.types import MonitorSpec
from millrace.statistics.metrics import METRICS

Row = dict[str, object]
_QUANTILES = np.linspace(0.0, 1.0, 21)
_FREQUENT = 10


def column_row(column: Any, profile: ColumnProfile) -> Row:
    """Statistics of one column in one window. `count` is of values that are not null; shares are percent of all rows."""
    rows, nulls = len(column), column.null_count
    row: Row = {"count": rows - nulls, "num_nulls": nulls, "percent_null": _percent(nulls, rows)}
    if profile.kind == "text":
        return row | _text(as_text(column), rows)
    return row | _numeric(as_numbers(column, profile.name), rows, nulls)


def table_row(rows: pa.Table, spec: MonitorSpec) -> Row:
    """The `:table` row: which columns had values, and the quality of the answers whose labels are known (null without labels)."""
    named = [name for name in rows.column_names if rows.column(name).null_count < rows.num_rows]
    row: Row = {"count": rows.num_rows, "non_null_columns": sorted(named)}
    if not {spec.label_col, spec.prediction_col} <= set(rows.column_names):
        return row
    labels, predictions = rows.column(spec.label_col), rows.column(spec.prediction_col)
    known = pc.and_(labels.is_valid(), predictions.is_valid())
    if not pc.any(known).as_py():
        return row
    row |= _answers(labels.filter(known), predictions.filter(known))
    if spec.proba_col in rows.column_names:
        row |= _probabilities(labels.filter(known), rows.column(spec.proba_col).filter(known))
    return row


def _numeric(values: Floats, rows: int, nulls: int) -> Row:
    nans = int(np.isnan(values).sum()) - nulls
    # Sorted, so that sums come out the same whatever order the rows were read in.
    finite = np.sort(values[np.isfinite(values)])
    zeros, distinct = int((finite == 0).sum()), len(np.unique(finite))
    row: Row = {
        "num_nan": nans,
        "percent_nan": _percent(nans, rows),
        "num_zeros": zeros,
        "percent_zeros": _percent(zeros, rows),
        "distinct_count": distinct,
        "percent_distinct": _percent(distinct, rows),
    }
    if len(finite):
        row |= {"avg": float(finite.mean()), "stddev": float(finite.std(ddof=1)) if len(finite) > 1 else None}
        row |= {"min": float(finite[0]), "max": float(finite[-1]), "median": float(np.median(finite))}
        row |= {"quantiles": np.quantile(finite, _QUANTILES).tolist()}
    return row


def _text(column: Any, rows: int) -> Row:
    counted = Counter(value for value in column.to_pylist() if value is not None)
    frequent = sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:_FREQUENT]
    lengths = [len(value) for value in counted.elements()]
    row: Row = {
        "distinct_count": len(counted),
        "percent_distinct": _percent(len(counted), rows),
        "frequent_items": [{"item": item, "count": count} for item, count in frequent],
    }
    if lengths:
        row |= {"min_length": min(lengths), "max_length": max(lengths), "avg_length": sum(lengths) / len(lengths)}
    return row


def _answers(labels: Any, predictions: Any) -> Row:
    """Accuracy, the confusion matrix, and precision, recall and F1 by class, macro and weighted by the class's rows."""
    pairs = Counter(zip(_names(predictions), _names(labels), strict=True))
    total = sum(pairs.values())
    right = sum(count for (said, true), count in pairs.items() if said == true)
    matrix = [{"prediction": s, "label": t, "count": count} for (s, t), count in sorted(pairs.items())]
    return {"accuracy_score": right / total, "confusion_matrix": matrix} | _by_class(pairs)


def _by_class(pairs: Counter[tuple[str, str]]) -> Row:
    classes = sorted({name for pair in pairs for name in pair})
    said = {one: sum(count for (s, _), count in pairs.items() if s == one) for one in classes}
    true = {one: sum(count for (_, t), count in pairs.items() if t == one) for one in classes}
    precision = {one: _ratio(pairs[one, one], said[one]) for one in classes}
    recall = {one: _ratio(pairs[one, one], true[one]) for one in classes}
    f1 = {one: _ratio(2 * pairs[one, one], said[one] + true[one]) for one in classes}
    return {
        name: {
            "one_vs_all": sorted(values.items()),
            "macro": sum(values.values()) / len(classes),
            "weighted": sum(values[one] * true[one] for one in classes) / sum(true.values()),
        }
        for name, values in (("precision", precision), ("recall", recall), ("f1_score", f1))
    }


def _probabilities(labels: Any, probabilities: Any) -> Row:
    """Log-loss and ROC AUC of 0/1 labels; the AUC is null where only one class has come."""
    known = probabilities.is_valid()
    truth, p = (as_numbers(one.filter(known), "labels") for one in (labels, probabilities))
    keep = np.isin(truth, (0.0, 1.0)) & (p >= 0) & (p <= 1)
    truth, p = truth[keep], p[keep]
    if not len(truth):
        return {}
    order = np.lexsort((p, truth))
    both = bool(truth.min() < truth.max())
    return {
        "log_loss": METRICS["log_loss"](truth[order], p[order]),
        "roc_auc_score": METRICS["roc_auc"](truth[order], p[order]) if both else None,
    }


def _names(column: Any) -> list[str]:
    return [f"{value:g}" if isinstance(value, float) else str(value) for value in comparable(column).tolist()]


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _percent(part: int, whole: int) -> float:
    return 100.0 * part / whole if whole else 0.0
