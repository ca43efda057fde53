"""What a feature function reads by name: cut at its time, reported, and nothing around the cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import millrace as mr
from millrace.core.errors import InvalidInput, NotFound
from millrace.core.names import TableName
from millrace.features.tables import create_feature_table, write_feature_rows
from millrace.lake.adapters.sail import SailEngine
from millrace.lake.types import TableDefinition
from millrace.pipeline.declare import FeatureTable
from millrace.pipeline.snapshots import Snapshots, implied_warnings, pin_sources
from millrace.workspace import Workspace, open_workspace
from tests.unit.pipeline.conftest import Fill, utc_times
from tests.unit.pipeline.shop import DAY, PURCHASES, SOURCE, START, WEEK, purchases

US = timedelta(microseconds=1)
ROWS = [(1, START - DAY, 1.0), (2, START, 2.0), (3, START + US, 3.0)]
VISITS = "bronze.visits"


def made_by(compute: Any, name: str = "ml.features.named") -> FeatureTable:
    return mr.feature_table(name, keys=["customer_id"], every=WEEK)(compute)


def snapshots(workspace: Workspace, compute: Any) -> Snapshots:
    table = made_by(compute)
    return Snapshots(workspace, table, pin_sources(workspace, table, None, {}))


def customers(workspace: Workspace, read: Callable[[Any], Any], at: datetime = START) -> list[int]:
    """The customers that a function finds that reads with `read`, which is given the session."""

    def compute(as_of: datetime, tx: Any = SOURCE) -> Any:
        del as_of
        return read(tx.sparkSession).select("customer_id")

    rows = snapshots(workspace, compute).at(at)
    return sorted(rows.column("customer_id").to_pylist())


def stock(workspace: Workspace) -> Workspace:
    """Purchases (declared in each function), visits with a timeseries column that arrive a day late, regions without a time."""
    times = utc_times([START - 2 * DAY, START - DAY, START - DAY + US])
    visits = pa.table({"customer_id": [1, 2, 3], "at": times})
    definition = TableDefinition(timeseries_column="at", available_after=DAY)
    workspace.lake.create(VISITS, visits.schema, definition, rows=visits)
    regions = pa.table({"customer_id": [1, 2, 3], "region": ["n", "s", "e"]})
    for name, rows in ((PURCHASES, purchases(ROWS)), ("bronze.regions", regions)):
        workspace.lake.create(name, rows.schema, rows=rows)
    return workspace


@pytest.fixture
def shop(workspace: Workspace) -> Workspace:
    return stock(workspace)


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory, sail: SailEngine) -> Iterator[Workspace]:
    """The same shop for all tests that change nothing in it."""
    workspace = open_workspace(tmp_path_factory.mktemp("unchanged") / "home")
    workspace.__dict__["spark"] = sail
    yield stock(workspace)
    workspace.__dict__.pop("spark")
    workspace.close()


READS: list[Callable[[Any], Any]] = [
    lambda spark: spark.table(VISITS),
    lambda spark: spark.read.table("main.bronze.visits"),
    lambda spark: spark.sql("SELECT * FROM bronze.visits"),
    lambda spark: spark.sql("WITH v AS (SELECT * FROM bronze.visits) SELECT v.* FROM v"),
    lambda spark: spark.sql("SELECT bronze.visits.customer_id FROM bronze.visits"),
    lambda spark: mr.spark().table(VISITS),  # noqa: ARG005 - the session is found
    lambda spark: spark.table("bronze.regions").join(spark.table(VISITS), "customer_id"),
]


@pytest.mark.parametrize("read", READS)
def test_any_table_with_a_time_is_cut_by_it_whatever_way_it_is_read(
    unchanged: Workspace, read: Callable[[Any], Any]
) -> None:
    assert customers(unchanged, read) == [1, 2]
    assert customers(unchanged, read, START + US) == [1, 2, 3]
    assert customers(unchanged, read, START - DAY) == [1]


OFFSETS = st.sampled_from([-3 * DAY, -US, US - US, US, DAY - US, DAY, DAY + US, 5 * DAY])


@given(st.lists(OFFSETS, max_size=6), OFFSETS, st.sampled_from([US - US, US, DAY]))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_seen_is_what_was_available(
    unchanged: Workspace, offsets: list[timedelta], asked: timedelta, delay: timedelta
) -> None:
    times = [START + offset for offset in offsets]
    rows = pa.table({"customer_id": pa.array(range(len(times)), pa.int64()), "at": utc_times(times)})
    definition = TableDefinition(timeseries_column="at", available_after=delay)
    unchanged.lake.create("bronze.any", rows.schema, definition, rows=rows)
    try:
        found = customers(unchanged, lambda spark: spark.sql("SELECT * FROM bronze.any"), START + asked)
    finally:
        unchanged.lake.drop("bronze.any")
    assert found == [number for number, time in enumerate(times) if time + delay <= START + asked]


def test_a_declared_source_is_cut_by_its_own_rule(shop: Workspace) -> None:
    assert customers(shop, lambda spark: spark.table(PURCHASES)) == [1, 2]
    assert customers(shop, lambda spark: spark.sql(f"SELECT * FROM {PURCHASES}"), START - DAY) == [1]


def test_a_day_stands_for_its_end_and_feature_tables_are_cut_too(shop: Workspace) -> None:
    rows = pa.table({"customer_id": [1, 1], "day": pa.array([START.date() - DAY, START.date()], pa.date32())})
    create_feature_table(shop.lake, "ml.f.daily", rows.schema, primary_keys="customer_id", timeseries_column="day")
    write_feature_rows(shop.lake, "ml.f.daily", rows)

    def compute(as_of: datetime, tx: Any = SOURCE) -> Any:
        del as_of
        return tx.sparkSession.sql("SELECT customer_id, max(day) AS newest FROM ml.f.daily GROUP BY customer_id")

    def newest(at: datetime) -> list[date]:
        return [row["newest"] for row in snapshots(shop, compute).at(at).to_pylist()]

    assert newest(START) == [(START - DAY).date()]
    assert newest(START + DAY - US) == [(START - DAY).date()]
    assert newest(START + DAY) == [START.date()]


def test_what_was_read_is_reported_with_its_version_and_read_at_that_one(shop: Workspace, fill: Fill) -> None:
    def compute(as_of: datetime, tx: Any = SOURCE) -> Any:
        del as_of
        spark = tx.sparkSession
        return spark.table("bronze.regions").join(spark.sql(f"SELECT customer_id FROM {VISITS}"), "customer_id")

    made = snapshots(shop, compute)
    assert (made.used, made.warnings) == ({}, [])
    made.at(START)
    regions, visits = TableName.parse("bronze.regions"), TableName.parse(VISITS)
    assert {name: int(pin.version) for name, pin in made.used.items()} == {regions: 0, visits: 0}
    (warning,) = made.warnings
    assert warning.startswith("bronze.regions is read by its name, and has no timeseries column")
    fill("bronze.regions", pa.table({"customer_id": [1], "region": ["w"]}))
    assert made.at(START).num_rows == 2
    assert snapshots(shop, compute).at(START).num_rows == 3


def test_what_a_table_was_made_from_is_pinned_with_its_sources(shop: Workspace) -> None:
    table = made_by(lambda as_of, tx=SOURCE: (as_of, tx))
    assert set(pin_sources(shop, table, None, {})) == {"tx"}
    schema = pa.schema([("customer_id", pa.int64())])
    sources = {PURCHASES: 0, "bronze.regions": 0, "bronze.gone": 4}
    definition = TableDefinition(properties={"snapshots": {"sources": sources}})
    shop.lake.create(table.name, schema, definition)
    pinned = pin_sources(shop, table, None, {TableName.parse("bronze.regions"): 0})
    assert {name: str(pin) for name, pin in pinned.items()} == {
        "tx": f"{PURCHASES}@0",
        "bronze.regions": "bronze.regions@0",
    }
    assert len(implied_warnings(shop, table, pinned)) == 1


def outer_view(shop: Workspace) -> Callable[[Any], Any]:
    shop.spark.read(shop.lake.entry(PURCHASES).location, shop.lake.pin(PURCHASES).version).createOrReplaceTempView(
        "outer"
    )
    return lambda spark: spark.table("outer")


def outer_frame(shop: Workspace) -> Callable[[Any], Any]:
    frame = shop.spark.read(shop.lake.entry(PURCHASES).location, shop.lake.pin(PURCHASES).version)
    return lambda spark: frame.where("amount > 0")  # noqa: ARG005 - it came from elsewhere


def outer_query(shop: Workspace) -> Callable[[Any], Any]:
    frame = outer_frame(shop)(None)
    query = shop.spark.session().sql("SELECT * FROM {frame}", frame=frame)
    return lambda spark: query.join(spark.table(PURCHASES).select("customer_id"), "customer_id")


def outer_frame_in_sql(shop: Workspace) -> Callable[[Any], Any]:
    frame = outer_frame(shop)(None)
    return lambda spark: spark.sql("SELECT * FROM {frame}", frame=frame)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (outer_view, NotFound, "default.outer"),
        (outer_frame, InvalidInput, "made outside"),
        (outer_query, InvalidInput, "made outside"),
        (outer_frame_in_sql, InvalidInput, "made outside"),
    ],
)
def test_what_was_made_outside_is_refused(
    shop: Workspace, make: Callable[[Workspace], Callable[[Any], Any]], error: type[Exception], message: str
) -> None:
    read = make(shop)
    try:
        with pytest.raises(error, match=message):
            customers(shop, read)
    finally:
        shop.spark.session().catalog.dropTempView("outer")


def in_a_thread(read: Callable[[], Any]) -> Any:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(read).result()


REFUSED: list[tuple[Callable[[Any], Any], str]] = [
    (lambda spark: spark.read.parquet("/data/x.parquet"), "can't read files"),
    (lambda spark: spark.read.format("delta").load("/data/x"), "can't read files"),
    (lambda spark: spark.read.csv("/data/x.csv"), "can't read files"),
    (lambda spark: spark.sql("SELECT * FROM delta.`/data/x`"), "can't read delta"),
    (lambda spark: spark.table("parquet.`/data/x`"), "can't read parquet"),
    (lambda spark: spark.sql("SELECT * FROM read_files('/data/x')"), "can't read the table function"),
    (lambda spark: spark.sql("SELECT * FROM identifier('bronze.visits')"), "named by an expression"),
    (lambda spark: spark.readStream.table(VISITS), "can't read a stream"),
    (lambda spark: spark.read.option("versionAsOf", 0).table(VISITS), "can't choose a table's version"),
    (lambda spark: spark.sql("SELECT * FROM bronze.visits VERSION AS OF 0"), "can't choose a table's version"),
    (lambda spark: mr.spark(as_of=START), "can't pin"),  # noqa: ARG005
    (lambda spark: mr.spark(home="elsewhere"), "can't open a home"),  # noqa: ARG005
    (
        lambda spark: spark.table(VISITS).where("customer_id IN (SELECT customer_id FROM bronze.regions)"),
        "query inside",
    ),
    (lambda spark: spark.table(VISITS).write.saveAsTable("silver.t"), "can't write"),
    (lambda spark: spark.table(VISITS).write.parquet("/data/never"), "can't write"),
    (lambda spark: spark.table(VISITS).writeTo("silver.t").create(), "can't write"),
    (lambda spark: spark.sql("CREATE TABLE silver.t AS SELECT 1"), "can't run this SQL"),
    (lambda spark: spark.sql("DROP TABLE bronze.visits"), "can't run this SQL"),
    (lambda spark: spark.catalog.dropTable(VISITS), "can't drop a table"),
    (lambda spark: spark.table("ml.features.named"), "reads ml.features.named itself"),
    (lambda spark: spark.stop(), "can't stop its session"),
    (
        lambda spark: spark.sql("SELECT customer_id, unix_timestamp() AS s FROM bronze.regions"),
        "this machine's own time",
    ),
    (lambda spark: spark.table(VISITS).where("unix_timestamp(at) < unix_timestamp()"), "this machine's own time"),
    (
        lambda spark: spark.sql("SELECT * FROM bronze.visits WHERE at < TIMESTAMP 'now'"),
        "not the feature function's time",
    ),
    (lambda spark: in_a_thread(lambda: spark.table(PURCHASES)), "in a new thread"),
    (lambda spark: in_a_thread(lambda: spark.sql("SELECT * FROM bronze.visits")), "in a new thread"),
    (lambda spark: in_a_thread(lambda: spark.read.parquet("/data/x")), "in a new thread"),
]


@pytest.mark.parametrize(("read", "message"), REFUSED)
def test_there_is_no_way_around_the_cut(unchanged: Workspace, read: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as refused:
        customers(unchanged, read)
    assert refused.value.hint
    assert not unchanged.lake.exists("silver.t")


def test_a_table_that_is_not_there_is_said_with_the_nearest(shop: Workspace) -> None:
    for read in (lambda spark: spark.table("bronze.visit"), lambda spark: spark.sql("SELECT * FROM bronze.visit")):
        with pytest.raises(NotFound, match=r"bronze\.visit does not exist\n.*bronze\.visits"):
            customers(shop, read)


def test_views_that_a_function_makes_are_its_own_and_gone_afterwards(shop: Workspace) -> None:
    def read(spark: Any) -> Any:
        spark.table(VISITS).createOrReplaceTempView("some")
        spark.sql("CREATE OR REPLACE TEMP VIEW others AS SELECT customer_id FROM some WHERE customer_id > 1")
        return spark.sql("SELECT o.customer_id FROM others o JOIN some s ON o.customer_id = s.customer_id")

    assert customers(shop, read) == [2]
    assert customers(shop, read, START + US) == [2, 3]
    assert not shop.spark.session().catalog.tableExists("some")
    with pytest.raises(NotFound, match=r"default\.some"):
        customers(shop, lambda spark: spark.table("some"))


def test_frames_of_values_and_functions_are_welcome(shop: Workspace) -> None:
    from pyspark.sql import functions as F  # noqa: N812 - the name that everybody uses

    double = F.udf(lambda value: value * 2, "long")

    def read(spark: Any) -> Any:
        wanted = spark.createDataFrame([(1,), (2,), (9,)], "customer_id long")
        found = spark.table(VISITS).join(wanted, "customer_id").cache()
        return found.select(double("customer_id").alias("customer_id"))

    assert customers(shop, read) == [2, 4]


PAGE = """
import millrace as mr
spark = mr.spark()

