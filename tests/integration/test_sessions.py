"""A session over a home: its tables by name, pinned where asked, and written by the lake's writer."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import millrace as mr
from millrace.core.errors import AlreadyExists, InvalidInput, NotFound
from millrace.core.names import TableName
from millrace.core.principal import Principal
from millrace.feature_engineering import FeatureEngineeringClient
from millrace.features.tables import create_feature_table
from millrace.lake.frames import tables_read, to_arrow
from millrace.workspace import Workspace, open_workspace

pytestmark = pytest.mark.slow

T = datetime(2025, 3, 1, 6, tzinfo=UTC)
DAY = timedelta(days=1)
NAMES = iter(range(10_000))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A home in virtual time; `bronze.t` has one row more in each of three versions, a day apart."""
    workspace = open_workspace(tmp_path_factory.mktemp("My Häuser") / "home", principal=Principal("user", "ada"))
    schema = pa.schema([("id", pa.int64()), ("x", pa.string())])
    for day in range(3):
        workspace.clock.set(T + day * DAY)
        workspace.lake.ensure("bronze.t", schema)
        workspace.lake.append("bronze.t", pa.table({"id": [day], "x": [f"row {day}"]}, schema=schema))
    workspace.lake.create("ml.f.t-2", schema, rows=pa.table({"id": [7], "x": ["seven"]}, schema=schema))
    workspace.lake.create("plain", schema, rows=pa.table({"id": [1], "x": ["one"]}, schema=schema))
    create_feature_table(workspace.lake, "ml.f.keyed", schema, primary_keys="id")
    yield workspace
    workspace.close()


@pytest.fixture
def spark(workspace: Workspace) -> Any:
    return workspace.spark.session()


@pytest.fixture
def fresh() -> str:
    """The name of a table that is not there yet."""
    return f"silver.new_{next(NAMES)}"


def ids(frame: Any) -> list[int]:
    return sorted(to_arrow(frame).column("id").to_pylist())


