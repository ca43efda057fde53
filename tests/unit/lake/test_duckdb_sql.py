from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from millrace.core.clock import ManualClock
from millrace.core.errors import InvalidInput, InvalidState, MillraceError
from millrace.core.principal import system
from millrace.database.engine import open_database
from millrace.lake.adapters.delta import DeltaTableStore
from millrace.lake.adapters.duckdb_sql import DuckDbSql
from millrace.lake.adapters.sql_catalog import SqlCatalog
from millrace.lake.lake import Lake
from millrace.lake.types import TableDefinition

NOW = datetime(2025, 3, 1, 6, tzinfo=UTC)
Read = Callable[[str], pa.Table]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    catalog = SqlCatalog(open_database("sqlite://"))
    return Lake(catalog, DeltaTableStore(), ManualClock(NOW), system("test"), str(tmp_path / "warehouse"))


@pytest.fixture
def read(lake: Lake) -> Read:
    return lambda sql: DuckDbSql(lake, 1).read(sql, NOW)


def fill(lake: Lake, name: str, rows: pa.Table, definition: TableDefinition | None = None) -> None:
    lake.ensure(name, rows.schema, definition)
    lake.append(name, rows)


def scores(*values: float) -> pa.Table:
    return pa.table({"score": values})


def test_tables_have_all_their_names(lake: Lake, read: Read) -> None:
    fill(lake, "ml.monitoring.summary", scores(0.1, 0.3))
    fill(lake, "bronze.summary", scores(5.0))
    fill(lake, "plain", scores(7.0))
    assert read("SELECT max(score) AS m FROM ml.monitoring.summary").to_pylist() == [{"m": 0.3}]
    assert read('SELECT * FROM "ml"."monitoring"."summary" AS s WHERE s.score > 0.2').to_pylist() == [{"score": 0.3}]
    assert read("SELECT score FROM bronze.summary").to_pylist() == [{"score": 5.0}]
    assert read("SELECT score FROM main.bronze.summary").to_pylist() == [{"score": 5.0}]
    assert read("WITH p AS (FROM plain) SELECT p.score + s.score AS t FROM p, bronze.summary AS s").to_pylist() == [
        {"t": 12.0}
    ]


def test_old_files_lack_new_columns_and_partitions_keep_their_type(lake: Lake, read: Read) -> None:
    day = pa.table({"day": [date(2025, 2, 1), None], "n": [1, 2]})
    fill(lake, "parted", day, TableDefinition(partition_columns=("day",)))
    lake.append("parted", pa.table({"day": [date(2025, 2, 2)], "n": [3], "more": ["x"]}))
    found = read("SELECT * FROM parted ORDER BY n")
    assert found.column_names == lake.schema("parted").names
    assert found.to_pylist() == [
        {"day": date(2025, 2, 1), "n": 1, "more": None},
        {"day": None, "n": 2, "more": None},
        {"day": date(2025, 2, 2), "n": 3, "more": "x"},
    ]


def test_an_empty_table_has_its_columns(lake: Lake, read: Read) -> None:
    lake.ensure("empty", pa.schema([("score", pa.float64()), ("made", pa.timestamp("us", "UTC"))]))
    assert read("SELECT * FROM empty WHERE made > now()").column_names == ["score", "made"]


def test_rows_that_were_replaced_are_gone_and_order_is_kept(lake: Lake, read: Read) -> None:
    fill(lake, "t", scores(1.0, 2.0))
    lake.overwrite("t", scores(9.0, 3.0, 4.0))
    assert read("SELECT score FROM t ORDER BY score DESC").column("score").to_pylist() == [9.0, 4.0, 3.0]
    assert DuckDbSql(lake, 1).read("SELECT score FROM t ORDER BY score", NOW, limit=1).to_pylist() == [{"score": 3.0}]
    assert len(DuckDbSql(lake, 1).read("SELECT * FROM range(100000)", NOW, limit=10)) == 10


