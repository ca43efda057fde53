from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.core.errors import AlreadyExists, InvalidInput, NotFound
from millrace.features.tables import create_feature_table, write_feature_rows
from millrace.lake.lake import Lake

STAMP = pa.timestamp("us", "UTC")
INT = pa.int64()
SCHEMA = pa.schema({"k": pa.int64(), "ts": STAMP, "v": pa.int64(), "x": pa.float64()})
NAME = "ml.features.t"


def at(day: int) -> datetime:
    return datetime(2025, 1, day, tzinfo=UTC)


def rows(*of: tuple[Any, Any, Any], time: pa.DataType = STAMP, key: pa.DataType = INT) -> pa.Table:
    keys, times, values = zip(*of, strict=True) if of else ((), (), ())
    return pa.table({"k": pa.array(keys, key), "ts": pa.array(times, time), "v": pa.array(values, pa.int64())})


@pytest.fixture
def table(lake: Lake) -> str:
    create_feature_table(lake, NAME, SCHEMA, primary_keys="k", timeseries_column="ts")
    return NAME


def stored(lake: Lake) -> list[tuple[Any, ...]]:
    return sorted(tuple(row.values()) for row in lake.read(NAME, columns=["k", "ts", "v"]).to_pylist())


def test_its_definition_is_kept(lake: Lake) -> None:
    entry = create_feature_table(
        lake,
        NAME,
        SCHEMA,
        primary_keys=["k", "ts"],
        timeseries_column="ts",
        available_after=timedelta(hours=6),
        date_stands_for="start",
        description="d",
        tags={"a": "b"},
    )
    kept = lake.entry(NAME).definition
    assert entry.definition == kept
    assert (kept.primary_keys, kept.timeseries_column, kept.role) == (("k",), "ts", "features")
    assert (kept.available_after, kept.date_stands_for, kept.description) == (timedelta(hours=6), "start", "d")
    with pytest.raises(AlreadyExists):
        create_feature_table(lake, NAME, SCHEMA, primary_keys="k")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"primary_keys": []}, "needs a primary key"),
        ({"primary_keys": ["k", "k"]}, "twice"),
        ({"primary_keys": ["kk"]}, "no column 'kk'.*\n.*did you mean 'k'"),
        ({"primary_keys": ["x"]}, "'x' is double, which can't be a key"),
        ({"timeseries_column": "v"}, "'v' is int64, not a time"),
        ({"timeseries_column": "tss"}, "no column 'tss'"),
        ({"partition_columns": ["p"]}, "no column 'p'"),
        ({"available_after": timedelta(-1), "timeseries_column": "ts"}, "can't be negative"),
        ({"available_after": timedelta(1)}, "needs a timeseries column"),
    ],
)
def test_definitions_that_can_not_be(lake: Lake, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        create_feature_table(lake, NAME, SCHEMA, **({"primary_keys": "k"} | changes))
    assert not lake.exists(NAME)


def test_a_write_replaces_by_key_and_time(lake: Lake, table: str) -> None:
    write_feature_rows(lake, table, rows((1, at(1), 10), (1, at(2), 20)))
    written = write_feature_rows(lake, table, rows((1, at(2), 21), (2, at(2), 30)))
    assert stored(lake) == [(1, at(1), 10), (1, at(2), 21), (2, at(2), 30)]
    assert written == lake.pin(table)
    assert write_feature_rows(lake, table, rows()) == written


BATCH = st.dictionaries(st.tuples(st.integers(1, 3), st.integers(1, 3).map(at)), st.integers(0, 9), max_size=4)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=BATCH, second=BATCH)
def test_law_5_writing_twice_is_writing_once(lake: Lake, first: dict[Any, int], second: dict[Any, int]) -> None:
    if lake.exists(NAME):
        lake.drop(NAME)
    create_feature_table(lake, NAME, SCHEMA, primary_keys="k", timeseries_column="ts")
    for batch in (first, first, second, second):
        write_feature_rows(lake, NAME, rows(*((*key, value) for key, value in batch.items())))
    assert stored(lake) == sorted((*key, value) for key, value in (first | second).items())


def test_duplicates_are_refused_with_five_of_them(lake: Lake, table: str) -> None:
    twice = rows(*((key, at(1), value) for key in range(7) for value in (1, 2)), (99, at(1), 1))
    with pytest.raises(InvalidInput) as caught:
        write_feature_rows(lake, table, twice)
    assert caught.value.message.startswith(
        "7 keys come more than once in the rows for ml.features.t: k=0, ts=2025-01-01T00:00:00Z; "
    )
    assert caught.value.facts["duplicates"] == 7
    assert caught.value.facts["keys"] == [(key, at(1)) for key in range(5)]
    assert stored(lake) == []


def test_the_same_instant_in_another_zone_is_a_duplicate(lake: Lake, table: str) -> None:
    with pytest.raises(InvalidInput, match="1 keys come more than once"):
        write_feature_rows(lake, table, rows((1, at(1), 1), (1, at(1), 2), time=pa.timestamp("ms", "Asia/Tokyo")))


@pytest.mark.parametrize(("key", "time", "column"), [(None, at(1), "k"), (1, None, "ts")])
def test_nulls_in_the_identity_are_refused(lake: Lake, table: str, key: object, time: object, column: str) -> None:
    with pytest.raises(InvalidInput, match=f"'{column}' is null in 1 of 2 rows"):
        write_feature_rows(lake, table, rows((2, at(1), 1), (key, time, 1)))


def test_other_writes_that_are_refused(lake: Lake, table: str) -> None:
    with pytest.raises(InvalidInput, match=r"mode 'overwrite'\n.*delete the rows, or drop"):
        write_feature_rows(lake, table, rows((1, at(1), 1)), mode="overwrite")
    with pytest.raises(InvalidInput, match="no column 'ts'"):
        write_feature_rows(lake, table, rows((1, at(1), 1)).drop_columns(["ts"]))
    with pytest.raises(InvalidInput, match="'k' is string in the rows and int64"):
        write_feature_rows(lake, table, rows(("1", at(1), 1), key=pa.string()))
    with pytest.raises(InvalidInput, match="'ts' is date32"):
        write_feature_rows(lake, table, rows((1, date(2025, 1, 1), 1), time=pa.date32()))
    with pytest.raises(InvalidInput, match="microseconds"):
        write_feature_rows(lake, table, rows((1, 1, 1), time=pa.timestamp("ns", "UTC")))
    with pytest.raises(InvalidInput):
        write_feature_rows(lake, table, rows((1, at(1), 1)).set_column(2, "v", pa.array(["text"])))
    with pytest.raises(NotFound):
        write_feature_rows(lake, "ml.features.other", rows((1, at(1), 1)))
    lake.create("plain", SCHEMA)
    with pytest.raises(InvalidInput, match="not a feature table"):
        write_feature_rows(lake, "plain", rows((1, at(1), 1)))
    assert stored(lake) == []
