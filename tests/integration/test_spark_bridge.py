"""Delta tables on a real Spark that has no Delta, and the server that the tests run on."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from millrace.core.errors import InvalidState, LawBroken, NotFound
from millrace.lake.adapters.delta import DeltaTableStore
from millrace.lake.adapters.spark_bridge import has_delta, read_version
from millrace.lake.port import SparkEngine
from millrace.lake.types import Location, Version
from millrace.testing.feature_tables import FeatureTables
from millrace.testing.spark_server import ENVIRONMENT

pytestmark = [pytest.mark.spark, pytest.mark.slow]

STORE = DeltaTableStore()
ROWS = pa.table({"k": [1, 2, 3], "place": ["a b/c%", None, "ä={x}*"], "v": [1.5, None, 3.5]})


class Miscounting(DeltaTableStore):
    """A log that has one row more than the files."""

    def rows(self, location: Location, version: Version | None = None) -> int:
        return super().rows(location, version) + 1


@pytest.fixture
def tables(tmp_path: Path) -> FeatureTables:
    return FeatureTables(tmp_path / "with space, {x} and ä")


def read(engine: SparkEngine, source: Any, store: DeltaTableStore = STORE) -> list[dict[str, object]]:
    session: Any = engine.session()
    with session.trusted():
        frame = read_version(session, store, source.location, source.table.version)
        rows: list[dict[str, object]] = frame.toArrow().to_pylist()
    return sorted(rows, key=lambda row: str(row["k"]))


def test_this_spark_has_no_delta(real_spark: SparkEngine) -> None:
    session: Any = real_spark.session()
    with session.trusted():
        assert not has_delta(session)


@pytest.mark.parametrize("partitions", [(), ("place",), ("k", "place")])
def test_each_version_is_read_as_it_was(
    real_spark: SparkEngine, tables: FeatureTables, partitions: tuple[str, ...]
) -> None:
    first = tables.make(ROWS, time=None, partitions=partitions)
    added = ROWS.append_column("new", pa.array([True, False, None])).set_column(0, "k", pa.array([4, 5, 6]))
    second = tables.append(first, added)
    changed = pa.table({"k": [1], "place": ["elsewhere"], "v": [9.5]})
    third = tables.merge(second, changed)
    for source in (first, second, third):
        stored = STORE.read(source.location, source.table.version).to_pylist()
        assert read(real_spark, source) == sorted(stored, key=lambda row: str(row["k"]))
    assert [row["k"] for row in read(real_spark, second)] == [1, 2, 3, 4, 5, 6]


def test_an_empty_version_has_its_columns(real_spark: SparkEngine, tables: FeatureTables) -> None:
    empty = tables.make(ROWS.slice(0, 0), time=None, commits=0)
    assert read(real_spark, empty) == []
    session: Any = real_spark.session()
    with session.trusted():
        assert read_version(session, STORE, empty.location, empty.table.version).columns == ["k", "place", "v"]


@pytest.mark.parametrize("partitions", [(), ("place",)])
def test_a_row_that_spark_does_not_find_is_not_overlooked(
    real_spark: SparkEngine, tables: FeatureTables, partitions: tuple[str, ...]
) -> None:
    source = tables.make(ROWS, time=None, partitions=partitions)
    with pytest.raises(LawBroken, match=r"finds 3 rows .* has 4 for version 1"):
        read(real_spark, source, Miscounting())


def test_files_that_are_gone(real_spark: SparkEngine, tables: FeatureTables) -> None:
    source = tables.make(ROWS, time=None)
    for path in source.files:
        Path(path).unlink()
    with pytest.raises(InvalidState, match="Spark can't read"):
        read(real_spark, source)
    shutil.rmtree(source.location)
    with pytest.raises(NotFound):
        read(real_spark, source, DeltaTableStore())


STARTS = """
import sys, time
from pathlib import Path
from millrace.testing.spark_server import temporary_spark
with temporary_spark(Path(sys.argv[1]), memory="512m") as url:
    print(url, flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv, of Debian's package util-linux")
def test_the_server_ends_when_the_process_that_started_it_is_killed(spark_remote: str, tmp_path: Path) -> None:
    environment = os.environ.get("MILLRACE_TEST_SPARK") or Path(__file__).parents[2] / ENVIRONMENT
    command, env = [sys.executable, "-c", STARTS, str(environment)], {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as parent:
        assert parent.stdout is not None
        url = parent.stdout.readline().strip()
        assert url.startswith("sc://127.0.0.1:")
        assert url != spark_remote
        parent.kill()
        parent.wait(60)
    port, until = int(url.rpartition(":")[2]), time.monotonic() + 60
    while _answers(port) and time.monotonic() < until:
        time.sleep(0.2)
    assert not _answers(port)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            return True
    except OSError:
        return False


def test_a_time_in_a_path_is_utc_whatever_the_sessions_zone(real_spark: SparkEngine, tables: FeatureTables) -> None:
    times = pa.array([datetime(2025, 3, 30, 1, 30, tzinfo=UTC), None], pa.timestamp("us", "UTC"))
    rows = pa.table({"k": [1, 2], "at": times, "v": [1.0, 2.0]})
    source = tables.make(rows, time=None, partitions=("at",))
    session: Any = real_spark.session()
    session.conf.set("spark.sql.session.timeZone", "Asia/Tokyo")
    try:
        assert read(real_spark, source) == rows.to_pylist()
    finally:
        session.conf.set("spark.sql.session.timeZone", "UTC")
