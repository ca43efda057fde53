from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.core.errors import AlreadyExists, InvalidInput, NotFound
from millrace.features.tables import (
    create_feature_table,
    delete_feature_rows,
    update_feature_table,
    write_feature_rows,
)
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
        ({"date_stands_for": "noon"}, "date_stands_for is 'noon'"),
        ({"freshness": timedelta(0)}, "freshness is not positive"),
        ({"partition_columns": ["x"]}, "'x' is double, which can't be a partition column"),
        ({"partition_columns": ["ts"]}, r"'ts' is timestamp\[us, tz=UTC\], which can't be a partition column"),
        ({"schema": pa.schema({"k": pa.int64(), "a=b": pa.string()}), "partition_columns": ["a=b"]}, "from a folder's"),
        ({"rows": pa.table({"k": [1, 1]})}, "1 keys come more than once"),
        ({"rows": pa.table({"k": ["1"]})}, "'k' is string in the rows and int64"),
        ({"rows": pa.table({"k": [1], "v": ["a"]})}, "column 'v' is string"),
    ],
)
def test_definitions_that_can_not_be(lake: Lake, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        create_feature_table(lake, NAME, **({"schema": SCHEMA, "primary_keys": "k"} | changes))
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


def test_first_rows_are_there_with_the_table(lake: Lake) -> None:
    first = rows((1, at(1), 10), (2, at(1), 20))
    entry = create_feature_table(
        lake, NAME, SCHEMA, primary_keys="k", timeseries_column="ts", rows=first, owner="team:growth"
    )
    assert stored(lake) == [(1, at(1), 10), (2, at(1), 20)]
    assert lake.schema(NAME) == SCHEMA
    assert (entry.owner, lake.pin(NAME).version) == ("team:growth", 0)
    with pytest.raises(AlreadyExists):
        create_feature_table(lake, NAME, SCHEMA, primary_keys="k", rows=rows((1, at(1), 1), (1, at(1), 1)))


def test_an_identity_is_there_once_over_all_partitions(lake: Lake) -> None:
    schema = SCHEMA.append(pa.field("part", pa.string()))
    create_feature_table(lake, NAME, schema, primary_keys="k", timeseries_column="ts", partition_columns=["part"])
    for part, value in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
        write_feature_rows(lake, NAME, rows((1, at(1), value)).append_column("part", pa.array([part])))
    assert lake.read(NAME, columns=["k", "v", "part"]).to_pylist() == [{"k": 1, "v": 4, "part": "c"}]


@pytest.mark.parametrize("partitions", [(), ("k",)])
def test_a_time_of_any_microsecond_and_a_text_of_any_length_are_found_again(
    lake: Lake, partitions: tuple[str, ...]
) -> None:
    # Files are skipped by statistics, which shorten long texts and, elsewhere, times to milliseconds.
    times = [at(1) + timedelta(microseconds=us) for us in (-1, 0, 1, 999, 1000, 1001)]
    texts = ["x" * 200, "x" * 200 + "y", "\U0010ffff" * 40, "it's"]
    batch = pa.table(
        {
            "k": pa.array([text for text in texts for _ in times]),
            "ts": pa.array(times * len(texts), STAMP),
            "v": [0] * len(texts) * len(times),
        }
    )
    partitions = partitions and ("p",)
    batch = batch.append_column("p", pa.array([index % 3 for index in range(len(batch))]))
    create_feature_table(
        lake,
        NAME,
        batch.schema,
        primary_keys=["k", *partitions],
        timeseries_column="ts",
        partition_columns=partitions,
        rows=batch,
    )
    write_feature_rows(lake, NAME, batch.set_column(2, "v", pa.array([1] * len(batch))))
    assert lake.read(NAME).column("v").to_pylist() == [1] * len(batch)
    assert delete_feature_rows(lake, NAME, batch.select(["k", *partitions, "ts"])).rows == len(batch)


KEYS = st.tuples(st.integers(1, 3), st.integers(1, 3).map(at))


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(there=st.sets(KEYS, max_size=6), gone=st.lists(KEYS, max_size=5), by_time=st.booleans())
def test_deleting_is_exact_and_twice_is_once(
    lake: Lake, *, there: set[tuple[int, datetime]], gone: list[tuple[int, datetime]], by_time: bool
) -> None:
    if lake.exists(NAME):
        lake.drop(NAME)
    create_feature_table(
        lake, NAME, SCHEMA, primary_keys="k", timeseries_column="ts", rows=rows(*((*key, 0) for key in sorted(there)))
    )
    keys = rows(*((*key, 0) for key in gone)).select(["k", "ts"] if by_time else ["k"])
    left = {key for key in there if (key not in gone if by_time else key[0] not in {k for k, _ in gone})}
    done = delete_feature_rows(lake, NAME, keys)
    assert {(k, ts) for k, ts, _ in stored(lake)} == left
    assert done.rows == len(there) - len(left)
    assert delete_feature_rows(lake, NAME, keys).table == done.table == lake.pin(NAME)


def test_a_long_list_of_keys_is_one_commit(lake: Lake) -> None:
    many = pa.table({"k": list(range(200_000)), "v": [0] * 200_000})
    create_feature_table(lake, NAME, many.schema, primary_keys="k", rows=many)
    done = delete_feature_rows(lake, NAME, pa.table({"k": pa.array(range(1, 300_000), pa.int64())}), "gone")
    assert (done.rows, done.table.version, lake.read(NAME).column("k").to_pylist()) == (199_999, 1, [0])
    assert lake.history(NAME)[-1].operation == "DELETE"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (pa.table({"ts": pa.array([at(1)], STAMP)}), "the keys for ml.features.t have no column 'k'"),
        (pa.table({"k": [1], "v": [1]}), "'v' is not a key.*\n.*give k, and ts for single rows"),
        (pa.table({"k": ["1"]}), "'k' is string in the rows and int64"),
        (pa.table({"k": [1], "ts": [date(2025, 1, 1)]}), "'ts' is date32"),
        (pa.table({"k": pa.array([1, None])}), "'k' is null in 1 of 2 keys"),
    ],
)
def test_keys_that_delete_nothing(lake: Lake, table: str, keys: pa.Table, message: str) -> None:
    write_feature_rows(lake, table, rows((1, at(1), 1)))
    with pytest.raises(InvalidInput, match=message):
        delete_feature_rows(lake, table, keys)
    assert len(stored(lake)) == 1


def test_what_may_change_changes_and_the_rest_stays(lake: Lake, table: str) -> None:
    before = lake.entry(table)
    after = update_feature_table(lake, table, description="new", owner="user:bob", freshness=timedelta(hours=3))
    assert lake.entry(table) == after
    assert (after.definition.description, after.owner) == ("new", "user:bob")
    assert after.definition.freshness == timedelta(hours=3)
    assert (after.id, after.definition.primary_keys, after.created_at) == (before.id, ("k",), before.created_at)
    assert update_feature_table(lake, table).owner == "user:bob"
    with pytest.raises(InvalidInput, match="not positive"):
        update_feature_table(lake, table, freshness=timedelta(0))
