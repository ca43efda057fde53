from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from millrace.core.errors import InvalidInput
from millrace.lake.lake import Lake
from millrace.monitoring.refresh import Refreshed, refresh
from millrace.monitoring.types import Metric, MonitorSpec
from tests.unit.monitoring.logs import SPEC, START, log_of, make_lake, reference_of

REFERENCES = {"1": reference_of(log_of(range(-30, -10)))}
METRICS = (
    Metric("north_spend", "avg(spend) FILTER (region = 'north')"),
    Metric("late", "count(*) FILTER (hour(timestamp) >= 3)"),
    Metric("all_rows", "count(*)"),
    Metric("late_share", "late / all_rows", "derived"),
    Metric("spend_change", "{{current_df}}.north_spend - {{ base_df }}.north_spend", "drift"),
)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return make_lake(tmp_path)


def run(lake: Lake, spec: MonitorSpec, days: int = 2) -> Refreshed:
    return refresh(lake, spec, REFERENCES, since=START, until=START + timedelta(days=days))


def rows(lake: Lake, table: str, **wanted: object) -> dict[datetime, dict[str, Any]]:
    found = lake.read(f"metrics.predictions_{table}").to_pylist()
    return {row["window_start"]: row for row in found if all(row[name] == value for name, value in wanted.items())}


def plain(day: int, region: str | None = None) -> list[dict[str, Any]]:
    return [row for row in log_of([day]).to_pylist() if region in (None, row["region"])]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_metrics_are_columns_of_the_tables(lake: Lake) -> None:
    lake.append(SPEC.table, log_of(range(2)))
    spec = replace(SPEC, metrics=METRICS, slices=("region",))
    assert run(lake, spec).notes == []
    north = [mean([row["spend"] for row in plain(day, "north")]) for day in (0, 1)]
    late = [sum(row["timestamp"].hour >= 3 for row in plain(day)) for day in (0, 1)]
    found = rows(lake, "profile_metrics", column_name=":table", slice_key=None)
    for day in (0, 1):
        row = found[START + timedelta(days=day)]
        assert row["north_spend"] == pytest.approx(north[day])
        assert (row["late"], row["all_rows"], row["late_share"]) == (late[day], 40, late[day] / 40)
    drift = rows(lake, "drift_metrics", column_name=":table", drift_type="CONSECUTIVE", slice_key=None)
    assert [row["spend_change"] for row in drift.values()] == [pytest.approx(north[1] - north[0])]
    south = rows(lake, "profile_metrics", column_name=":table", slice_value="south")[START]
    assert (south["all_rows"], south["north_spend"]) == (len(plain(0, "south")), None)


def test_a_metric_that_fails_is_told_and_stops_nothing(lake: Lake) -> None:
    lake.append(SPEC.table, log_of(range(2)))
    broken = (Metric("typo", "avg(spent)"), Metric("text", "max(region)"), Metric("lost", "nothing + 1", "derived"))
    found = run(lake, replace(SPEC, metrics=(*broken, Metric("fine", "sum(spend)"))))
    assert [note.split(":")[0] for note in found.notes] == [
        f"metric {name} can't be computed" for name in ("typo", "text", "lost")
    ]
    assert 'Referenced column "spent" not found' in found.notes[0]
    assert found.verdicts
    row = rows(lake, "profile_metrics", column_name=":table")[START]
    assert row["fine"] == pytest.approx(sum(one["spend"] for one in plain(0)))
    assert row["typo"] is None


def test_a_metric_sees_no_files(lake: Lake) -> None:
    lake.append(SPEC.table, log_of(range(1)))
    found = run(lake, replace(SPEC, metrics=(Metric("peek", "(SELECT count(*) FROM read_text('/etc/hostname'))"),)), 1)
    assert "Cannot access file" in found.notes[0]


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (("a b", "count(*)"), "can't name a metric"),
        (("x", " "), "has no SQL"),
        (("x", "count(*)", "sum"), "can't be of kind"),
    ],
)
def test_impossible_metrics_are_refused(metric: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Metric(*metric)


def test_names_of_columns_and_names_twice_are_refused(lake: Lake) -> None:
    with pytest.raises(InvalidInput, match="name of a column"):
        run(lake, replace(SPEC, metrics=(Metric("avg", "count(*)"),)))
    with pytest.raises(InvalidInput, match="same name"):
        replace(SPEC, metrics=(Metric("one", "count(*)"), Metric("one", "sum(spend)")))
