"""Publishing what changed ends with the same content as publishing all."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable  # noqa: TID253 - compaction, which the lake does by itself only now and then
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.core.clock import ManualClock, epoch_us
from millrace.core.names import TableName
from millrace.core.principal import Principal
from millrace.database.engine import open_database
from millrace.features.adapters.lmdb_online import LmdbOnlineStore
from millrace.features.online import publish as publishing
from millrace.features.online.publish import publish, publish_table
from millrace.features.port import OnlineStore
from millrace.features.tables import create_feature_table, write_feature_rows
from millrace.features.types import OnlineRow
from millrace.lake.adapters.delta import DeltaTableStore
from millrace.lake.adapters.sql_catalog import SqlCatalog
from millrace.lake.lake import Lake

START = datetime(2025, 3, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
SCHEMA = pa.schema(
    {"a": pa.int32(), "b": pa.string(), "ts": pa.timestamp("us", "UTC"), "x": pa.float64(), "text": pa.string()}
)
KEYS = [(a, b) for a in (1, -2) for b in ("1", "1 1/ä")]
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory, clock: ManualClock) -> Iterator[Lake]:
    home = tmp_path_factory.mktemp("home")
    engine = open_database(f"sqlite:///{home / 'home.db'}")
    yield Lake(SqlCatalog(engine), DeltaTableStore(), clock, Principal("user", "ada"), str(home / "lake"))
    engine.dispose()


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OnlineStore, OnlineStore]]:
    one, two = (LmdbOnlineStore(tmp_path_factory.mktemp("online") / name) for name in ("triggered", "snapshot"))
    yield one, two
    one.close()
    two.close()


ROWS = st.dictionaries(
    st.tuples(st.sampled_from(KEYS), st.integers(0, 12)),
    st.tuples(st.sampled_from([0.0, -0.0, math.nan, 1.5, None]), st.sampled_from(["", "é", None])),
    min_size=1,
    max_size=5,
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("merge"), ROWS),
        st.tuples(st.just("delete"), st.sampled_from(["a = 1", "b = '1'", "x = 1.5", "text is null"])),
        st.tuples(st.just("compact"), st.none()),
        st.tuples(st.just("wait"), st.sampled_from([HOUR, 6 * HOUR, 20 * HOUR])),
    ),
    min_size=2,
    max_size=6,
)


TABLES = st.fixed_dictionaries(
    {
        "partition_columns": st.sampled_from([(), ("b",)]),
        "available_after": st.sampled_from([timedelta(0), 6 * HOUR]),
        "long_history": st.sampled_from([0, 1000]),
    }
)


def rows_of(cells: dict[Any, Any]) -> pa.Table:
    columns = [
        [key[0] for key, _ in cells],
        [key[1] for key, _ in cells],
        [START + 6 * HOUR * step for _, step in cells],
        [x for x, _ in cells.values()],
        [text for _, text in cells.values()],
    ]
    return pa.table([pa.array(values, field.type) for values, field in zip(columns, SCHEMA, strict=True)], SCHEMA)


def act(lake: Lake, clock: ManualClock, name: str, what: str, argument: Any) -> None:
    if what == "merge":
        write_feature_rows(lake, name, rows_of(argument))
    elif what == "delete":
        lake.delete(name, argument)
    elif what == "compact":
        DeltaTable(lake.entry(name).location).optimize.compact()
    else:
        clock.advance(argument)


def content(store: OnlineStore, name: str) -> list[str]:
    return [repr(rows) for rows in store.get(TableName.parse(name), KEYS)]


def kept(lake: Lake, name: str, newest: datetime) -> list[str]:
    """What should be online of each key, row by row; rows after `newest` wait."""
    version, found = lake.pin(name).version, []
    rows = sorted(lake.read(name).to_pylist(), key=lambda row: row["ts"], reverse=True)
    for key in KEYS:
        mine = [row for row in rows if (row["a"], row["b"]) == key]
        waiting, seen = [row for row in mine if row["ts"] > newest], [row for row in mine if row["ts"] <= newest]
        stored = [
            OnlineRow(epoch_us(row["ts"]), {"x": row["x"], "text": row["text"]}, version) for row in waiting + seen[:1]
        ]
        found.append(repr(stored or ()))
    return found


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(STEPS, TABLES)
def test_publishing_changes_equals_publishing_all(
    lake: Lake, clock: ManualClock, stores: tuple[OnlineStore, OnlineStore], steps: Any, table: dict[str, Any]
) -> None:
    triggered, snapshot = stores
    name = f"f.t{next(NUMBERS)}"
    clock.set(START)
    delay = table["available_after"]
    long_history = table.pop("long_history")
    create_feature_table(lake, name, SCHEMA, primary_keys=["a", "b"], timeseries_column="ts", **table)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publishing, "LONG_HISTORY", long_history)
        for number, (what, argument) in enumerate(steps):
            act(lake, clock, name, what, argument)
            done = publish_table(lake, triggered, name, as_of=clock.now(), mode="TRIGGERED")
            whole = publish(lake, snapshot, name, as_of=clock.now())
            assert (done.mode == "SNAPSHOT") is (number == 0), done.why  # the first is of the whole table
            assert done.table == whole
            assert triggered.table(whole.name) == whole
            assert content(triggered, name) == content(snapshot, name) == kept(lake, name, clock.now() - delay)


def test_only_what_changed_is_written(lake: Lake, clock: ManualClock, stores: tuple[OnlineStore, OnlineStore]) -> None:
    store, _ = stores
    schema = pa.schema({"k": pa.int64(), "v": pa.float64()})
    create_feature_table(lake, "f.plain", schema, primary_keys="k")
    write_feature_rows(lake, "f.plain", pa.table({"k": range(100), "v": [float(n) for n in range(100)]}))
    first = publish_table(lake, store, "f.plain", as_of=clock.now(), mode="TRIGGERED")
    assert (first.mode, first.written, first.why) == ("SNAPSHOT", 100, "it was not published before")
    # All rows are written again by the merge, in another file: two with other values, one is new.
    write_feature_rows(lake, "f.plain", pa.table({"k": range(101), "v": [*map(float, range(98)), -1.0, math.nan, 7.0]}))
    lake.delete("f.plain", "k < 10")
    done = publish_table(lake, store, "f.plain", as_of=clock.now(), mode="TRIGGERED")
    assert (done.mode, done.written, done.removed, done.table.keys, done.table.version) == ("TRIGGERED", 3, 10, 91, 3)
    again = publish_table(lake, store, "f.plain", as_of=clock.now(), mode="TRIGGERED")
    assert (again.mode, again.written, again.removed) == ("TRIGGERED", 0, 0)


def test_where_changes_are_not_enough_all_is_published_and_it_says_why(
    lake: Lake, clock: ManualClock, stores: tuple[OnlineStore, OnlineStore]
) -> None:
    store, _ = stores
    schema = pa.schema({"k": pa.int64(), "ts": pa.timestamp("us", "UTC"), "v": pa.float64()})

    def why(as_of: datetime | None = None) -> str:
        done = publish_table(lake, store, "f.again", as_of=as_of or clock.now(), mode="TRIGGERED")
        assert (done.mode == "SNAPSHOT") is bool(done.why)
        return done.why

    def write(**more: list[Any]) -> None:
        stamps = pa.array([clock.now()], schema.field("ts").type)
        write_feature_rows(lake, "f.again", pa.table({"k": [1], "ts": stamps, "v": [1.0]} | more))

    create_feature_table(lake, "f.again", schema, primary_keys="k", timeseries_column="ts")
    write()
    assert why() == "it was not published before"
    assert why() == ""
    clock.advance(HOUR)
    write(w=["new"])
    assert why() == "its columns changed"
    clock.advance(HOUR)
    assert (why(), why(clock.now() - HOUR)) == (
        "",
        f"it was published as of {clock.now():%Y-%m-%dT%H:%M:%SZ}, which is later",
    )
    lake.describe("f.again", available_after=HOUR)
    assert why() == "its definition changed"
    write(w=["x"], v=[2.0])
    assert why() == ""
    location = lake.entry("f.again").location
    old = set(lake.store.files(location))
    write(w=["y"], v=[3.0])
    for file in old - set(lake.store.files(location)):
        Path(file).unlink()  # as a vacuum does
    assert "is gone" in why()
    lake.drop("f.again")
    create_feature_table(lake, "f.again", schema, primary_keys="k", timeseries_column="ts")
    write()
    clock.advance(HOUR)
    assert why() == "another table of this name was published last"
