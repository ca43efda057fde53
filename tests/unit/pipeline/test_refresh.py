from __future__ import annotations

from collections import deque
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

import millrace as mr
from millrace.core.errors import InvalidInput
from millrace.core.names import TableName
from millrace.pipeline.context import Pins
from millrace.pipeline.declare import FeatureTable, LabelTable
from millrace.pipeline.execute import run_pipeline
from millrace.pipeline.plan import Request
from millrace.pipeline.snapshots import pin_sources
from millrace.pipeline.stages.refresh import RefreshSnapshots
from millrace.pipeline.stages.stage import Outcome
from millrace.pipeline.training_parts import assemble
from millrace.workspace import Workspace
from tests.unit.pipeline.conftest import Fill
from tests.unit.pipeline.shop import (
    DAY,
    FEATURES,
    LABELS,
    PURCHASES,
    SOURCE,
    START,
    WEEK,
    Told,
    context,
    declared,
    features,
    features_at,
    labels,
    labels_at,
    no_target,
    purchases,
    sorted_rows,
)

US = timedelta(microseconds=1)
DAYS = mr.Source("bronze.days", event_time="day")
EARLY = mr.Source("bronze.early", event_time="at")
REGIONS = mr.Source("bronze.regions", history="none")
ROWS = [(1, START - DAY, 1.0), (2, START + DAY, 2.0), (1, START + 2 * WEEK, 4.0)]


def stage(
    workspace: Workspace, due: datetime, table: FeatureTable | LabelTable = features, **options: Any
) -> RefreshSnapshots:
    return RefreshSnapshots(table, due, pin_sources(workspace, table, None, {}), **options)


def run(workspace: Workspace, due: datetime, table: FeatureTable | LabelTable = features, **options: Any) -> Outcome:
    return stage(workspace, due, table, **options).run(context(workspace, declared(), due))


def stored(workspace: Workspace) -> list[dict[str, object]]:
    return sorted_rows(workspace.lake.read(FEATURES), "feature_time")


def expected(rows: list[tuple[int, datetime, float]], count: int) -> list[dict[str, object]]:
    return [row for n in range(count) for row in features_at(rows, START + n * WEEK)]


def test_a_table_is_expected_to_be_as_fresh_as_its_grid(workspace: Workspace, fill: Fill) -> None:
    fill(PURCHASES, purchases(ROWS))
    run(workspace, START)
    assert workspace.lake.entry(FEATURES).definition.freshness == 2 * WEEK
    run(workspace, START, replace(features, name="ml.features.hourly", freshness=DAY))
    assert workspace.lake.entry("ml.features.hourly").definition.freshness == DAY
    with pytest.raises(InvalidInput, match="freshness"):
        replace(features, freshness=timedelta(0))


def test_only_the_missing_snapshots_are_made(workspace: Workspace, fill: Fill) -> None:
    fill(PURCHASES, purchases(ROWS))
    assert run(workspace, START + DAY).output["snapshots"] == 1
    again = run(workspace, START + 2 * WEEK)
    assert (again.output["snapshots"], again.detail) == (2, "2 snapshots, 4 rows")
    assert stored(workspace) == expected(ROWS, 3)
    version = workspace.lake.pin(FEATURES).version
    assert run(workspace, START + 3 * WEEK - US).output["snapshots"] == 0
    assert workspace.lake.pin(FEATURES).version == version


def test_an_earlier_due_time_takes_nothing_back(workspace: Workspace, fill: Fill) -> None:
    fill(PURCHASES, purchases(ROWS))
    run(workspace, START + 2 * WEEK)
    assert run(workspace, START + WEEK).output["snapshots"] == 0
    assert run(workspace, START + 2 * WEEK).output["snapshots"] == 0
    assert stored(workspace) == expected(ROWS, 3)


def test_labels_wait_for_their_horizon(workspace: Workspace, fill: Fill) -> None:
    fill(PURCHASES, purchases(ROWS))
    assert stage(workspace, START + 2 * WEEK - US, labels).last == START - WEEK
    assert run(workspace, START + 3 * WEEK, labels).output["snapshots"] == 2
    found = sorted_rows(workspace.lake.read(LABELS), "label_time")
    assert found == [*labels_at(ROWS, START), *labels_at(ROWS, START + WEEK)]
    definition = workspace.lake.entry(LABELS).definition
    assert (definition.role, definition.available_after) == ("labels", 2 * WEEK)
    assert (definition.primary_keys, definition.timeseries_column) == (("customer_id",), "label_time")


