"""Feature code on the embedded Spark: at a time, over tables by name, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace.core.errors import InvalidInput, InvalidState, NotFound
from millrace.core.names import TableName
from millrace.core.principal import Principal
from millrace.lake.adapters.delta import DeltaTableStore
from millrace.lake.adapters.sail import SailEngine
from millrace.lake.adapters.spark_connect import SparkConnectEngine
from millrace.lake.frames import to_arrow
from millrace.lake.types import CommitInfo, Location, TableDefinition, Version

pytestmark = pytest.mark.slow

NOW = datetime(2024, 2, 29, 23, 30, tzinfo=UTC)
COMMIT = CommitInfo(NOW, Principal("user", "ada"), "a test")
SOURCES = ("bronze.t", "ml.features.t", "plain", "my-cat.s.t-1")
SPELLED = (
    ("bronze.t", "bronze.t"),
    ("bronze.t", "main.bronze.t"),
    ("ml.features.t", "ml.features.t"),
    ("plain", "plain"),
    ("plain", "default.plain"),
    ("plain", "main.default.plain"),
    ("my-cat.s.t-1", "`my-cat`.s.`t-1`"),
)


@pytest.fixture(scope="module")
def engine() -> Iterator[SailEngine]:
    engine = SailEngine(threads=2)
    yield engine
    engine.close()


@pytest.fixture
def location(tmp_path: Path) -> Location:
    location = Location(str(tmp_path / "My Häuser" / "t"))
    store = DeltaTableStore()
    schema = pa.schema([("id", pa.int64()), ("money", pa.decimal128(18, 2)), ("at", pa.timestamp("us", tz="UTC"))])
    store.create(location, schema, TableDefinition(), COMMIT)
    for i in range(3):
        rows = pa.table({"id": [i], "money": [Decimal("0.10")], "at": [NOW]}, schema=schema)
        store.append(location, rows, COMMIT)
    return location


def test_a_frame_reads_one_version_and_types_come_back(engine: SailEngine, location: Location) -> None:
    assert [engine.read(location, Version(version)).count() for version in range(4)] == [0, 1, 2, 3]
    found = to_arrow(engine.read(location, Version(3)).orderBy("id"))
    assert found.schema == DeltaTableStore().schema(location)
    assert found.to_pylist() == [{"id": i, "money": Decimal("0.10"), "at": NOW} for i in range(3)]


def test_a_nan_beside_equal_numbers_is_read_from_tables_and_files(engine: SailEngine, tmp_path: Path) -> None:
    rows, location = pa.table({"id": [1, 2], "x": [1.5, float("nan")]}), Location(str(tmp_path / "t"))
    DeltaTableStore().create(location, rows.schema, TableDefinition(), COMMIT, rows)
    frame = engine.read(location, Version(0))
    assert sorted(map(str, frame.toArrow()["x"].to_pylist())) == ["1.5", "nan"]
    # Spark takes NaN for greater than any number.
    assert [each.id for each in frame.where("x > 2").collect()] == [2]
    assert [each.id for each in frame.where("isnan(x)").collect()] == [2]
    assert frame.where("x = 1.5D").count() == 1
    pq.write_table(rows, tmp_path / "rows.parquet")
    stored = engine.session().read.parquet(str(tmp_path / "rows.parquet")).toArrow()
    assert sorted(map(str, stored["x"].to_pylist())) == ["1.5", "nan"]


@pytest.mark.parametrize(("name", "spelled"), SPELLED)
def test_tables_are_read_by_name(engine: SailEngine, location: Location, name: str, spelled: str) -> None:
    frames = {TableName.parse(source): engine.read(location, Version(1)) for source in SOURCES}
    frames[TableName.parse(name)] = engine.read(location, Version(3)).where("id > 0")
    with engine.at(NOW, frames) as session:
        assert session.table(spelled).count() == 2
        assert session.sql(f"SELECT count(*) AS n FROM {spelled}").collect()[0].n == 2


def test_a_name_follows_its_frame_when_the_columns_change(engine: SailEngine, location: Location) -> None:
    name = TableName.parse("silver.t")
    for columns in (["id"], ["id", "money"], ["money"], ["id"]):
        with engine.at(NOW, {name: engine.read(location, Version(3)).select(*columns)}) as session:
            assert session.table("silver.t").columns == columns
            assert session.table("silver.t").count() == 3


def test_what_is_not_given_can_not_be_read(engine: SailEngine, location: Location) -> None:
    with engine.at(NOW, {TableName.parse("gold.t"): engine.read(location, Version(3))}):
        pass
    with engine.at(NOW, {}) as session:
        with pytest.raises(NotFound, match=r"gold\.t"):
            session.table("gold.t").count()
        with pytest.raises(NotFound, match=r"gold\.t"):
            session.sql("SELECT * FROM gold.t").count()


def test_now_is_the_time_that_was_given(engine: SailEngine) -> None:
    from pyspark.sql import functions as F  # noqa: N812 - the name that everybody gives it

    for moment in (NOW, datetime(1997, 12, 31, tzinfo=UTC)):
        naive = moment.replace(tzinfo=None)
        with engine.at(moment, {}) as session:
            (row,) = session.sql(
                "SELECT current_date(), current_timestamp(), now(), localtimestamp(), curdate()"
            ).collect()
            assert tuple(row) == (moment.date(), naive, naive, naive, moment.date())
            frame = session.range(3).select(F.datediff(F.current_date(), F.lit(date(1997, 1, 1))), F.now())
            assert {tuple(row) for row in frame.collect()} == {((moment.date() - date(1997, 1, 1)).days, naive)}


def test_afterwards_it_is_the_machines_time_again(engine: SailEngine) -> None:
    with engine.at(NOW, {}):
        pass
    (row,) = engine.session().sql("SELECT current_timestamp() AS now").collect()
    assert abs(datetime.now(UTC) - row.now.replace(tzinfo=UTC)).total_seconds() < 3600


def test_one_time_inside_another_is_refused(engine: SailEngine) -> None:
    with engine.at(NOW, {}), pytest.raises(InvalidState, match="run them in turn"), engine.at(NOW, {}):
        pass
    with pytest.raises(InvalidInput), engine.at("2024-01-01", {}):
        pass


def test_threads_take_turns_and_never_see_each_others_time(engine: SailEngine) -> None:
    seen: dict[int, date] = {}

    def run(year: int) -> None:
        with engine.at(datetime(year, 5, 6, tzinfo=UTC), {}) as session:
            time.sleep(0.01)
            seen[year] = session.sql("SELECT current_date() AS d").collect()[0].d

    threads = [threading.Thread(target=run, args=(year,)) for year in range(2001, 2007)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert seen == {year: date(year, 5, 6) for year in range(2001, 2007)}


def test_an_error_in_feature_code_leaves_the_engine_usable(engine: SailEngine) -> None:
    def fail() -> None:
        with engine.at(NOW, {}):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with engine.at(NOW, {}) as session:
        assert session.range(2).count() == 2


def test_feature_code_finds_the_session_as_on_a_cluster(engine: SailEngine) -> None:
    with engine.at(NOW, {}) as session:
        from pyspark.sql import SparkSession

        assert session is engine.session()
        assert SparkSession.builder.appName("x").getOrCreate() is session
        assert SparkSession.getActiveSession() is session


def test_python_functions_run(engine: SailEngine) -> None:
    from pyspark.sql import functions as F  # noqa: N812 - the name that everybody gives it

    double = F.udf(lambda value: value * 2, "long")
    assert [row[0] for row in engine.session().range(3).select(double("id")).collect()] == [0, 2, 4]


_LIFE = """
import os, sys, time
os.environ["TZ"] = "America/New_York"
time.tzset()
from datetime import UTC, datetime
from millrace.lake.adapters.sail import SailEngine
engine = SailEngine(threads=1)
with engine.at(datetime(2024, 7, 1, 12, tzinfo=UTC), {}) as session:
    print(session.sql("SELECT current_timestamp() AS t").collect()[0].t)
