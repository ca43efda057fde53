from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

import millrace as mr
from millrace.core.errors import InvalidInput
from millrace.pipeline.declare import FeatureTable
from millrace.pipeline.fingerprint import fingerprint
from millrace.pipeline.snapshots import Snapshots, pin_sources
from millrace.pipeline.stages.refresh import RefreshSnapshots
from millrace.workspace import Workspace
from tests.unit.pipeline.conftest import Fill
from tests.unit.pipeline.shop import DAY, PURCHASES, SOURCE, START, WEEK, context, declared, purchases

US = timedelta(microseconds=1)
ROWS = [
    (1, START - 2 * DAY, 1.5),
    (1, START - DAY, 2.5),
    (2, START - DAY, 4.0),
    (1, START + DAY, 8.0),
    (2, START + US, 16.0),
]
SPEND = mr.Windows(
    SOURCE, ["customer_id"], n=mr.Count(days=7), total=mr.Sum("amount", days=7), last=mr.Last("at", days=7)
)


def plain(as_of: datetime, tx: Any = SOURCE) -> Any:
    from pyspark.sql import functions as F  # noqa: N812 - the name that everybody uses

    recent = tx.where(F.col("at") > F.lit(as_of - WEEK))
    return recent.groupBy("customer_id").agg(
        F.count("*").alias("n"), F.sum("amount").alias("total"), F.max("at").alias("last")
    )


def by_windows(as_of: datetime, spend: Any = SPEND) -> Any:
    del as_of
    return spend


def table_of(compute: Any, name: str = "ml.features.windows") -> FeatureTable:
    return mr.feature_table(name, keys=["customer_id"], every=DAY, start=START)(compute)


@pytest.mark.parametrize("time", [START - DAY, START, START + US, START + DAY, START + 7 * DAY])
def test_windows_equal_the_function_that_they_stand_for(workspace: Workspace, fill: Fill, time: datetime) -> None:
    fill(PURCHASES, purchases(ROWS))
    expected = mr.preview(workspace, table_of(plain), time)
    assert expected.num_rows
    for table in (table_of(by_windows), mr.window_table("ml.features.windows", SPEND, every=DAY, start=START)):
        found = mr.preview(workspace, table, time)
        assert found.column_names == expected.column_names
        assert found.to_pylist() == expected.to_pylist()


def test_a_function_mixes_windows_with_sources_and_labels_see_to_their_end(workspace: Workspace, fill: Fill) -> None:
    def mixed(as_of: datetime, spend: Any = SPEND, tx: Any = SOURCE) -> Any:
        from pyspark.sql import functions as F  # noqa: N812 - the name that everybody uses

        del as_of
        ever = tx.groupBy("customer_id").agg(F.count("*").alias("ever"))
        return spend.select("customer_id", "n").join(ever, "customer_id")

    @mr.label_table("ml.labels.more", keys=["customer_id"], column="more", horizon=2 * DAY, every=DAY, start=START)
    def more(time: datetime, end: datetime, spend: Any = SPEND) -> Any:
        del time, end
        return spend.selectExpr("customer_id", "cast(n > 2 as int) as more")

    fill(PURCHASES, purchases(ROWS))
    assert mr.preview(workspace, table_of(mixed), START + 6 * DAY).drop_columns(["feature_time"]).to_pylist() == [
        {"customer_id": 1, "n": 1, "ever": 3},
        {"customer_id": 2, "n": 1, "ever": 2},
    ]
    assert [row["more"] for row in mr.preview(workspace, more, START).to_pylist()] == [1, 0]


def test_many_times_are_computed_at_once_and_give_the_same(workspace: Workspace, fill: Fill) -> None:
    fill(PURCHASES, purchases(ROWS))
    table = table_of(by_windows)
    snapshots = Snapshots(workspace, table, pin_sources(workspace, table, None, {}))
    # A step of another length and a time by itself: three passes.
    times = [START + n * DAY for n in (0, 1, 2, 5, 8, 20)]
    ((some, rows),) = snapshots.chunks(times, 10, lambda _: None)
    assert some == times
    assert rows.equals(pa.concat_tables([snapshots.at(time) for time in times], promote_options="permissive"))
    assert rows.num_rows > 0