class TestReading:
    @pytest.mark.parametrize(
        ("spelled", "expected"),
        [
            ("bronze.t", [0, 1, 2]),
            ("main.bronze.t", [0, 1, 2]),
            ("`bronze`.`t`", [0, 1, 2]),
            ("plain", [1]),
            ("default.plain", [1]),
            ("ml.f.`t-2`", [7]),
        ],
    )
    def test_tables_are_there_under_one_two_and_three_levels(
        self, spark: Any, spelled: str, expected: list[int]
    ) -> None:
        assert ids(spark.table(spelled)) == expected
        assert ids(spark.read.table(spelled)) == expected
        assert ids(spark.sql(f"SELECT * FROM {spelled}")) == expected

    def test_columns_are_qualified_as_they_were_written(self, spark: Any) -> None:
        rows = spark.sql(
            "SELECT t.id, bronze.t.x, p.id AS other FROM bronze.t JOIN plain p ON t.id = p.id WHERE bronze.t.id > 0"
        ).collect()
        assert [tuple(row) for row in rows] == [(1, "row 1", 1)]

    def test_an_arrow_table_without_rows_is_a_frame_without_rows(self, spark: Any) -> None:
        none = pa.table({"id": pa.array([], pa.int64()), "at": pa.array([], pa.timestamp("us", "UTC"))})
        frame = spark.createDataFrame(none)
        assert (frame.count(), frame.dtypes) == (0, [("id", "bigint"), ("at", "timestamp")])
        assert spark.range(3).join(frame, "id", "left").count() == 3

    def test_arguments_and_frames_go_into_sql(self, spark: Any) -> None:
        assert ids(spark.sql("SELECT * FROM bronze.t WHERE id >= :low", {"low": 1})) == [1, 2]
        assert ids(spark.sql("SELECT * FROM bronze.t WHERE id = ?", [2])) == [2]
        found = spark.sql("SELECT t.* FROM bronze.t JOIN {some} s ON t.id = s.id", some=spark.range(1, 3))
        assert ids(found) == [1, 2]

    def test_versions_and_times_are_pinned_by_the_clock(self, spark: Any) -> None:
        assert ids(spark.read.option("versionAsOf", 1).table("bronze.t")) == [0]
        noon = (T + DAY + timedelta(hours=6)).isoformat()
        assert ids(spark.read.option("timestampAsOf", noon).table("bronze.t")) == [0, 1]
        found = spark.sql(
            f"SELECT a.* FROM bronze.t VERSION AS OF 2 a ANTI JOIN bronze.t TIMESTAMP AS OF '{T}' ON a.id = t.id"
        )
        assert ids(found) == [1]
        with pytest.raises(NotFound, match=r"bronze\.t has no version 99"):
            spark.read.option("versionAsOf", 99).table("bronze.t")
        with pytest.raises(NotFound, match="had no version yet"):
            spark.sql("SELECT * FROM bronze.t TIMESTAMP AS OF '1999-01-01'")
        with pytest.raises(InvalidInput, match="both given"):
            spark.read.option("versionAsOf", 1).option("timestampAsOf", noon).table("bronze.t")

    def test_a_pinned_session_pins_all_its_reads_and_no_others(self, spark: Any) -> None:
        past, first = spark.pinned(as_of=T + DAY), spark.pinned(versions={"bronze.t": 1})
        assert ids(past.table("bronze.t")) == ids(past.sql("SELECT * FROM bronze.t")) == [0, 1]
        assert ids(first.sql("SELECT * FROM bronze.t")) == [0]
        assert ids(spark.table("bronze.t").join(past.table("bronze.t").select("id"), "id")) == [0, 1]
        past.stop()
        assert ids(spark.table("bronze.t")) == [0, 1, 2]
        with pytest.raises(NotFound, match=r"bronze\.tt"):  # a slip of the pen would else read the newest version
            spark.pinned(versions={"bronze.tt": 1})

    def test_a_frame_stays_at_the_version_that_it_was_made_at(
        self, spark: Any, workspace: Workspace, fresh: str
    ) -> None:
        spark.range(2).write.saveAsTable(fresh)
        before = spark.table(fresh)
        spark.range(5).write.mode("append").saveAsTable(fresh)
        assert (before.count(), spark.table(fresh).count()) == (2, 7)
        assert workspace.lake.rows(fresh) == 7

    def test_what_a_frame_reads_is_known_and_a_training_set_records_it(self, spark: Any, workspace: Workspace) -> None:
        def read(frame: Any) -> list[str]:
            return [str(table) for table in tables_read(frame)]

        old = spark.read.option("versionAsOf", 1).table("bronze.t")
        joined = old.withColumnRenamed("x", "y").join(spark.table("plain"), "id", "left").where("id < 5")
        assert read(joined) == ["bronze.t@1", "default.plain@0"]
        assert read(spark.sql("SELECT id FROM bronze.t WHERE id IN (SELECT id FROM plain)")) == [
            "bronze.t@3",
            "default.plain@0",
        ]
        assert read(spark.range(3)) == []
        assert tables_read(pa.table({"id": [1]})) == ()
        client = FeatureEngineeringClient(workspace=workspace)
        made = client.create_training_set(df=old, feature_lookups=[], label=None, exclude_columns=["x"])
        assert made.record.tables == tables_read(old)

    def test_temporary_views_are_sparks_and_come_before_tables(self, spark: Any) -> None:
        spark.table("bronze.t").where("id > 0").createOrReplaceTempView("plain")
        try:
            assert ids(spark.table("plain")) == ids(spark.sql("SELECT * FROM plain")) == [1, 2]
        finally:
            spark.catalog.dropTempView("plain")
        spark.sql("CREATE TEMPORARY VIEW mine AS SELECT * FROM bronze.t WHERE id = 0")
        assert ids(spark.sql("WITH plain AS (SELECT * FROM mine) SELECT * FROM plain")) == [0]
        spark.catalog.dropTempView("mine")
        assert ids(spark.table("plain")) == [1]

    def test_what_nobody_knows_is_sparks_own_error(self, spark: Any) -> None:
        from pyspark.errors import AnalysisException

        with pytest.raises(AnalysisException):
            spark.table("bronze.nothing").count()
        with pytest.raises(AnalysisException):
            spark.sql("SELECT * FROM bronze.nothing").count()

    def test_frames_and_functions_stay_with_the_session(self, spark: Any) -> None:
        from pyspark.sql import functions as F  # noqa: N812 - the name that everybody gives it

        assert spark.table("bronze.t").where(F.col("id") > 0).sparkSession is spark
        double = spark.udf.register("double", lambda value: value * 2, "long")
        assert [row[0] for row in spark.sql("SELECT double(id) FROM plain").collect()] == [2]
        assert [row[0] for row in spark.table("plain").select(double("id")).collect()] == [2]