if sys.argv[1] == "close":
    engine.close()
    engine.close()
    print(engine.session().range(3).count())
    engine.close()
"""


# Ctrl-C, which stops the server too, when the session is made but not yet set up.
_INTERRUPTED = """
from pyspark.sql.connect.conf import RuntimeConf
from millrace.lake.adapters.sail import SailEngine

def interrupt(*_):
    engine._server.stop()
    raise KeyboardInterrupt

engine, RuntimeConf.set = SailEngine(1), interrupt
engine.session()
"""


def test_a_process_ends_at_once_that_is_interrupted_while_its_session_opens(tmp_path: Path) -> None:
    program = tmp_path / "program.py"  # PySpark wants a main module that has a file
    program.write_text(_INTERRUPTED)
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=200, check=False)
    assert "\nKeyboardInterrupt\n" in done.stderr


@pytest.mark.parametrize("how", ["close", "just end"])
def test_the_interpreter_ends_quietly_whether_closed_or_not(how: str) -> None:
    done = subprocess.run([sys.executable, "-c", _LIFE, how], capture_output=True, text=True, timeout=200, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    # The same answer in every time zone that the machine may have.
    assert done.stdout.splitlines() == ["2024-07-01 12:00:00"] + ["3"] * (how == "close")


def test_a_remote_spark_reads_the_same_tables_and_keeps_its_own_clock(engine: SailEngine, location: Location) -> None:
    engine.session()
    remote = SparkConnectEngine(os.environ["SPARK_REMOTE"])
    try:
        assert remote.session() is remote.session()
        linked = Path(location).parent.parent / "plain"
        linked.symlink_to(location, target_is_directory=True)
        frame = remote.read(Location(str(linked)), Version(2))
        with remote.at(NOW, {TableName.parse("plain"): frame}) as session:
            assert session.table("plain").count() == 2
            with pytest.raises(InvalidInput, match="the Spark cluster's own time"):
                session.sql("SELECT current_date() AS d")
        before = datetime.now(UTC).date()
        assert before <= remote.session().sql("SELECT current_date() AS d").collect()[0].d <= datetime.now(UTC).date()
    finally:
        remote.close()
        remote.close()


def test_no_spark_at_the_address_is_said() -> None:
    with pytest.raises(InvalidState, match="no Spark at"):
        SparkConnectEngine("not-a-url").session()