def test_later_rows_leave_old_snapshots_alone(workspace: Workspace, fill: Fill) -> None:
    fill(PURCHASES, purchases(ROWS))
    run(workspace, START + WEEK)
    later = [(3, START + WEEK + US, 8.0)]
    fill(PURCHASES, purchases(later))
    assert run(workspace, START + 2 * WEEK).detail == "1 snapshots, 3 rows"
    assert stored(workspace) == expected([*ROWS, *later], 3)


def test_rows_of_the_past_make_the_snapshots_from_then_on_anew(workspace: Workspace, fill: Fill) -> None:
    fill(PURCHASES, purchases(ROWS))
    run(workspace, START + WEEK)
    late = [(3, START + WEEK, 8.0)]
    fill(PURCHASES, purchases(late))
    outcome = run(workspace, START + WEEK)
    assert (
        outcome.detail
        == "1 snapshots, 3 rows, those of 2025-03-10 to 2025-03-10 anew because rows of bronze.purchases changed"
    )
    assert stored(workspace) == expected([*ROWS, *late], 2)


@pytest.mark.parametrize("how", ["delete", "overwrite"])
def test_rows_that_are_changed_make_all_snapshots_anew(workspace: Workspace, fill: Fill, how: str) -> None:
    fill(PURCHASES, purchases(ROWS))
    run(workspace, START + WEEK)
    left = ROWS[1:]
    if how == "delete":
        workspace.lake.delete(PURCHASES, "amount = 1.0")
    else:
        workspace.lake.overwrite(PURCHASES, purchases(left))
    assert "all anew" in run(workspace, START + WEEK).detail
    assert stored(workspace) == expected(left, 2)


def test_rows_that_are_replaced_by_as_many_make_all_snapshots_anew(workspace: Workspace, fill: Fill) -> None:
    fill(PURCHASES, purchases(ROWS))
    run(workspace, START + WEEK)
    corrected = [(customer, at, 2 * amount) for customer, at, amount in ROWS]
    workspace.lake.overwrite(PURCHASES, purchases(corrected), why="import corrected.csv")
    assert "all anew" in run(workspace, START + WEEK).detail
    assert stored(workspace) == expected(corrected, 2)


def test_a_run_as_of_a_time_makes_a_version_of_its_own_and_takes_nothing_from_production(
    workspace: Workspace, fill: Fill
) -> None:
    workspace.clock.set(START + DAY)
    fill(PURCHASES, purchases(ROWS[:2]))
    workspace.clock.set(START + 3 * WEEK)
    late = [(9, START - DAY, 9.0)]
    fill(PURCHASES, purchases([*ROWS[2:], *late]))
    refresh_only = frozenset({"refresh"})

    def done(request: Request) -> dict[str, Any]:
        report = run_pipeline(workspace, declared(), no_target, Told(), replace(request, parts=refresh_only))
        latest = workspace.runs.stages(workspace.runs.runs("shop")[0].id)[0]
        return {**latest.output, "status": report.status}

    done(Request())
    live, online = stored(workspace), workspace.online.table(TableName.parse(FEATURES))
    assert live == expected([*ROWS, *late], 4)
    pinned = done(Request(as_of=START + WEEK))
    then = sorted_rows(workspace.lake.read(FEATURES, pinned["version"]), "feature_time")
    assert then == expected(ROWS[:2], 2)  # the late row was not there then
    assert stored(workspace) == live
    after = workspace.online.table(TableName.parse(FEATURES))
    assert after is not None
    assert online is not None
    assert (after.keys, after.newest_us) == (online.keys, online.newest_us)
    assert done(Request())["status"] == "nothing"
    assert run(workspace, START + 4 * WEEK).output["snapshots"] == 1