class TestWriting:
    def test_a_saved_table_is_in_the_catalog_with_who_and_when(
        self, spark: Any, workspace: Workspace, fresh: str
    ) -> None:
        workspace.clock.set(T + 5 * DAY)
        parted = spark.table("bronze.t").selectExpr("*", "id % 2 AS part")
        parted.write.partitionBy("part").saveAsTable(fresh)
        entry = workspace.lake.entry(fresh)
        assert entry.definition.partition_columns == ("part",)
        assert (entry.owner, entry.created_at) == ("user:ada", T + 5 * DAY)
        (info,) = workspace.lake.history(fresh)
        assert (info.at, info.by) == (T + 5 * DAY, "user:ada")
        assert sorted(workspace.lake.read(fresh).column("part").to_pylist()) == [0, 0, 1]

    def test_modes_mean_what_they_mean_in_spark(self, spark: Any, workspace: Workspace, fresh: str) -> None:
        two = spark.range(2)
        two.write.saveAsTable(fresh)
        with pytest.raises(AlreadyExists, match="exists"):
            two.write.saveAsTable(fresh)
        two.write.mode("ignore").saveAsTable(fresh)
        assert ids(workspace.lake.read(fresh)) == [0, 1]
        two.write.mode("append").format("delta").saveAsTable(fresh)
        assert ids(workspace.lake.read(fresh)) == [0, 0, 1, 1]
        two.selectExpr("id + 5 AS id", "'a' AS name").write.mode("overwrite").saveAsTable(fresh)
        assert workspace.lake.read(fresh).sort_by("id").to_pylist() == [{"id": 5, "name": "a"}, {"id": 6, "name": "a"}]
        spark.range(1).selectExpr("9 AS anything", "'b' AS other").write.insertInto(fresh)
        assert ids(workspace.lake.read(fresh)) == [5, 6, 9]

    def test_numbers_become_what_the_table_stores_if_nothing_is_lost(
        self, spark: Any, workspace: Workspace, fresh: str
    ) -> None:
        spark.sql(f"CREATE TABLE {fresh} (id BIGINT, x DOUBLE, d DECIMAL(10, 2), s STRING)")
        spark.sql(f"INSERT INTO {fresh} VALUES (1, 2.5, 3.25, NULL)")
        spark.sql(f"INSERT INTO {fresh} (x, id) SELECT 4, 2")
        kinds = workspace.lake.schema(fresh).types
        rows = workspace.lake.read(fresh).sort_by("id").to_pylist()
        assert rows[0] == {"id": 1, "x": 2.5, "d": Decimal("3.25"), "s": None}
        assert rows[1] == {"id": 2, "x": 4.0, "d": None, "s": None}
        spark.sql(f"INSERT OVERWRITE {fresh} VALUES (3, 1, 1.5, 'a')")
        assert workspace.lake.schema(fresh).types == kinds
        assert ids(spark.table(fresh)) == [3]
        spark.sql(f"INSERT OVERWRITE {fresh} (id) VALUES (3)")
        assert workspace.lake.read(fresh).to_pylist() == [{"id": 3, "x": None, "d": None, "s": None}]
        for lost in ("VALUES (1.5, 1, 1, 'a')", "VALUES (1, 1, 1.234, 'a')", "VALUES ('b', 1, 1, 'a')"):
            with pytest.raises(InvalidInput):
                spark.sql(f"INSERT INTO {fresh} {lost}")
        assert ids(spark.table(fresh)) == [3]

    def test_a_table_can_be_overwritten_with_what_was_read_from_it(self, spark: Any, fresh: str) -> None:
        spark.range(4).write.saveAsTable(fresh)
        spark.table(fresh).where("id > 1").write.mode("overwrite").saveAsTable(fresh)
        assert ids(spark.table(fresh)) == [2, 3]

    def test_write_to_has_its_own_modes(self, spark: Any, workspace: Workspace, fresh: str) -> None:
        two = spark.range(2)
        with pytest.raises(NotFound):
            two.writeTo(fresh).append()
        two.writeTo(fresh).using("delta").create()
        two.writeTo(fresh).append()
        assert ids(workspace.lake.read(fresh)) == [0, 0, 1, 1]
        two.writeTo(fresh).createOrReplace()
        assert ids(workspace.lake.read(fresh)) == [0, 1]
        with pytest.raises(InvalidInput, match="a part of a table"):
            two.writeTo(fresh).overwritePartitions()

    def test_sql_changes_tables_through_the_lake(self, spark: Any, workspace: Workspace, fresh: str) -> None:
        spark.sql(f"CREATE TABLE {fresh} (id BIGINT, at TIMESTAMP, name STRING) USING delta COMMENT 'of mine'")
        assert workspace.lake.entry(fresh).definition.description == "of mine"
        assert workspace.lake.schema(fresh).types == [pa.int64(), pa.timestamp("us", "UTC"), pa.string()]
        spark.sql(f"INSERT INTO {fresh} SELECT id, TIMESTAMP '2024-01-01 00:00:00', x FROM bronze.t")
        spark.sql(f"INSERT INTO {fresh} (name, id, at) VALUES ('it', 9, NULL)")
        assert ids(spark.table(fresh)) == [0, 1, 2, 9]
        spark.sql(f"DELETE FROM {fresh} WHERE name = 'it' OR id < 1")
        assert ids(spark.table(fresh)) == [1, 2]
        spark.sql(f"CREATE OR REPLACE TABLE {fresh} AS SELECT id FROM {fresh} WHERE id = 2")
        assert workspace.lake.read(fresh).to_pylist() == [{"id": 2}]
        spark.sql(f"INSERT OVERWRITE {fresh} VALUES (3L)")
        assert ids(spark.table(fresh)) == [3]
        spark.sql(f"DROP TABLE {fresh}")
        spark.sql(f"DROP TABLE IF EXISTS {fresh}")
        assert not workspace.lake.exists(fresh)

    @pytest.mark.parametrize(
        "text",
        [
            "MERGE INTO plain USING bronze.t ON plain.id = t.id WHEN MATCHED THEN DELETE",
            "UPDATE plain SET x = 'y'",
            "ALTER TABLE plain ADD COLUMN y INT",
            "TRUNCATE TABLE plain",
            "CREATE VIEW v AS SELECT * FROM plain",
            "CREATE TABLE silver.other USING parquet AS SELECT 1",
            "USE bronze",
            "INSERT INTO plain SELECT 1",
            "INSERT OVERWRITE plain (idd, x) VALUES (1, 'a')",
            "DELETE FROM plain WHERE upper(x) = 'ONE'",
        ],
    )
    def test_what_the_lake_has_no_writer_for_is_refused_with_a_hint(
        self, spark: Any, workspace: Workspace, text: str
    ) -> None:
        before = workspace.lake.pin("plain")
        with pytest.raises(InvalidInput) as refused:
            spark.sql(text)
        assert refused.value.hint
        assert workspace.lake.pin("plain") == before

    def test_feature_tables_have_a_writer_of_their_own(self, spark: Any, workspace: Workspace) -> None:
        rows = spark.table("bronze.t")
        before = workspace.lake.pin("ml.f.keyed")
        writes: list[Callable[[], object]] = [
            lambda: rows.write.mode("append").saveAsTable("ml.f.keyed"),
            lambda: rows.write.insertInto("ml.f.keyed"),
            lambda: rows.writeTo("ml.f.keyed").createOrReplace(),
            lambda: spark.sql("INSERT INTO ml.f.keyed SELECT * FROM bronze.t"),
            lambda: spark.sql("DROP TABLE ml.f.keyed"),
            lambda: spark.sql("DELETE FROM ml.f.keyed"),
            lambda: spark.catalog.dropTable("ml.f.keyed"),
        ]
        for write in writes:
            with pytest.raises(InvalidInput, match="has primary keys"):
                write()
        assert workspace.lake.pin("ml.f.keyed") == before

    def test_files_elsewhere_are_the_users_own_but_not_inside_the_warehouse(
        self, spark: Any, workspace: Workspace, tmp_path: Path
    ) -> None:
        spark.range(3).write.parquet(str(tmp_path / "rows"))
        assert spark.read.parquet(str(tmp_path / "rows")).count() == 3
        with pytest.raises(InvalidInput, match="inside the warehouse"):
            spark.range(3).write.format("delta").save(workspace.lake.entry("plain").location)
        with pytest.raises(InvalidInput, match="can't be stored as parquet"):
            spark.range(3).write.format("parquet").saveAsTable("silver.parquet")
        with pytest.raises(InvalidInput, match="place can't be chosen"):
            spark.range(3).write.option("path", str(tmp_path)).saveAsTable("silver.placed")

    def test_frames_of_other_libraries_become_sparks(self, spark: Any, fresh: str) -> None:
        import pandas as pd
        import polars as pl

        rows = {"id": [1, 2], "x": ["a", None]}
        for frame in (pd.DataFrame(rows), pl.DataFrame(rows), pl.LazyFrame(rows), pa.table(rows)):
            assert to_arrow(spark.createDataFrame(frame)).to_pylist() == [{"id": 1, "x": "a"}, {"id": 2, "x": None}]
        spark.createDataFrame(pl.DataFrame(rows)).write.saveAsTable(fresh)
        assert ids(spark.table(fresh)) == [1, 2]