@mr.feature_table("ml.features.paged", keys=["customer_id"], every=__import__("datetime").timedelta(days=7))
def paged(as_of):
    return spark.sql("SELECT customer_id FROM bronze.visits")

pipeline = mr.Pipeline(
    name="paged",
    features=[paged],
    label=mr.Label("ml.labels.y", "y", ("customer_id",), "at"),
    candidates=[mr.Linear()],
    gates=[mr.BeatsBaselines()],
)
"""


def test_a_pages_own_session_is_the_one_that_runs_its_functions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from millrace.pipeline.load import load_pipeline

    monkeypatch.setenv("MILLRACE_HOME", str(tmp_path / "home"))
    (tmp_path / "page.py").write_text(PAGE)
    pipeline = load_pipeline(tmp_path / "page.py")
    workspace = open_workspace()
    try:
        visits = pa.table({"customer_id": [1, 2], "at": utc_times([START, START + US])})
        workspace.lake.create(VISITS, visits.schema, TableDefinition(timeseries_column="at"), rows=visits)
        (paged,) = pipeline.features
        assert mr.preview(workspace, paged, START).column("customer_id").to_pylist() == [1]
        assert mr.spark().table(VISITS).count() == 2
        mr.spark().stop()
    finally:
        workspace.close()


def test_the_session_of_another_home_is_refused(shop: Workspace, tmp_path: Path) -> None:
    other = open_workspace(tmp_path / "other")
    try:
        session = other.spark.session()
        other.lake.create(VISITS, pa.schema([("customer_id", pa.int64())]))
        with pytest.raises(InvalidInput, match="session of another home"):
            customers(shop, lambda spark: session.table(VISITS))  # noqa: ARG005
    finally:
        other.close()
