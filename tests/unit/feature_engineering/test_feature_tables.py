"""What a feature table can be told, through the client."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from millrace.core.errors import AlreadyExists, InvalidInput
from millrace.feature_engineering import FeatureEngineeringClient
from millrace.workspace import Workspace
from tests.unit.feature_engineering.customers import DAY, NOW, STAMP, T, history, lookup


def test_rules_owner_and_freshness_are_kept_and_may_change(client: FeatureEngineeringClient, name: str) -> None:
    made = client.create_table(
        name=name,
        primary_keys="customer_id",
        timeseries_column="ts",
        df=history(2),
        available_after=timedelta(hours=6),
        date_stands_for="start",
        freshness=11 * DAY,
        owner="team:growth",
    )
    assert (made.available_after, made.date_stands_for) == (timedelta(hours=6), "start")
    assert (made.freshness, made.owner, made.created_at) == (11 * DAY, "team:growth", NOW)
    found = client.table_freshness(name=name)
    assert (found.newest, found.age, found.verdict) == (T + 20 * DAY, 10 * DAY, "fresh")
    changed = client.update_table(name=name, description="new", owner="user:bob", freshness=9 * DAY)
    assert (changed.description, changed.owner, changed.freshness) == ("new", "user:bob", 9 * DAY)
    assert client.table_freshness(name=name).verdict == "late"


def test_with_rows_and_schema_the_schema_says_the_types(client: FeatureEngineeringClient, name: str) -> None:
    import pandas as pd

    schema = pa.schema({"id": pa.int64(), "x": pa.float64(), "later": pa.string()})
    client.create_table(name=name, primary_keys="id", df=pd.DataFrame({"id": [1], "x": [2]}), schema=schema)
    assert client.get_table(name=name).column_data_types == {"id": "int64", "x": "double", "later": "string"}
    assert client.read_table(name=name).collect()[0].asDict() == {"id": 1, "x": 2.0, "later": None}


def test_rows_that_are_refused_leave_no_table(
    client: FeatureEngineeringClient, workspace: Workspace, name: str
) -> None:
    for wrong in (pa.concat_tables([history(1), history(1)]), history(1).set_column(0, "customer_id", pa.nulls(3))):
        with pytest.raises(InvalidInput):
            client.create_table(name=name, primary_keys="customer_id", timeseries_column="ts", df=wrong)
        assert not workspace.lake.exists(name)


def test_rows_are_deleted_by_key_and_by_key_and_time(client: FeatureEngineeringClient, name: str) -> None:
    import pandas as pd
    import polars as pl

    client.create_table(name=name, primary_keys="customer_id", timeseries_column="ts", df=history(5))
    assert client.delete_rows(name=name, keys=pd.DataFrame({"customer_id": [1, 1, 99]})) == 3
    one = pl.DataFrame({"ts": [T], "customer_id": [2]}).with_columns(pl.col("ts").cast(pl.Datetime("us", "UTC")))
    assert client.delete_rows(name=name, keys=one) == 1
    assert client.delete_rows(name=name, keys=one) == 0
    left = client.read_table(name=name).toArrow().column("customer_id").to_pylist()
    assert sorted(left) == [0, 0, 0, 2, 2, 3, 3, 3, 4, 4, 4]
    with pytest.raises(InvalidInput, match="'customer_id' is large_string in the rows and int64"):
        client.delete_rows(name=name, keys=pd.DataFrame({"customer_id": ["3"]}))


def test_history_tells_each_version(client: FeatureEngineeringClient, name: str) -> None:
    client.create_table(name=name, primary_keys="customer_id", timeseries_column="ts", df=history(2))
    client.write_table(name=name, df=history(3))
    client.delete_rows(name=name, keys=pa.table({"customer_id": [0]}))
    told = [
        (one.version, one.operation, one.inserted, one.updated, one.deleted, one.rows)
        for one in client.table_history(name=name)
    ]
    assert told == [
        (2, "DELETE", 0, 0, 3, 6),
        (1, "MERGE", 3, 6, 0, 9),
        (0, "WRITE", 6, None, None, 6),
    ]
    newest = client.table_history(name=name, limit=1)
    assert [(one.version, one.at, one.why) for one in newest] == [(2, NOW, "delete by key")]
    assert newest[0].by is not None


def test_columns_may_come_and_never_change_their_type(client: FeatureEngineeringClient, name: str) -> None:
    import pandas as pd

    client.create_table(name=name, primary_keys="id", df=pd.DataFrame({"id": [1, 2], "x": [0.5, 1.5]}))
    client.write_table(name=name, df=pd.DataFrame({"id": [2, 3], "y": ["b", "c"]}))
    rows = sorted(tuple(row) for row in client.read_table(name=name).collect())
    assert rows == [(1, 0.5, None), (2, 1.5, "b"), (3, None, "c")]
    client.write_table(name=name, df=pd.DataFrame({"id": [1], "x": [7]}))  # a whole number fits a double
    for wrong in (pd.DataFrame({"id": [1], "x": ["7"]}), pd.DataFrame({"id": [1], "y": [7]})):
        with pytest.raises(InvalidInput, match="the table stores"):
            client.write_table(name=name, df=wrong)
    assert client.get_table(name=name).features == ["x", "y"]


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("region", pa.array(["it's", "a b", "c/d"])),
        ("shard", pa.array([-1, 0, 2**40])),
        ("day", pa.array([date(1969, 12, 31), date(2025, 1, 1), date(2025, 1, 2)])),
        ("flag", pa.array([True, False, True])),
    ],
)
def test_a_partitioned_table_answers_like_any_other(
    client: FeatureEngineeringClient, name: str, column: str, values: pa.Array
) -> None:
    keys, spend = pa.array([1, 2, 3]), pa.array([1.5, 2.5, 3.5])
    rows = pa.table({column: values, "id": keys, "ts": pa.array([T] * 3, STAMP), "spend": spend})
    client.create_table(
        name=name, primary_keys=[column, "id"], timeseries_column="ts", partition_columns=column, df=rows
    )
    client.write_table(name=name, df=rows.slice(0, 1).set_column(3, "spend", pa.array([9.5])))
    requests = rows.select([column, "id"]).append_column("at", pa.array([T, T, T - DAY], STAMP))
    asked = [lookup(name, feature_names=["spend"])]
    asked[0] = type(asked[0])(name, [column, "id"], feature_names=["spend"], timestamp_lookup_key="at")
    made = client.create_training_set(df=requests, feature_lookups=asked, label=None).to_arrow()
    assert made.column("spend").to_pylist() == [9.5, 2.5, None]
    assert made.column(column).to_pylist() == values.to_pylist()
    assert client.get_table(name=name).partition_columns == [column]


@pytest.mark.parametrize("rule", [{"partition_columns": "spend"}, {"freshness": -DAY}, {"date_stands_for": "noon"}])
def test_rules_that_can_not_be(client: FeatureEngineeringClient, name: str, rule: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        client.create_table(name=name, primary_keys="customer_id", timeseries_column="ts", df=history(1), **rule)
    client.create_table(name=name, primary_keys="customer_id", timeseries_column="ts", df=history(1))
    with pytest.raises(AlreadyExists):
        client.create_table(name=name, primary_keys="customer_id", timeseries_column="ts", df=history(1))


def test_a_date_is_the_end_of_its_day_unless_the_table_says_otherwise(
    client: FeatureEngineeringClient, name: str
) -> None:
    rows = pa.table({"id": [1], "day": [date(2025, 3, 10)], "x": [1.0]})
    asked = pa.table(
        {
            "id": [1] * 3,
            "at": pa.array(
                [datetime(2025, 3, 10, h, tzinfo=UTC) + d * DAY for h, d in ((0, 0), (10, 0), (0, 1))], STAMP
            ),
        }
    )
    for stands_for, expected in (("end", [None, None, 1.0]), ("start", [1.0, 1.0, 1.0])):
        client.create_table(
            name=f"{name}_{stands_for}",
            primary_keys="id",
            timeseries_column="day",
            date_stands_for=stands_for,  # type: ignore[arg-type]
            df=rows,
        )
        found = type(lookup(name))(f"{name}_{stands_for}", "id", timestamp_lookup_key="at")
        made = client.create_training_set(df=asked, feature_lookups=[found], label=None)
        assert made.to_arrow().column("x").to_pylist() == expected