def test_the_clock_tells_the_time(read: Read) -> None:
    for now in ("now()", "current_timestamp", "get_current_timestamp()", "transaction_timestamp()"):
        assert read(f"SELECT {now} AS t").column("t").to_pylist() == [NOW]
    assert read("SELECT current_date AS d, today() AS t").to_pylist() == [{"d": NOW.date(), "t": NOW.date()}]
    assert read("SELECT localtimestamp AS t").to_pylist() == [{"t": NOW.replace(tzinfo=None)}]


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM t",
        "INSERT INTO t VALUES (1)",
        "CREATE TABLE x AS SELECT 1",
        "COPY t TO 'out.csv'",
        "ATTACH 'other.db'",
        "SET threads = 7",
        "PRAGMA database_list",
        "INSTALL httpfs",
        "SELECT 1; SELECT 2",
        "",
        "SELEC 1",
    ],
)
def test_what_is_not_one_select_is_refused(lake: Lake, read: Read, sql: str, tmp_path: Path) -> None:
    fill(lake, "t", scores(1.0))
    with pytest.raises(InvalidInput) as caught:
        read(sql)
    assert caught.value.hint
    assert lake.rows("t") == 1
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("source", ["read_csv('{file}')", "'{file}'", "read_text('{file}')", "glob('{folder}/*')"])
def test_files_can_not_be_read(read: Read, tmp_path: Path, source: str) -> None:
    file = tmp_path / "secret.csv"
    file.write_text("a\ns3cret\n")
    with pytest.raises(MillraceError) as caught:
        read(f"SELECT * FROM {source.format(file=file, folder=tmp_path)}")
    assert "s3cret" not in str(caught.value)


def test_variables_of_the_program_can_not_be_read(read: Read) -> None:
    private = pa.table({"a": [1]})
    with pytest.raises(InvalidInput, match="private does not exist"):
        read("SELECT * FROM private")
    del private


def test_mistakes_name_what_there_is(lake: Lake, read: Read) -> None:
    fill(lake, "ml.monitoring.summary", scores(1.0))
    with pytest.raises(InvalidInput, match="scor") as caught:
        read("SELECT scor FROM ml.monitoring.summary")
    assert '"score"' in str(caught.value)
    with pytest.raises(InvalidInput) as caught:
        read("SELECT score FROM ml.monitoring.sumary")
    assert "did you mean 'ml.monitoring.summary'?" in caught.value.hint


def test_what_takes_too_long_is_stopped(lake: Lake) -> None:
    endless = "SELECT count(*) FROM range(10000000000) AS a(x), range(1000) AS b(y) WHERE x * y % 7 = 3"
    with pytest.raises(InvalidState, match=r"longer than 0\.2 s"):
        DuckDbSql(lake, 1, timeout_s=0.2).read(endless, NOW)


def bound(lake: Lake, sql: str, **parameters: str) -> list[object]:
    rows: list[object] = DuckDbSql(lake, 1).read(sql, NOW, parameters=parameters).column(0).to_pylist()
    return rows


def test_a_parameter_is_a_value_and_never_a_piece_of_sql(lake: Lake) -> None:
    fill(lake, "ml.m.people", pa.table({"name": ["Ana", "x' OR 'a'='a"], "age": [30, 40]}))
    asked = "SELECT age FROM ml.m.people WHERE name = :who"
    assert bound(lake, asked, who="Ana") == [30]
    assert bound(lake, asked, who="x' OR 'a'='a") == [40]
    assert bound(lake, "SELECT name FROM ml.m.people WHERE age >= :least AND age < :least::int + 5", least="30") == [
        "Ana"
    ]


def test_a_colon_in_a_text_a_cast_or_a_slice_is_no_parameter(lake: Lake) -> None:
    assert bound(lake, "SELECT 'ü :no' || :x::varchar || [1,2,3][1:2]::varchar -- :nor\n", x="1") == ["ü :no1[1, 2]"]


@pytest.mark.parametrize(
    ("sql", "given", "message"),
    [
        ("SELECT :sinse", {"since": "1"}, "the query has :sinse, and there is no such parameter"),
        ("SELECT 1", {"since": "1"}, "the query has no :since, which is a parameter"),
        ("SELECT :day", {}, "the query has :day, and there is no such parameter"),
    ],
)
def test_markers_and_parameters_must_be_the_same(lake: Lake, sql: str, given: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        bound(lake, sql, **given)
