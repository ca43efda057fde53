from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.monitoring.counts.count import count_version
from millrace.monitoring.counts.window_counts import WindowCounts
from millrace.monitoring.reference.profile import ReferenceProfile
from millrace.monitoring.tables.answer_row import table_row
from millrace.monitoring.tables.compare import baseline_counts, baseline_row, compare, deltas
from millrace.monitoring.tables.statistics import Row, column_row
from millrace.monitoring.types import MonitorSpec

SPEC = MonitorSpec("logs.p", "metrics")
VALUES = [4.0, 0.0, None, 1.0, 1.0, float("nan"), 10.0, 0.5]


def counted(rows: pa.Table, reference: ReferenceProfile) -> WindowCounts:
    (window,) = count_version(rows, np.zeros(rows.num_rows, dtype=np.int64), SPEC, reference)
    return window


def statistics_of(values: Any, reference: Any) -> Row:
    """A column's row, where the reference has these values."""
    profile = ReferenceProfile.build(pa.table({"x": reference}))
    return column_row(counted(pa.table({"x": values}), profile), "x", profile.columns[0])


def test_a_number_s_row_is_what_plain_python_counts() -> None:
    row = statistics_of(VALUES, [4.0, 0.0, 1.0, 10.0, 0.5])
    known = sorted([4.0, 0.0, 1.0, 1.0, 10.0, 0.5])
    assert {name: row[name] for name in ("count", "num_nulls", "num_nan", "num_zeros", "distinct_count")} == {
        "count": 7,
        "num_nulls": 1,
        "num_nan": 1,
        "num_zeros": 1,
        "distinct_count": 5,
    }
    assert (row["percent_null"], row["percent_zeros"], row["percent_distinct"]) == (12.5, 12.5, 62.5)
    assert row["avg"] == pytest.approx(statistics.fmean(known))
    assert row["stddev"] == pytest.approx(statistics.stdev(known))
    assert (row["min"], row["max"]) == (0.0, 10.0)
    quantiles = row["quantiles"]
    assert isinstance(quantiles, list)
    assert (len(quantiles), quantiles[0], quantiles[20], quantiles[10]) == (21, 0.0, 10.0, row["median"])


@given(st.lists(st.floats(-100, 100), min_size=60, max_size=200))
@settings(max_examples=40, deadline=None)
def test_quantiles_have_their_share_of_the_values_below_them(values: list[float]) -> None:
    quantiles = statistics_of(values, values)["quantiles"]
    assert isinstance(quantiles, list)
    ordered, n = sorted(values), len(values)
    for at, value in enumerate(quantiles):
        # Each value has a cell of its own here, so a quantile lies between the values on both sides of its rank.
        rank = at / 20 * n
        low, high = ordered[max(math.ceil(rank) - 2, 0)], ordered[min(math.ceil(rank), n - 1)]
        assert low - 1e-9 <= value <= high + 1e-9


def test_a_text_s_row_is_what_plain_python_counts() -> None:
    row = statistics_of(["north", "north", None, "east", "at"], ["north", "east", "at"])
    assert row["frequent_items"] == [
        {"item": "north", "count": 2},
        {"item": "at", "count": 1},
        {"item": "east", "count": 1},
    ]
    assert (row["distinct_count"], row["percent_distinct"], row["count"]) == (3, 60.0, 4)
    assert (row["min_length"], row["max_length"], row["avg_length"]) == (2, 5, 4.0)


@pytest.mark.parametrize("values", [[None, None], [float("nan")]])
def test_a_column_without_values_has_no_statistics(values: list[float | None]) -> None:
    row = statistics_of(pa.array(values, pa.float64()), [1.0, 2.0])
    assert "avg" not in row
    assert row["distinct_count"] == 0


def answers(labels: Sequence[int | None]) -> pa.Table:
    return pa.table(
        {
            "actual_label": pa.array(labels, pa.int64()),
            "prediction": [1.0, 1.0, 0.0, 1.0, 0.0],
            "probability": [0.9, 0.6, 0.2, 0.7, 0.4],
        }
    )


def quality(rows: pa.Table, reference: pa.Table) -> Row:
    profile = ReferenceProfile.build(
        pa.table({"x": [0.0] * reference.num_rows}),
        reference["probability"] if "probability" in reference.column_names else None,
        reference["actual_label"],
        predictions=reference["prediction"],
    )
    return table_row(counted(rows, profile), [])