class TestCatalog:
    def test_it_lists_the_workspace(self, spark: Any) -> None:
        catalog = spark.catalog
        assert (catalog.currentCatalog(), catalog.currentDatabase()) == ("main", "default")
        assert [found.name for found in catalog.listCatalogs()] == ["main", "ml"]
        assert {"bronze", "default", "f"} <= {found.name for found in catalog.listDatabases()}
        assert [(found.catalog, found.database, found.name) for found in catalog.listTables("bronze")] == [
            ("main", "bronze", "t")
        ]
        assert [found.name for found in catalog.listTables("ml.f", "t*")] == ["t-2"]
        assert [(found.name, found.dataType) for found in catalog.listColumns("plain")] == [
            ("id", "bigint"),
            ("x", "string"),
        ]
        assert catalog.getTable("bronze.t").tableType == "MANAGED"
        assert catalog.databaseExists("ml.f")
        assert not catalog.databaseExists("ml.g")

    def test_it_knows_tables_and_temporary_views(self, spark: Any) -> None:
        spark.range(1).createOrReplaceTempView("seen")
        try:
            assert all(map(spark.catalog.tableExists, ("bronze.t", "main.bronze.t", "plain", "seen")))
            assert not any(map(spark.catalog.tableExists, ("bronze.u", "unseen", "bronze.seen")))
            assert [found.name for found in spark.catalog.listTables("bronze", "seen")] == ["seen"]
        finally:
            spark.catalog.dropTempView("seen")
        assert not spark.catalog.tableExists("seen")

    def test_tables_are_made_and_dropped(self, spark: Any, workspace: Workspace, fresh: str) -> None:
        schema = spark.table("bronze.t").schema
        assert spark.catalog.createTable(fresh, schema=schema, description="mine").count() == 0
        assert workspace.lake.entry(fresh).definition.description == "mine"
        spark.catalog.dropTable(fresh)
        assert not workspace.lake.exists(fresh)

    def test_sql_shows_tables_columns_and_history(self, spark: Any) -> None:
        assert [tuple(row) for row in spark.sql("SHOW TABLES IN bronze").collect()] == [("bronze", "t", False)]
        assert [row.col_name for row in spark.sql("DESCRIBE bronze.t").collect()] == ["id", "x"]
        history = spark.sql("DESCRIBE HISTORY bronze.t").collect()
        assert [row.version for row in history] == [3, 2, 1, 0]
        assert history[0].timestamp == (T + 2 * DAY).replace(tzinfo=None)

    def test_the_current_schema_can_not_be_changed(self, spark: Any) -> None:
        spark.catalog.setCurrentDatabase("default")
        with pytest.raises(InvalidInput, match="current schema"):
            spark.catalog.setCurrentDatabase("bronze")
        with pytest.raises(InvalidInput, match="current catalog"):
            spark.catalog.setCurrentCatalog("ml")


