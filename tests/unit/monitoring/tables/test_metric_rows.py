from __future__ import annotations

import math
import statistics

import numpy as np
import pyarrow as pa
import pytest

from millrace.monitoring.reference.profile import ReferenceProfile
from millrace.monitoring.tables.compare import baseline_counts, baseline_row, compare, deltas
from millrace.monitoring.tables.statistics import column_row, table_row
from millrace.monitoring.types import MonitorSpec

SPEC = MonitorSpec("logs.p", "metrics")
VALUES = [4.0, 0.0, None, 1.0, 1.0, float("nan"), 10.0, 0.5]


def test_a_number_s_row_is_what_plain_python_counts() -> None:
    profile = ReferenceProfile.build(pa.table({"x": [1.0, 2.0]})).columns[0]
    row = column_row(pa.chunked_array([VALUES]), profile)
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
    assert (row["min"], row["max"], row["median"]) == (0.0, 10.0, 1.0)
    quantiles = row["quantiles"]
    assert isinstance(quantiles, list)
    assert (len(quantiles), quantiles[0], quantiles[10], quantiles[20]) == (21, 0.0, 1.0, 10.0)


def test_a_text_s_row_is_what_plain_python_counts() -> None:
    profile = ReferenceProfile.build(pa.table({"t": ["north"]})).columns[0]
    row = column_row(pa.chunked_array([["north", "north", None, "east", "at"]]), profile)
    assert row["frequent_items"] == [
        {"item": "north", "count": 2},
        {"item": "at", "count": 1},
        {"item": "east", "count": 1},
    ]
    assert (row["distinct_count"], row["percent_distinct"], row["count"]) == (3, 60.0, 4)
    assert (row["min_length"], row["max_length"], row["avg_length"]) == (2, 5, 4.0)


@pytest.mark.parametrize("values", [[None, None], [float("nan")]])
def test_a_column_without_values_has_no_statistics(values: list[float | None]) -> None:
    profile = ReferenceProfile.build(pa.table({"x": [1.0, 2.0]})).columns[0]
    row = column_row(pa.chunked_array([pa.array(values, pa.float64())]), profile)
    assert "avg" not in row
    assert row["distinct_count"] == 0


def answers(labels: list[int | None]) -> pa.Table:
    return pa.table(
        {
            "actual_label": pa.array(labels, pa.int64()),
            "prediction": [1.0, 1.0, 0.0, 1.0, 0.0],
            "probability": [0.9, 0.6, 0.2, 0.7, 0.4],
        }
    )


def test_the_table_s_row_has_the_quality_of_the_answers() -> None:
    row = table_row(answers([1, 0, 0, 1, None]), SPEC)
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
    assert "accuracy_score" not in table_row(answers([None] * 5), SPEC)
    row = table_row(answers([1, 1, None, None, None]), SPEC)
    assert (row["accuracy_score"], row["roc_auc_score"]) == (1.0, None)
    assert table_row(pa.table({"x": [1.0, 2.0]}), SPEC) == {"count": 2, "non_null_columns": ["x"]}


def test_text_labels_are_compared_as_text() -> None:
    rows = pa.table({"actual_label": ["yes", "no"], "prediction": ["yes", "yes"]})
    assert table_row(rows, SPEC)["accuracy_score"] == 0.5


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
    now = column_row(pa.chunked_array([[0.0, 0.0, 8.0, 8.0]]), profile)
    assert deltas(baseline_row(profile), now) == {
        "avg_delta": 1.0,
        "percent_zeros_delta": 25.0,
        "percent_distinct_delta": -50.0,
    }
    assert deltas({}, now) == {"avg_delta": None, "percent_zeros_delta": None, "percent_distinct_delta": None}