def test_the_table_s_row_has_the_quality_of_the_answers() -> None:
    row = quality(answers([1, 0, 0, 1, None]), answers([1, 1, 0, 1, 0]))
    assert row["count"] == 5
    assert row["accuracy_score"] == 0.75
    assert row["confusion_matrix"] == [
        {"prediction": "0", "label": "0", "count": 1},
        {"prediction": "1", "label": "0", "count": 1},
        {"prediction": "1", "label": "1", "count": 2},
    ]
    assert row["precision"] == {
        "one_vs_all": [("0", 1.0), ("1", pytest.approx(2 / 3))],
        "macro": pytest.approx(5 / 6),
        "weighted": pytest.approx(5 / 6),
    }
    assert row["recall"] == {"one_vs_all": [("0", 0.5), ("1", 1.0)], "macro": 0.75, "weighted": 0.75}
    assert row["log_loss"] == pytest.approx(-statistics.fmean(map(math.log, [0.9, 0.4, 0.8, 0.7])))
    assert row["roc_auc_score"] == 1.0


def test_the_quality_is_null_without_labels_and_the_auc_with_one_class() -> None:
    reference = answers([1, 1, 0, 1, 0])
    assert quality(answers([None] * 5), reference) == {"count": 5, "non_null_columns": []}
    row = quality(answers([1, 1, None, None, None]), reference)
    assert (row["accuracy_score"], row["roc_auc_score"]) == (1.0, None)


def test_text_labels_are_compared_as_text() -> None:
    rows = pa.table({"actual_label": ["yes", "no"], "prediction": ["yes", "yes"]})
    assert quality(rows, rows)["accuracy_score"] == 0.5


def test_a_regression_has_its_errors() -> None:
    rows = pa.table({"actual_label": [1.0, 2.0, 4.0, None], "prediction": [1.5, 2.0, 3.0, 9.0]})
    row = quality(rows, rows)
    errors, labels = [0.5, 0.0, -1.0], [1.0, 2.0, 4.0]
    squared = statistics.fmean(e * e for e in errors)
    assert row["mean_squared_error"] == pytest.approx(squared)
    assert row["root_mean_squared_error"] == pytest.approx(math.sqrt(squared))
    assert row["mean_average_error"] == pytest.approx(0.5)
    assert row["mean_absolute_percentage_error"] == pytest.approx(statistics.fmean([0.5, 0.0, 0.25]))
    assert row["r2_score"] == pytest.approx(1 - squared / statistics.pvariance(labels))
    assert "accuracy_score" not in row


def test_distances_of_a_number_are_those_of_its_cells() -> None:
    profile = ReferenceProfile.build(pa.table({"x": [0.0] * 50 + [1.0] * 50})).columns[0]
    now = profile.cells_of(pa.array([0.0] * 20 + [1.0] * 80))
    counts = np.bincount(now + 1, minlength=len(profile.counts) + 1)
    row = compare(profile, baseline_counts(profile), counts)
    assert row["ks_test"] == {"statistic": pytest.approx(0.3), "pvalue": pytest.approx(0.000246, rel=0.02)}
    assert row["population_stability_index"] == pytest.approx(0.3 * math.log(0.8 / 0.5) - 0.3 * math.log(0.2 / 0.5))
    assert (row["count_delta"], row["percent_null_delta"]) == (0, 0.0)
    assert "tv_distance" not in row


def test_distances_of_a_text_are_those_of_its_categories() -> None:
    profile = ReferenceProfile.build(pa.table({"t": ["a"] * 60 + ["b"] * 40})).columns[0]
    row = compare(profile, baseline_counts(profile), np.array([10, 30, 60, 0]))
    assert (row["tv_distance"], row["l_infinity_distance"]) == (pytest.approx(4 / 15), pytest.approx(4 / 15))
    assert row["percent_null_delta"] == 10.0
    assert "ks_test" not in row


def test_a_side_without_values_has_no_distance() -> None:
    profile = ReferenceProfile.build(pa.table({"t": ["a", "b"]})).columns[0]
    row = compare(profile, baseline_counts(profile), np.array([5, 0, 0, 0]))
    assert row == {"count_delta": 3, "percent_null_delta": 100.0}


def test_deltas_are_now_less_before() -> None:
    profile = ReferenceProfile.build(pa.table({"x": [0.0, 2.0, 4.0, 6.0]})).columns[0]
    now = statistics_of([0.0, 0.0, 8.0, 8.0], [0.0, 2.0, 4.0, 6.0])
    assert deltas(baseline_row(profile), now) == {
        "avg_delta": 1.0,
        "percent_zeros_delta": 25.0,
        "percent_distinct_delta": -50.0,
    }
    assert deltas({}, now) == {"avg_delta": None, "percent_zeros_delta": None, "percent_distinct_delta": None}