class TestOnePerHome:
    def test_a_session_that_was_stopped_is_opened_again(self, tmp_path: Path) -> None:
        workspace = open_workspace(tmp_path / "home")
        try:
            workspace.spark.session().range(2).write.saveAsTable("bronze.t")
            workspace.spark.session().stop()
            assert workspace.spark.session().table("bronze.t").count() == 2
        finally:
            workspace.close()

    def test_a_home_that_is_opened_twice_has_one_session(self, workspace: Workspace) -> None:
        other = open_workspace(workspace.home, principal=Principal("user", "ada"))
        session = other.spark.session()
        assert session is workspace.spark.session()
        other.close()
        assert session.range(2).count() == 2

    def test_the_default_home_is_that_of_the_environment(self, tmp_path: Path) -> None:
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT],
            env={**os.environ, "MILLRACE_HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines() == ["True", "3", "2"]
        with_pin = mr.spark(home=tmp_path / "home", versions={TableName.parse("bronze.t"): 0})
        assert with_pin.table("bronze.t").count() == 2


_SCRIPT = """
import millrace as mr
spark = mr.spark()
spark.range(2).write.saveAsTable("bronze.t")
spark.range(1).write.mode("append").saveAsTable("bronze.t")
from pyspark.sql import SparkSession
print(mr.spark() is spark is SparkSession.getActiveSession() is SparkSession.builder.getOrCreate())
print(spark.table("bronze.t").count())
print(mr.spark(versions={"bronze.t": 0}).table("bronze.t").count())
"""
