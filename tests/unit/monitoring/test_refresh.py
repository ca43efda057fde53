from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from millrace.core.errors import InvalidInput, NotFound
from millrace.lake.adapters.delta import DeltaTableStore
from millrace.lake.lake import Lake
from millrace.lake.types import CommitInfo, Location, Version
from millrace.monitoring.reference.profile import ReferenceProfile
from millrace.monitoring.refresh import refresh
from millrace.monitoring.tables.verdict_table import read_verdicts
from millrace.monitoring.types import MonitorSpec, WindowVerdict
from tests.unit.monitoring import logs
from tests.unit.monitoring.logs import SPEC, START, log_of, reference_of

TABLES = [f"metrics.predictions_{kind}" for kind in ("profile_metrics", "drift_metrics", "drift_summary", "verdicts")]
KEYS = ("window_start", "model_version", "column_name", "drift_type", "kind")
# What a reader sees; which commit wrote a row is not part of it.
COMMITS = ("logging_table_commit_version",)


REFERENCE = {"1": reference_of(log_of(range(-50, -10)))}


@pytest.fixture
def make_lake(tmp_path: Path) -> Callable[[], Lake]:
    numbers = iter(range(100))

    def make() -> Lake:
        return logs.make_lake(tmp_path / str(next(numbers)))

    return make


def run(
    lake: Lake, first: int, last: int, references: dict[str, ReferenceProfile] | None = None
) -> list[WindowVerdict]:
    """Refresh the windows of days first to last, both included."""
    since, until = START + timedelta(days=first), START + timedelta(days=last + 1)
    return list(refresh(lake, SPEC, references or REFERENCE, since=since, until=until).verdicts)