def test_a_window_table_is_refreshed_published_and_described(workspace: Workspace, fill: Fill) -> None:
    fill(PURCHASES, purchases(ROWS))
    table = mr.window_table("ml.features.windows", SPEND, every=DAY, tags={"team": "growth"})
    RefreshSnapshots(table, START + 3 * DAY, pin_sources(workspace, table, None, {})).run(
        context(workspace, declared(), START + 3 * DAY)
    )
    entry = workspace.lake.entry("ml.features.windows")
    assert entry.definition.description == "Window features over bronze.purchases"
    assert (entry.definition.primary_keys, entry.definition.tags) == (("customer_id",), {"team": "growth"})
    # Without a start the grid begins where the events do.
    assert min(workspace.lake.read("ml.features.windows").column("feature_time").to_pylist()) == START - 2 * DAY


def test_other_windows_are_other_code() -> None:
    def code(windows: mr.Windows) -> set[str]:
        def compute(as_of: datetime, spend: Any = windows) -> Any:
            del as_of
            return spend

        tables = (table_of(compute), mr.window_table("ml.features.windows", windows, every=DAY))
        return {RefreshSnapshots(table, START, {}).code for table in tables}

    others = [
        SPEND,
        mr.Windows(SOURCE, "customer_id", n=mr.Count(days=7)),
        mr.Windows(SOURCE, "customer_id", n=mr.Count(days=8)),
        mr.Windows(SOURCE, "customer_id", n=mr.Count(days=8, where="amount > 1")),
        mr.Windows(replace(SOURCE, available_after=DAY), "customer_id", n=mr.Count(days=8)),
        mr.Windows(SOURCE, "customer_id", n=mr.Max("amount", days=8)),
        mr.Windows(SOURCE, "customer_id", n=mr.Min("amount", days=8)),
    ]
    codes = [code(each) for each in others]
    assert len(set().union(*codes)) == 2 * len(others)
    assert codes[0] == code(SPEND)
    assert fingerprint(others[1]) == fingerprint(mr.Windows(SOURCE, ["customer_id"], n=mr.Count(days=7)))


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: mr.Windows(SOURCE, [], n=mr.Count(days=1)), "without keys"),
        (lambda: mr.Windows(SOURCE, ["customer_id"]), "without features"),
        (lambda: mr.Windows(SOURCE, ["n"], n=mr.Count(days=1)), "'n' is a key and a window feature"),
        (lambda: mr.Windows(SOURCE, ["k"], n="count"), "window feature 'n' is 'count'"),  # type: ignore[arg-type]
        (lambda: mr.Windows(mr.Source("t", history="none"), ["k"], n=mr.Count(days=1)), "keeps history as 'none'"),
    ],
)
def test_windows_that_make_no_sense_are_refused(declare: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        declare()


@pytest.mark.parametrize(
    ("windows", "message"),
    [
        (mr.Windows(SOURCE, ["customer"], n=mr.Count(days=1)), "no column 'customer'"),
        (mr.Windows(SOURCE, ["amount"], n=mr.Count(days=1)), "'amount' is double, which can't be a key"),
        (mr.Windows(SOURCE, ["customer_id"], n=mr.Sum("amuont", days=1)), "there is no column 'amuont'"),
        (mr.Windows(SOURCE, ["customer_id"], n=mr.Count(days=1, where="amount >")), "it ends too early"),
    ],
)
def test_windows_that_do_not_fit_their_source_are_refused(
    workspace: Workspace, fill: Fill, windows: mr.Windows, message: str
) -> None:
    fill(PURCHASES, purchases(ROWS))
    with pytest.raises(InvalidInput, match=message):
        mr.preview(workspace, mr.window_table("ml.features.windows", windows, every=DAY), START)


def test_the_source_of_windows_is_read_by_its_name_at_the_same_version(workspace: Workspace, fill: Fill) -> None:
    def both(as_of: datetime, spend: Any = SPEND) -> Any:
        from pyspark.sql import functions as F  # noqa: N812 - the name that everybody uses

        del as_of
        named = spend.sparkSession.table(PURCHASES).groupBy("customer_id").agg(F.count("*").alias("ever"))
        return spend.select("customer_id", "n").join(named, "customer_id")

    fill(PURCHASES, purchases(ROWS))
    table = table_of(both)
    snapshots = Snapshots(workspace, table, pin_sources(workspace, table, None, {}))
    fill(PURCHASES, purchases([(1, START - DAY, 1.0)]))  # after the pin
    assert [(row["n"], row["ever"]) for row in snapshots.at(START).to_pylist()] == [(2, 2), (1, 1)]
    assert set(snapshots.used.values()) == set(snapshots.pinned.values())
