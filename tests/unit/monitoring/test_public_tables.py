"""Rows of several granularities and slices, as plain Python counts them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from millrace.lake.lake import Lake
from millrace.monitoring.known import KnownMonitor, find_monitor, monitors, remember
from millrace.monitoring.refresh import refresh
from millrace.monitoring.types import Metric
from tests.unit.monitoring.logs import SPEC, START, log_of, make_lake, reference_of

REFERENCES = {"1": reference_of(log_of(range(-50, -10)))}
WIDE = replace(SPEC, granularities=("1 hour", "1 month"), slices=("spend > 0",))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return make_lake(tmp_path)


def rows_of(lake: Lake, table: str, **wanted: object) -> list[dict[str, Any]]:
    found = lake.read(f"metrics.predictions_{table}").to_pylist()
    chosen = [row for row in found if all(row[name] == value for name, value in wanted.items())]
    return sorted(chosen, key=lambda row: row["window_start"])


def run(lake: Lake, days: int) -> None:
    refresh(lake, WIDE, REFERENCES, since=START, until=START + timedelta(days=days))


def test_longer_windows_and_slices_are_those_of_their_rows(lake: Lake) -> None:
    days = [30, 31]  # the last of March and the first of April
    for day in days:
        lake.append(SPEC.table, log_of([day]))
        run(lake, day + 1)
    plain = log_of(days).to_pylist()
    for granularity, keys in (
        ("1 hour", lambda at: (at.date(), at.hour)),
        ("1 day", lambda at: at.date()),
        ("1 month", lambda at: at.month),
    ):
        found = rows_of(lake, "profile_metrics", granularity=granularity, column_name="spend", slice_key=None)
        groups: dict[Any, list[float]] = {}
        for row in plain:
            groups.setdefault(keys(row["timestamp"]), []).append(row["spend"])
        assert [row["count"] for row in found] == [len(values) for values in groups.values()]
        assert [row["avg"] for row in found] == [pytest.approx(sum(v) / len(v)) for v in groups.values()]
        assert [row["max"] for row in found] == [max(v) for v in groups.values()]
    march = rows_of(lake, "profile_metrics", granularity="1 month", column_name="spend", slice_value="true")[0]
    assert march["count"] == sum(row["spend"] > 0 for row in plain[:40])
    assert (march["window"]["start"].month, march["window"]["end"].month) == (3, 4)


def test_slices_are_compared_with_themselves_and_have_fairness(lake: Lake) -> None:
    lake.append(SPEC.table, log_of(range(2)))
    run(lake, 2)
    drift = rows_of(lake, "drift_metrics", granularity="1 day", slice_value="true", column_name="region")
    assert [row["drift_type"] for row in drift] == ["CONSECUTIVE"]
    row = rows_of(lake, "profile_metrics", granularity="1 day", slice_value="true", column_name=":table")[0]
    rows = log_of([0]).to_pylist()
    said = [[r["prediction"] for r in rows if (r["spend"] > 0) is side] for side in (True, False)]
    parity = sum(said[0]) / len(said[0]) - sum(said[1]) / len(said[1])
    assert dict(row["statistical_parity"])["1"] == pytest.approx(parity)
    others = rows_of(lake, "profile_metrics", granularity="1 day", slice_value="false", column_name=":table")
    assert [row["statistical_parity"] for row in others] == [None, None]


def test_the_label_has_drift_rows_once_labels_came(lake: Lake) -> None:
    lake.append(SPEC.table, log_of([0], labels=False))
    run(lake, 1)
    (row,) = rows_of(lake, "drift_metrics", granularity="1 day", column_name="actual_label", slice_key=None)
    assert row["tv_distance"] is None
    lake.merge(SPEC.table, log_of([0]).select(["id", "actual_label"]), ["id"])
    run(lake, 1)
    (row,) = rows_of(lake, "drift_metrics", granularity="1 day", column_name="actual_label", slice_key=None)
    share, reference = (
        sum(rows["actual_label"].to_pylist()) / rows.num_rows for rows in (log_of([0]), log_of(range(-50, -10)))
    )
    assert row["tv_distance"] == pytest.approx(abs(share - reference))


def test_a_window_that_lost_its_rows_has_none_in_the_tables(lake: Lake) -> None:
    lake.append(SPEC.table, log_of([0]))
    lake.append(SPEC.table, log_of([1]))
    run(lake, 2)
    lake.delete(SPEC.table, "id LIKE '1-0-%'")
    run(lake, 2)
    for table in ("profile_metrics", "drift_metrics"):
        found = rows_of(lake, table, granularity="1 day")
        assert {row["window_start"] for row in found} == {START + timedelta(days=1)}
        assert {row.get("drift_type") for row in found if row["slice_key"] is None} <= {None, "BASELINE"}


def test_monitors_are_found_by_their_names(lake: Lake) -> None:
    spec = replace(WIDE, metrics=(Metric("rows", "count(*)"),), feature_cols=("spend",))
    monitor = KnownMonitor("churn", spec, model="ml.models.churn")
    remember(lake, monitor)
    assert list(monitors(lake)) == [monitor]
    assert find_monitor(lake, "churn") == find_monitor(lake, SPEC.table) == monitor
    updated = lake.entry("metrics.predictions_window_counts").updated_at
    remember(lake, monitor)
    assert lake.entry("metrics.predictions_window_counts").updated_at == updated
    assert pa.types.is_string(lake.schema("metrics.predictions_window_counts").field("model_version").type)