def rounded(value: Any) -> Any:
    """Sums of floats depend on which rows were added first, in their last digits."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, list) else value


def contents(lake: Lake) -> list[list[dict[str, Any]]]:
    """All metric tables, in order."""
    found = []
    for name in TABLES:
        rows = [{k: rounded(v) for k, v in row.items() if k not in COMMITS} for row in lake.read(name).to_pylist()]
        found.append(sorted(rows, key=lambda row: [str(row.get(key)) for key in KEYS]))
    return found


def versions(lake: Lake) -> list[int]:
    return [int(lake.pin(name).version) for name in TABLES]


def test_day_by_day_is_the_same_as_all_at_once(make_lake: Callable[[], Lake]) -> None:
    daily, at_once = make_lake(), make_lake()
    log = [log_of([day], shift=2.5 if day >= 3 else 0.0) for day in range(6)]
    verdicts = []
    for day, rows in enumerate(log):
        daily.append(SPEC.table, rows)
        verdicts += run(daily, day, day)
    at_once.append(SPEC.table, pa.concat_tables(log))
    assert run(at_once, 0, 5) == verdicts
    assert contents(at_once) == contents(daily)
    assert versions(daily) == [6, 6, 6, 6]  # one commit per table and refresh
    assert [verdict.status for verdict in verdicts if verdict.kind == "drift"] == ["ok"] * 3 + ["drift"] * 3
    assert read_verdicts(daily, SPEC, since=START, until=START + timedelta(days=6)) == verdicts


def test_doing_it_again_changes_nothing(make_lake: Callable[[], Lake]) -> None:
    lake = make_lake()
    lake.append(SPEC.table, log_of(range(3)))
    verdicts = run(lake, 0, 2)
    before = versions(lake)
    assert run(lake, 0, 2) == verdicts
    assert run(lake, 1, 2) == [verdict for verdict in verdicts if verdict.start >= START + timedelta(days=1)]
    assert versions(lake) == before


def test_a_window_that_goes_on_is_replaced_with_its_neighbour_s_comparison(make_lake: Callable[[], Lake]) -> None:
    lake, whole = make_lake(), make_lake()
    day = log_of([1])
    lake.append(SPEC.table, pa.concat_tables([log_of([0]), day.slice(0, 15), log_of([2])]))
    run(lake, 0, 2)
    lake.append(SPEC.table, day.slice(15))
    run(lake, 0, 2)
    whole.append(SPEC.table, pa.concat_tables([log_of([0]), day, log_of([2])]))
    run(whole, 0, 2)
    assert contents(lake) == contents(whole)


def test_late_labels_bring_old_windows_performance(make_lake: Callable[[], Lake]) -> None:
    lake, known = make_lake(), make_lake()
    lake.append(SPEC.table, log_of(range(4), labels=False))
    verdicts = run(lake, 0, 3)
    assert {one.status for one in verdicts if one.kind == "performance"} == {"insufficient_data"}
    labels = log_of([0, 1]).select(["id", "actual_label"])
    lake.merge(SPEC.table, labels, ["id"])
    before = versions(lake)
    found = run(lake, 0, 3)
    judged = [one.start for one in found if one.kind == "performance" and one.status == "ok"]
    assert judged == [START, START + timedelta(days=1)]
    assert versions(lake) == [version + 1 for version in before]
    drift = [row for row in contents(lake)[1] if row["window_start"] == START and row["column_name"] == "actual_label"]
    assert [row["count_delta"] for row in drift] == [40 - 1600]
    known.append(SPEC.table, pa.concat_tables([log_of([0, 1]), log_of([2, 3], labels=False)]))
    assert run(known, 0, 3) == found
    assert contents(known) == contents(lake)


class BreaksOff(DeltaTableStore):
    """A store whose process dies at the n-th write."""

    def __init__(self, writes: int) -> None:
        super().__init__()
        self.left = writes

    def append(self, location: Location, rows: pa.Table, commit: CommitInfo) -> Version:
        self._count()
        return super().append(location, rows, commit)

    def overwrite(self, location: Location, rows: pa.Table, commit: CommitInfo, where: str | None = None) -> Version:
        self._count()
        return super().overwrite(location, rows, commit, where)

    def _count(self) -> None:
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1


@pytest.mark.parametrize("writes", range(5))
def test_a_refresh_that_broke_off_is_completed_by_the_next(make_lake: Callable[[], Lake], writes: int) -> None:
    lake, whole = make_lake(), make_lake()
    for one in (lake, whole):
        one.append(SPEC.table, log_of(range(2)))
        run(one, 0, 1)
        one.append(SPEC.table, log_of([2]))
    with pytest.raises(KeyboardInterrupt):
        run(replace(lake, store=BreaksOff(writes)), 2, 2)
    assert run(lake, 2, 2) == run(whole, 2, 2)
    assert contents(lake) == contents(whole)


def test_versions_are_judged_apart_and_unknown_ones_left_out(make_lake: Callable[[], Lake]) -> None:
    lake = make_lake()
    lake.append(
        SPEC.table, pa.concat_tables([log_of([0]), log_of([0], version="2", shift=2.0), log_of([0], version="3")])
    )
    found = run(lake, 0, 0, {"1": REFERENCE["1"], "2": REFERENCE["1"]})
    assert [(v.model_version, v.status) for v in found if v.kind == "drift"] == [("1", "ok"), ("2", "drift")]
    since, until = START, START + timedelta(days=1)
    assert {v.model_version for v in read_verdicts(lake, SPEC, since=since, until=until, model_version="2")} == {"2"}


def test_a_new_reference_counts_its_windows_anew(make_lake: Callable[[], Lake]) -> None:
    lake = make_lake()
    lake.append(SPEC.table, log_of(range(2), shift=2.5))
    assert [v.status for v in run(lake, 0, 1) if v.kind == "drift"] == ["drift", "drift"]
    moved = reference_of(log_of(range(20, 60), shift=2.5))
    assert [v.status for v in run(lake, 0, 1, {"1": moved}) if v.kind == "drift"] == ["ok", "ok"]
    assert lake.rows(TABLES[2]) == 2


def test_the_tables_have_the_public_columns(make_lake: Callable[[], Lake]) -> None:
    lake = make_lake()
    lake.append(SPEC.table, log_of(range(2)))
    run(lake, 0, 1)
    profile, drift, summary, verdicts = (lake.schema(name).names for name in TABLES)
    assert profile[:10] == [
        "window",
        "log_type",
        "logging_table_commit_version",
        "monitor_version",
        "granularity",
        "model_version",
        "slice_key",
        "slice_value",
        "column_name",
        "count",
    ]
    assert {"ks_test", "js_distance", "tv_distance", "l_infinity_distance", "chi_squared_test"} <= set(drift)
    assert {"wasserstein_distance", "population_stability_index", "window_cmp", "drift_type"} <= set(drift)
    assert {"date", "model_version", "drift_score", "drifted_columns", "status", "reason"} <= set(summary)
    profile_rows, drift_rows, summary_rows, verdict_rows = contents(lake)
    assert {row["kind"] for row in verdict_rows} >= {"drift", "performance"}
    assert {"kind", "status", "severity", "score", "columns", "reason", "figures"} <= set(verdicts)
    columns = {":table", "spend", "region", "probability", "prediction"}
    assert {row["column_name"] for row in profile_rows} == columns
    assert len(profile_rows) == 10
    kinds = [(row["window"]["start"].day, row["drift_type"]) for row in drift_rows if row["column_name"] == "spend"]
    assert sorted(kinds) == [(1, "BASELINE"), (2, "BASELINE"), (2, "CONSECUTIVE")]
    assert [row["date"] for row in summary_rows] == [START.date(), START.date() + timedelta(days=1)]
    whole = next(row for row in profile_rows if row["column_name"] == ":table")
    assert whole["accuracy_score"] is not None
    assert lake.entry(TABLES[0]).definition.role == "metrics"


def test_a_watched_column_that_the_log_lacks_is_missing_everywhere(make_lake: Callable[[], Lake]) -> None:
    lake = make_lake()
    lake.overwrite(SPEC.table, log_of([0]).drop_columns(["region"]))
    told = {verdict.kind: verdict for verdict in run(lake, 0, 0)}
    assert told["drift"].status == "ok"
    assert (told["quality"].status, told["quality"].columns, told["quality"].severity) == (
        "broken",
        ("region",),
        "critical",
    )
    assert told["quality"].reason == (
        "region: 100.0% logged without the column, or with values that can't be read as it, over 1 day (n=40)"
    )


def test_only_the_columns_asked_for_are_watched(make_lake: Callable[[], Lake]) -> None:
    lake = make_lake()
    lake.append(SPEC.table, log_of([0]))
    spec = replace(SPEC, feature_cols=("region",))
    refresh(lake, spec, REFERENCE, since=START, until=START + timedelta(days=1))
    watched = {row["column_name"] for row in lake.read(TABLES[0]).to_pylist()}
    assert watched == {":table", "region", "probability", "prediction"}


def test_a_period_without_rows_writes_nothing(make_lake: Callable[[], Lake]) -> None:
    lake = make_lake()
    assert run(lake, 0, 5) == []
    assert [lake.rows(name) for name in TABLES] == [0, 0, 0, 0]
    assert read_verdicts(lake, SPEC, since=START, until=START + timedelta(days=5)) == []


def test_impossible_requests_are_refused(make_lake: Callable[[], Lake]) -> None:
    lake = make_lake()
    with pytest.raises(InvalidInput, match="period to refresh is empty"):
        refresh(lake, SPEC, REFERENCE, since=START, until=START)
    with pytest.raises(InvalidInput, match="no column 'time'") as raised:
        refresh(lake, replace(SPEC, timestamp_col="time"), REFERENCE, since=START, until=START + timedelta(days=1))
    assert "timestamp" in raised.value.hint
    with pytest.raises(NotFound):
        refresh(lake, MonitorSpec("logs.none", "metrics"), REFERENCE, since=START, until=START + timedelta(days=1))
