from __future__ import annotations

import pyarrow as pa
import pytest

from millrace.core.errors import InvalidInput
from millrace.lake.sql.predicate import delete_predicate
from millrace.lake.sql.statements import (
    CreateSchema,
    CreateTable,
    CreateView,
    Delete,
    Describe,
    Drop,
    Insert,
    Other,
    Query,
    ShowTables,
    Statement,
    statement,
)


def created(name: str, **changes: object) -> CreateTable:
    plain: dict[str, object] = {
        "is_replace": False,
        "is_optional": False,
        "columns": None,
        "query": None,
        "partitions": (),
        "provider": "",
        "comment": "",
    }
    return CreateTable(tuple(name.split(".")), **(plain | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT * FROM a", Query()),
        ("WITH a AS (SELECT 1) SELECT * FROM a", Query()),
        ("SHOW FUNCTIONS", Query()),
        ("CREATE FUNCTION f AS 'x'", Query()),
        ("DROP VIEW v", Query()),
        ("DESCRIBE FUNCTION f", Query()),
        ("CREATE TABLE a.b AS SELECT 1", created("a.b", query="SELECT 1")),
        (
            "create or replace table `a`.b using DELTA partitioned by (x, `y z`) comment 'it' as (select 1)",
            created(
                "a.b",
                is_replace=True,
                provider="delta",
                partitions=("x", "y z"),
                comment="it",
                query="(select 1)",
            ),
        ),
        (
            "CREATE TABLE IF NOT EXISTS t (id BIGINT, d DECIMAL(10, 2)) USING delta;",
            created("t", is_optional=True, columns="id BIGINT, d DECIMAL(10, 2)", provider="delta"),
        ),
        ("REPLACE TABLE t AS SELECT 1", created("t", is_replace=True, query="SELECT 1")),
        ("INSERT INTO t SELECT * FROM u", Insert(("t",), (), "SELECT * FROM u", is_overwrite=False)),
        ("INSERT INTO TABLE a.t (x, y) VALUES (1, 2)", Insert(("a", "t"), ("x", "y"), "VALUES (1, 2)", False)),
        ("INSERT INTO t (SELECT 1)", Insert(("t",), (), "(SELECT 1)", False)),
        ("INSERT OVERWRITE TABLE t TABLE u", Insert(("t",), (), "TABLE u", True)),
        ("DELETE FROM t", Delete(("t",), "")),
        ("DELETE FROM a.t WHERE x = 1 AND y", Delete(("a", "t"), "x = 1 AND y")),
        ("DROP TABLE IF EXISTS a.t", Drop(("a", "t"), is_optional=True)),
        ("DESC EXTENDED t", Describe(("t",), is_history=False)),
        ("DESCRIBE HISTORY a.t", Describe(("a", "t"), is_history=True)),
        ("SHOW TABLES", ShowTables(())),
        ("SHOW TABLES IN ml.features", ShowTables(("ml", "features"))),
        ("CREATE TEMP VIEW v AS SELECT 1", CreateView(("v",), "SELECT 1", is_replace=False, is_temporary=True)),
        ("CREATE OR REPLACE TEMPORARY VIEW v AS TABLE t", CreateView(("v",), "TABLE t", True, True)),
        ("CREATE VIEW v AS SELECT 1", CreateView(("v",), "SELECT 1", False, False)),
        ("CREATE SCHEMA IF NOT EXISTS ml.f", CreateSchema(("ml", "f"))),
        ("MERGE INTO a.t USING u ON x = y WHEN MATCHED THEN DELETE", Other("MERGE", ("a", "t"))),
        ("UPDATE t SET x = 1", Other("UPDATE", ("t",))),
        ("ALTER TABLE t ADD COLUMN x INT", Other("ALTER TABLE", ("t",))),
        ("TRUNCATE TABLE t", Other("TRUNCATE TABLE", ("t",))),
        ("VACUUM t", Other("VACUUM", ("t",))),
        ("USE ml", Other("USE", ())),
        ("WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a", Other("a query before INSERT", ())),
        ("CREATE TABLE t LIKE u", Other("CREATE TABLE with LIKE", ("t",))),
        ("DELETE FROM t AS a WHERE a.x", Other("DELETE with AS", ("t",))),
    ],
)
def test_a_statement_is_told_by_its_words(text: str, expected: Statement) -> None:
    assert statement(text) == expected


@pytest.mark.parametrize("text", ["INSERT t SELECT 1", "DROP TABLE", "CREATE TABLE t (a INT"])
def test_half_a_statement_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="this SQL should have"):
        statement(text)


SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("name", pa.string()),
        ("at", pa.timestamp("us", "UTC")),
        ("day", pa.date32()),
        ("on", pa.bool_()),
    ]
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("id = 1", '"id" = 1'),
        ("`id` == -1L", '"id" = -1'),
        ("id = 1 AND name <> 'it''s' OR NOT on = true", '(("id" = 1 AND "name" != \'it\'\'s\') OR (NOT "on" = TRUE))'),
        ("id NOT IN (1, 2)", '"id" NOT IN (1, 2)'),
        ("name IS NOT NULL AND (id BETWEEN 1 AND 3)", '("name" IS NOT NULL AND ("id" BETWEEN 1 AND 3))'),
        ("at < '2024-01-01'", "\"at\" < TIMESTAMP '2024-01-01T00:00:00Z'"),
        ("at >= TIMESTAMP '2024-01-01 06:00:00+02:00'", "\"at\" >= TIMESTAMP '2024-01-01T04:00:00Z'"),
        ("day = DATE '2024-01-01'", "\"day\" = DATE '2024-01-01'"),
    ],
)
def test_a_condition_that_both_engines_read_alike_is_passed_on(text: str, expected: str) -> None:
    assert delete_predicate(text, SCHEMA) == expected


@pytest.mark.parametrize(
    "text",
    [
        "id = '5'",
        "name = 5",
        "id / 2 = 1",
        "id <=> 1",
        "id IN (SELECT 1)",
        "id = 1 = 2",
        "id",
        "id = name",
        "name LIKE 'a%'",
        "(id = 1",
        "on = 1",
    ],
)
def test_a_condition_that_engines_may_read_in_two_ways_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="rows can't be deleted by the condition"):
        delete_predicate(text, SCHEMA)


def test_an_unknown_column_is_named() -> None:
    with pytest.raises(InvalidInput, match="there is no column 'nam'"):
        delete_predicate("nam = 'x'", SCHEMA)