def test_a_run_as_of_a_time_that_is_killed_half_way_is_made_good(
    workspace: Workspace, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.clock.set(START + DAY)
    fill(PURCHASES, purchases(ROWS[:2]))
    workspace.clock.set(START + 3 * WEEK)
    fill(PURCHASES, purchases([*ROWS[2:], (9, START - DAY, 9.0)]))
    refresh_only = Request(parts=frozenset({"refresh"}))
    run_pipeline(workspace, declared(), no_target, Told(), refresh_only)
    live = stored(workspace)
    overwrite = type(workspace.lake).overwrite

    def killed(self: Any, name: str, rows: pa.Table, why: str = "") -> Any:
        if why.startswith("as it was"):
            raise KeyboardInterrupt
        return overwrite(self, name, rows, why)

    with monkeypatch.context() as patched:
        patched.setattr(type(workspace.lake), "overwrite", killed)
        with pytest.raises(KeyboardInterrupt):
            run_pipeline(workspace, declared(), no_target, Told(), replace(refresh_only, as_of=START + WEEK))
    assert stored(workspace) != live
    run_pipeline(workspace, declared(), no_target, Told(), refresh_only)
    assert stored(workspace) == live


def test_a_page_that_is_edited_and_edited_back_has_its_own_features_again(workspace: Workspace, fill: Fill) -> None:
    def compute(as_of: datetime, tx: Any = SOURCE) -> Any:
        del as_of
        return tx.groupBy("customer_id").count()

    fill(PURCHASES, purchases(ROWS))
    workspace.clock.set(START + WEEK)
    for table in (features, replace(features, compute=compute), features):
        page = declared(features=[table])
        run_pipeline(workspace, page, no_target, Told(), Request(parts=frozenset({"refresh"})))
    assert stored(workspace) == expected(ROWS, 2)
    online = workspace.online.table(TableName.parse(FEATURES))
    assert online is not None
    assert "spend" in online.types


def test_other_code_makes_all_snapshots_anew(workspace: Workspace, fill: Fill) -> None:
    def compute(as_of: datetime, tx: Any = SOURCE) -> Any:
        del as_of
        return tx.groupBy("customer_id").count()

    fill(PURCHASES, purchases(ROWS))
    run(workspace, START + WEEK)
    outcome = run(workspace, START + WEEK, replace(features, compute=compute))
    assert outcome.detail == "2 snapshots, 3 rows, all anew because its code changed"
    assert workspace.lake.schema(FEATURES).names == ["customer_id", "feature_time", "count"]


def test_rows_that_arrive_as_late_as_was_said_change_no_old_snapshot(workspace: Workspace, fill: Fill) -> None:
    late = replace(SOURCE, available_after=2 * DAY)

    def compute(as_of: datetime, tx: Any = late) -> Any:
        del as_of
        return tx.groupBy("customer_id").count()

    table = replace(features, compute=compute)
    fill(PURCHASES, purchases(ROWS[:1]))
    run(workspace, START + WEEK, table)
    fill(PURCHASES, purchases([(2, START + WEEK - 2 * DAY + US, 2.0)]))
    assert run(workspace, START + 2 * WEEK, table).detail == "1 snapshots, 2 rows"
    fill(PURCHASES, purchases([(2, START + 2 * WEEK - 2 * DAY, 2.0)]))
    assert "those of 2025-03-17 to 2025-03-17 anew" in run(workspace, START + 2 * WEEK, table).detail


def test_rows_of_a_day_that_had_not_ended_change_no_old_snapshot(workspace: Workspace, fill: Fill) -> None:
    def compute(as_of: datetime, tx: Any = DAYS) -> Any:
        del as_of
        return tx.groupBy("customer_id").count()

    def day(at: datetime) -> pa.Table:
        return pa.table({"customer_id": [1], "day": [at.date()]})

    table = replace(features, compute=compute)
    fill("bronze.days", day(START - DAY))
    run(workspace, START + WEEK, table)
    fill("bronze.days", day(START + WEEK))
    assert run(workspace, START + 2 * WEEK, table).detail == "1 snapshots, 1 rows"
    fill("bronze.days", day(START + 2 * WEEK - DAY))
    assert "those of 2025-03-17 to 2025-03-17 anew" in run(workspace, START + 2 * WEEK, table).detail


def test_a_source_without_history_is_read_anew_and_said(workspace: Workspace, fill: Fill) -> None:
    def compute(as_of: datetime, regions: Any = REGIONS) -> Any:
        del as_of
        return regions

    table = replace(features, compute=compute)
    fill("bronze.regions", pa.table({"customer_id": [1], "region": ["north"]}))
    first = run(workspace, START, table)
    assert "keeps no history" in str(first.output["warnings"])
    fill("bronze.regions", pa.table({"customer_id": [2], "region": ["south"]}))
    assert "all anew" in run(workspace, START, table).detail


def test_sources_loaded_after_the_due_time_are_said(workspace: Workspace, fill: Fill) -> None:
    fill(PURCHASES, purchases(ROWS))
    warnings = str(run(workspace, START).output["warnings"])
    assert "bronze.purchases was loaded after 2025-03-03" in warnings
    workspace.clock.set(START)
    fill("bronze.early", purchases(ROWS))
    early = replace(
        features,
        compute=lambda _, tx=EARLY: tx.select("customer_id").distinct(),
    )
    assert run(workspace, START + WEEK, replace(early, name="ml.features.early")).output["warnings"] == []


def test_without_a_start_the_first_tick_is_where_there_is_something_to_see(workspace: Workspace, fill: Fill) -> None:
    open_ended = replace(features, start=None)
    workspace.lake.ensure(PURCHASES, purchases([]).schema)
    with pytest.raises(InvalidInput, match=r"the sources of ml.features.shop have no rows"):
        run(workspace, START, open_ended)
    fill(PURCHASES, purchases(ROWS))
    assert run(workspace, START, open_ended).output["snapshots"] == 1
    assert stored(workspace) == expected(ROWS, 1)


def test_a_backfill_that_stopped_in_the_middle_is_finished(workspace: Workspace, fill: Fill) -> None:
    calls = deque[datetime]()  # not a list, which would be part of the code

    def compute(as_of: datetime, tx: Any = SOURCE) -> Any:
        calls.append(as_of)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return features.compute(as_of, tx)

    fill(PURCHASES, purchases(ROWS))
    table = replace(features, compute=compute)
    with pytest.raises(KeyboardInterrupt):
        run(workspace, START + 3 * WEEK, table, chunk=1)
    assert stored(workspace) == expected(ROWS, 2)
    assert run(workspace, START + 3 * WEEK, table, chunk=1).output["snapshots"] == 2
    assert list(calls) == [START, START + WEEK, START + 2 * WEEK, START + 2 * WEEK, START + 3 * WEEK]
    assert stored(workspace) == expected(ROWS, 4)


def test_the_fingerprint_follows_code_sources_and_the_last_tick(workspace: Workspace, fill: Fill) -> None:
    fill(PURCHASES, purchases(ROWS))
    first = stage(workspace, START + DAY)
    assert first.name == "features ml.features.shop"
    assert stage(workspace, START + 2 * DAY).fingerprint == first.fingerprint
    assert stage(workspace, START + WEEK).fingerprint != first.fingerprint
    assert stage(workspace, START + DAY, replace(features, every=DAY / 2)).fingerprint != first.fingerprint
    fill(PURCHASES, purchases([(9, START + WEEK, 1.0)]))
    assert stage(workspace, START + DAY).fingerprint != first.fingerprint


def test_before_the_first_label_is_known_the_features_are_refreshed_all_the_same(
    workspace: Workspace, fill: Fill
) -> None:
    fill(PURCHASES, purchases(ROWS))
    outcome = run(workspace, START + DAY, labels)
    assert outcome.detail == "no label yet: the first, of 2025-03-03T00:00:00Z, is known at 2025-03-17T00:00:00Z"
    assert not workspace.lake.exists(LABELS)
    assert run(workspace, START + DAY).output["snapshots"] == 1
    with pytest.raises(InvalidInput, match=r"no label of ml.labels.shop is known at 2025-03-04"):
        assemble(workspace, declared(), Pins(START + DAY))


def test_before_the_first_snapshot_there_is_nothing_to_refresh(workspace: Workspace, fill: Fill) -> None:
    fill(PURCHASES, purchases(ROWS))
    with pytest.raises(InvalidInput, match=r"ml.features.shop has no snapshot yet: its first is of 2025-03-03"):
        run(workspace, START - DAY)


def test_a_first_run_that_was_killed_keeps_nothing_of_code_that_changed_since(
    workspace: Workspace, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(PURCHASES, purchases(ROWS))
    with monkeypatch.context() as patch:
        patch.setattr(type(workspace.lake), "append", _killed)
        with pytest.raises(KeyboardInterrupt):
            run(workspace, START + WEEK, chunk=1)
    assert stored(workspace) == expected(ROWS, 1)
    doubled = replace(features, compute=lambda as_of, tx=SOURCE: features.compute(as_of, tx=tx.union(tx)))
    assert "all anew because its code changed" in run(workspace, START + WEEK, doubled).detail
    assert {row["feature_time"] for row in stored(workspace)} == {START, START + WEEK}
    assert stored(workspace)[0] != expected(ROWS, 1)[0]


def _killed(*_: Any, **__: Any) -> Any:
    raise KeyboardInterrupt


def test_a_table_that_somebody_else_filled_is_not_written_over(workspace: Workspace, fill: Fill) -> None:
    fill(PURCHASES, purchases(ROWS))
    fill(FEATURES, purchases(ROWS))
    with pytest.raises(InvalidInput, match="rows that no pipeline made"):
        run(workspace, START)
    assert workspace.lake.rows(FEATURES) == len(ROWS)


def test_a_table_that_is_read_by_its_name_is_pinned_and_followed_too(workspace: Workspace, fill: Fill) -> None:
    def compute(as_of: datetime, tx: Any = SOURCE) -> Any:
        del as_of
        regions = tx.sparkSession.table("bronze.regions")
        return tx.select("customer_id").distinct().join(regions, "customer_id")

    table = replace(features, compute=compute)
    fill(PURCHASES, purchases(ROWS))
    fill("bronze.regions", pa.table({"customer_id": [1, 2], "region": ["north", "east"]}))
    first = run(workspace, START + WEEK, table)
    assert first.output["sources"] == {PURCHASES: 1, "bronze.regions": 1}
    assert "bronze.regions is read by its name" in str(first.output["warnings"])
    assert run(workspace, START + WEEK, table).output["snapshots"] == 0
    workspace.lake.overwrite("bronze.regions", pa.table({"customer_id": [1, 2], "region": ["south", "east"]}))
    again = run(workspace, START + WEEK, table)
    assert "all anew because rows of bronze.regions changed" in again.detail
    assert {row["region"] for row in stored(workspace)} == {"south", "east"}
    assert again.output["sources"] == {PURCHASES: 1, "bronze.regions": 2}


@pytest.mark.parametrize("commits", [1, 3])
def test_a_source_that_is_another_table_by_that_name_makes_all_anew(
    workspace: Workspace, fill: Fill, commits: int
) -> None:
    fill(PURCHASES, purchases(ROWS))
    run(workspace, START + 2 * WEEK)
    workspace.lake.drop(PURCHASES)
    other = [(who, at, amount * 10) for who, at, amount in ROWS]
    # With one commit the new table has just the version that was read of the old one.
    for part in [other] if commits == 1 else [[row] for row in other]:
        fill(PURCHASES, purchases(part))
    assert "all anew because bronze.purchases was made anew" in run(workspace, START + 2 * WEEK).detail
    assert stored(workspace) == expected(other, 3)
    assert run(workspace, START + 2 * WEEK).output["snapshots"] == 0


def test_a_changed_delay_of_a_source_makes_all_anew(workspace: Workspace, fill: Fill) -> None:
    fill(PURCHASES, purchases(ROWS))
    run(workspace, START + 2 * WEEK)
    workspace.lake.describe(PURCHASES, available_after=8 * DAY)
    run(workspace, START + 2 * WEEK)
    late = [(who, at + 8 * DAY, amount) for who, at, amount in ROWS]
    assert stored(workspace) == expected(late, 3)


def test_a_column_whose_types_do_not_fit_together_is_said(workspace: Workspace, fill: Fill) -> None:
    def mixed(as_of: datetime, tx: Any = SOURCE) -> pa.Table:
        del tx
        return pa.table({"customer_id": [1], "x": pa.array([2**60 + 1] if as_of == START else [0.5])})

    fill(PURCHASES, purchases(ROWS))
    table = mr.feature_table(FEATURES, keys=["customer_id"], every=WEEK, start=START)(mixed)
    with pytest.raises(InvalidInput, match="types at several times don't fit together"):
        run(workspace, START + WEEK, table)
