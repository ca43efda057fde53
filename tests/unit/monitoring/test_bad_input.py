"""What can be wrong with a log: each time a verdict or a clear message."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from millrace.core.errors import InvalidInput
from millrace.lake.lake import Lake
from millrace.monitoring.refresh import Refreshed, refresh
from millrace.monitoring.types import MonitorSpec
from tests.unit.monitoring.logs import SPEC, START, log_of, make_lake, reference_of

REFERENCES = {"1": reference_of(log_of(range(-50, -10)))}
DAY = timedelta(days=1)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return make_lake(tmp_path)


def run(lake: Lake, first: int, last: int, spec: MonitorSpec = SPEC) -> Refreshed:
    return refresh(lake, spec, REFERENCES, since=START + first * DAY, until=START + (last + 1) * DAY)


def statuses(found: Refreshed, kind: str) -> dict[int, str]:
    """Day to status."""
    return {(one.start - START).days: one.status for one in found.verdicts if one.kind == kind}


def with_column(rows: pa.Table, name: str, values: object) -> pa.Table:
    return rows.set_column(rows.schema.get_field_index(name), name, values)


def test_a_log_without_labels_is_judged_but_for_its_performance(lake: Lake) -> None:
    lake.overwrite(SPEC.table, log_of(range(2)).drop_columns(["actual_label"]))
    found = run(lake, 0, 1)
    assert statuses(found, "performance") == {0: "insufficient_data", 1: "insufficient_data"}
    assert statuses(found, "drift") == {0: "ok", 1: "ok"}


def test_a_column_that_vanished_is_broken(lake: Lake) -> None:
    lake.overwrite(SPEC.table, log_of([0]).drop_columns(["region"]))
    found = run(lake, 0, 0)
    (quality,) = [one for one in found.verdicts if one.kind == "quality"]
    assert (quality.status, quality.columns) == ("broken", ("region",))


def test_a_column_of_another_kind_is_broken(lake: Lake) -> None:
    rows = log_of([0])
    lake.overwrite(SPEC.table, with_column(rows, "spend", pa.array(["much"] * rows.num_rows)))
    (quality,) = [one for one in run(lake, 0, 0).verdicts if one.kind == "quality"]
    assert (quality.status, quality.columns) == ("broken", ("spend",))


def test_windows_of_nulls_are_broken(lake: Lake) -> None:
    rows = with_column(log_of([0]), "spend", pa.nulls(40, pa.float64()))
    lake.append(SPEC.table, with_column(rows, "region", pa.nulls(40, pa.string())))
    found = run(lake, 0, 0)
    assert statuses(found, "quality") == {0: "broken"}
    profile = {row["column_name"]: row for row in lake.read("metrics.predictions_profile_metrics").to_pylist()}
    assert (profile["spend"]["percent_null"], profile["spend"]["avg"]) == (100.0, None)


def test_one_row_a_day_is_too_little_to_say_anything_of(lake: Lake) -> None:
    lake.append(SPEC.table, log_of(range(5), rows=1))
    found = run(lake, 0, 4)
    for kind in ("drift", "quality", "performance"):
        assert set(statuses(found, kind).values()) == {"insufficient_data"}, kind


def test_rows_with_older_times_reopen_their_windows(lake: Lake) -> None:
    lake.append(SPEC.table, log_of([0, 5]))
    run(lake, 0, 5)
    lake.append(SPEC.table, log_of([0], shift=3.0, seed=1))
    found = run(lake, 5, 5)
    assert statuses(found, "drift")[0] == "drift"
    counts = lake.read("metrics.predictions_window_counts", columns=["rows"]).column("rows").to_pylist()
    assert sorted(counts) == [40, 80]


def test_rows_of_long_ago_and_of_the_future_cost_no_memory(lake: Lake) -> None:
    lake.append(SPEC.table, log_of([-20_000, 0, 30_000]))
    found = run(lake, 0, 0)
    assert statuses(found, "drift").keys() == {-20_000, 0}


def test_labels_that_come_twice_count_once(lake: Lake) -> None:
    lake.append(SPEC.table, log_of([0], labels=False))
    labels = log_of([0]).select(["id", "actual_label"])
    for _ in range(2):
        lake.merge(SPEC.table, labels, ["id"], unless="actual_label")
        run(lake, 0, 0)
    row = next(
        row for row in lake.read("metrics.predictions_profile_metrics").to_pylist() if row["column_name"] == ":table"
    )
    assert sum(cell["count"] for cell in row["confusion_matrix"]) == 40


def test_ten_thousand_categories_are_counted_and_sliced_with_a_warning(lake: Lake) -> None:
    rows = log_of([0], rows=10_000)
    lake.append(SPEC.table, with_column(rows, "region", pa.array([f"r{at}" for at in range(10_000)])))
    found = run(lake, 0, 6, replace(SPEC, slices=("region",)))
    assert found.notes == ["slice region: 9,950 rows have other values than the 50 that have a slice of their own"]
    assert statuses(found, "quality")[0] == "broken"
    slices = lake.read("metrics.predictions_window_counts", columns=["slice_value"]).column(0)
    assert len(set(slices.to_pylist()) - {None}) == 50


def test_a_log_that_fell_silent_stays_broken_and_a_version_that_was_replaced_does_not(lake: Lake) -> None:
    rows = [log_of(range(20)), log_of(range(20, 40), version="2")]
    lake.append(SPEC.table, pa.concat_tables(rows))
    references = dict.fromkeys("12", reference_of(log_of(range(-30, 0))))
    since, until = (START + timedelta(days=day) for day in (90, 100))
    found = refresh(lake, SPEC, references, since=since, until=until)
    silent = [one for one in found.verdicts if one.kind == "volume" and one.start >= since]
    assert [(one.model_version, one.status) for one in silent] == [("2", "broken")] * 10


def test_times_that_are_no_times_are_refused(lake: Lake) -> None:
    rows = log_of([0])
    lake.overwrite(SPEC.table, with_column(rows, "timestamp", pa.array(["noon"] * rows.num_rows)))
    with pytest.raises(InvalidInput, match="is string, not a time"):
        run(lake, 0, 0)


def test_slices_with_typos_are_refused(lake: Lake) -> None:
    with pytest.raises(InvalidInput, match="slice 'reigon' is no column") as raised:
        run(lake, 0, 0, replace(SPEC, slices=("reigon",)))
    assert "region" in raised.value.hint
    for slice_ in ("spent > 1", "sum(spend) > 2", "spend >"):
        with pytest.raises(InvalidInput, match=r"can't be computed|one value for all rows"):
            run(lake, 0, 0, replace(SPEC, slices=(slice_,)))


@pytest.mark.parametrize("slice_", ["region", "spend > 0", "spend > 0 AND region = 'north'"])
def test_a_slice_that_has_no_value_in_any_row_has_no_windows(lake: Lake, slice_: str) -> None:
    rows = log_of([1])
    for name in ("region", "spend"):
        rows = with_column(rows, name, pa.nulls(rows.num_rows, rows.schema.field(name).type))
    lake.overwrite(SPEC.table, log_of([0]))
    spec = replace(SPEC, slices=(slice_,))
    assert statuses(run(lake, 0, 0, spec), "quality") == {0: "ok"}
    lake.append(SPEC.table, rows)
    assert statuses(run(lake, 0, 1, spec), "quality") == {0: "ok", 1: "broken"}
    counts = lake.read("metrics.predictions_window_counts", columns=["window_start", "slice_value"]).to_pylist()
    sliced = {(row["window_start"] - START).days for row in counts if row["slice_value"] is not None}
    assert sliced == {0}
