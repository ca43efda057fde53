"""The same session on a real Spark, which knows neither the workspace nor Delta."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

import millrace as mr
from millrace.core.errors import InvalidInput, NotFound
from millrace.core.principal import Principal
from millrace.features.tables import create_feature_table
from millrace.lake.adapters.spark_connect import SparkConnectEngine
from millrace.lake.frames import to_arrow
from millrace.lake.types import TableDefinition
from millrace.pipeline.snapshots import Snapshots, pin_sources
from millrace.workspace import Workspace, open_workspace

pytestmark = [pytest.mark.spark, pytest.mark.slow]

T = datetime(2025, 3, 1, 6, tzinfo=UTC)
DAY = timedelta(days=1)
EVENTS = "bronze.events"
SOURCE = mr.Source(EVENTS, event_time="at")


@pytest.fixture(scope="module")
def workspace(spark_remote: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """Events with a time, in two versions a day apart; regions without; a feature table."""
    workspace = open_workspace(tmp_path_factory.mktemp("spark home") / "h", principal=Principal("user", "ada"))
    workspace.__dict__["spark"] = SparkConnectEngine(spark_remote, workspace.lake)
    lake = workspace.lake
    schema = pa.schema([("id", pa.int64()), ("at", pa.timestamp("us", "UTC")), ("n", pa.float64())])
    workspace.clock.set(T)
    lake.create(EVENTS, schema, rows=pa.table({"id": [1, 2], "at": [T - DAY, T], "n": [1.0, 2.0]}, schema=schema))
    workspace.clock.set(T + DAY)
    lake.append(EVENTS, pa.table({"id": [3], "at": [T + DAY], "n": [3.0]}, schema=schema))
    lake.create("ml.silver.timed", schema, TableDefinition(timeseries_column="at"), rows=lake.read(EVENTS))
    regions = pa.table({"id": [1, 2, 3], "region": ["n", "s", "e"]})
    lake.create("plain", regions.schema, TableDefinition(partition_columns=("region",)), rows=regions)
    create_feature_table(lake, "ml.f.keyed", regions.schema, primary_keys="id")
    yield workspace
    workspace.__dict__.pop("spark").close()
    workspace.close()


@pytest.fixture
def spark(workspace: Workspace) -> Any:
    return workspace.spark.session()


def ids(frame: Any) -> list[int]:
    return sorted(to_arrow(frame).column("id").to_pylist())


@pytest.mark.parametrize("spelled", [EVENTS, "main.bronze.events", "ml.silver.timed", "plain", "default.plain"])
def test_tables_are_there_under_one_two_and_three_levels(spark: Any, spelled: str) -> None:
    assert ids(spark.table(spelled)) == ids(spark.sql(f"SELECT * FROM {spelled}")) == [1, 2, 3]


def test_sql_joins_pins_and_qualifies(spark: Any) -> None:
    found = spark.sql(
        "WITH late AS (SELECT * FROM bronze.events) "
        "SELECT bronze.events.id, p.region FROM bronze.events VERSION AS OF 0 JOIN plain p ON p.id = events.id "
        "WHERE events.id IN (SELECT id FROM late)"
    )
    assert sorted(map(tuple, found.collect())) == [(1, "n"), (2, "s")]
    assert ids(spark.read.option("timestampAsOf", T.isoformat()).table(EVENTS)) == [1, 2]
    assert ids(spark.pinned(as_of=T).sql(f"SELECT * FROM {EVENTS}")) == [1, 2]
    assert ids(spark.sql("SELECT * FROM plain WHERE id > :low", {"low": 1})) == [2, 3]
    spark.sql("CREATE OR REPLACE TEMP VIEW seen AS SELECT * FROM plain WHERE region = 'n'")
    assert ids(spark.sql("SELECT seen.* FROM seen")) == [1]
    assert spark.catalog.tableExists("seen")
    spark.catalog.dropTempView("seen")


def test_writes_go_through_the_lake(spark: Any, workspace: Workspace) -> None:
    from pyspark.sql import Observation
    from pyspark.sql import functions as F  # noqa: N812 - the name that everybody gives it

    seen = Observation("rows")
    rows = spark.table(EVENTS).observe(seen, F.count("*").alias("n"))
    rows.write.partitionBy("id").saveAsTable("silver.made")
    assert seen.get == {"n": 3}
    spark.sql("INSERT INTO silver.made SELECT 9L, at, n FROM bronze.events WHERE id = 1")
    spark.sql("DELETE FROM silver.made WHERE id = 2")
    spark.table(EVENTS).limit(1).writeTo("silver.made").append()
    assert len(ids(spark.table("silver.made"))) == workspace.lake.rows("silver.made") == 4
    assert workspace.lake.schema("silver.made").types == workspace.lake.schema(EVENTS).types
    assert {info.by for info in workspace.lake.history("silver.made")} == {"user:ada"}
    spark.sql("CREATE OR REPLACE TABLE silver.made USING delta AS SELECT id, region FROM plain")
    spark.sql("DROP TABLE silver.made")
    assert not workspace.lake.exists("silver.made")
    for refused in (
        "MERGE INTO plain USING bronze.events e ON e.id = plain.id WHEN MATCHED THEN DELETE",
        "UPDATE plain SET id = 1",
    ):
        with pytest.raises(InvalidInput, match="can't be done to plain"):
            spark.sql(refused)
    with pytest.raises(InvalidInput, match="has primary keys"):
        spark.table("plain").write.mode("append").saveAsTable("ml.f.keyed")


def snapshot(workspace: Workspace, read: Callable[[Any, datetime], Any], at: datetime = T) -> list[int]:
    def compute(as_of: datetime, events: Any = SOURCE) -> Any:
        return read(events.sparkSession, as_of).select("id")

    table = mr.feature_table("ml.f.made", keys=["id"], every=DAY)(compute)
    return ids(Snapshots(workspace, table, pin_sources(workspace, table, None, {})).at(at))


@pytest.mark.parametrize(
    "read",
    [
        lambda spark, as_of: spark.table(EVENTS),  # noqa: ARG005
        lambda spark, as_of: spark.sql("SELECT * FROM ml.silver.timed"),  # noqa: ARG005
        lambda spark, as_of: mr.spark().table("plain").join(spark.table("ml.silver.timed"), "id"),  # noqa: ARG005
    ],
)
def test_names_are_cut_inside_a_feature_function(workspace: Workspace, read: Callable[[Any, datetime], Any]) -> None:
    assert snapshot(workspace, read) == [1, 2]
    assert snapshot(workspace, read, T - DAY) == [1]
    assert snapshot(workspace, read, T + DAY) == [1, 2, 3]


def _now(name: str) -> Callable[[Any, datetime], Any]:
    def read(spark: Any, as_of: datetime) -> Any:
        from pyspark.sql import functions as F  # noqa: N812 - the name that everybody gives it

        return spark.table(EVENTS).where(getattr(F, name)() > F.lit(as_of))

    return read


@pytest.mark.parametrize(
    "read",
    [
        lambda spark, as_of: spark.sql("SELECT * FROM bronze.events WHERE at < current_timestamp"),  # noqa: ARG005
        lambda spark, as_of: spark.sql("SELECT * FROM bronze.events WHERE at < now()"),  # noqa: ARG005
        lambda spark, as_of: spark.table(EVENTS).where("date(at) < current_date()"),  # noqa: ARG005
        _now("current_date"),
        _now("unix_timestamp"),
    ],
)
def test_the_clusters_own_time_is_refused(workspace: Workspace, read: Callable[[Any, datetime], Any]) -> None:
    with pytest.raises(InvalidInput, match="the Spark cluster's own time") as refused:
        snapshot(workspace, read)
    assert "as_of" in refused.value.hint


def test_there_is_no_way_around_the_cut(workspace: Workspace, spark: Any) -> None:
    outside = spark.table(EVENTS)
    outside.createOrReplaceTempView("outer_view")
    for read, message in (
        (lambda *_: outside, "made outside"),
        (lambda *_: spark.sql("SELECT * FROM {frame}", frame=outside), "made outside"),
        (lambda *_: spark.read.parquet("/data/x"), "can't read files"),
        (lambda *_: outside.write.saveAsTable("silver.never"), "can't write"),
    ):
        with pytest.raises(InvalidInput, match=message):
            snapshot(workspace, read)
    with pytest.raises(NotFound, match="outer_view"):
        snapshot(workspace, lambda spark, _: spark.table("outer_view"))
    spark.catalog.dropTempView("outer_view")
