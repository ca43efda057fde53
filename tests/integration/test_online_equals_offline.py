"""L8: what a request gets at T is what batch scoring gets for the same keys at T, to the last bit."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.core.clock import ManualClock, epoch_us
from millrace.core.errors import NotFound
from millrace.core.principal import Principal
from millrace.database.engine import open_database
from millrace.features.adapters.arrow_asof import ArrowAsOfJoin
from millrace.features.adapters.lmdb_online import LmdbOnlineStore
from millrace.features.adapters.redis_online import RedisOnlineStore
from millrace.features.augment import augment
from millrace.features.matrix import model_frame
from millrace.features.online.lookup import OnlineLookup
from millrace.features.online.publish import publish, publish_table
from millrace.features.port import OnlineStore
from millrace.features.spec import from_json
from millrace.features.tables import create_feature_table, write_feature_rows
from millrace.features.training_set import build_training_set
from millrace.features.types import FeatureLookup, FeatureSpec
from millrace.lake.adapters.delta import DeltaTableStore
from millrace.lake.adapters.sql_catalog import SqlCatalog
from millrace.lake.lake import Lake
from millrace.testing.redis import temporary_redis

START = datetime(2025, 3, 30, tzinfo=UTC)
STAMP = pa.timestamp("us", "UTC")
FEATURES = {
    "money": pa.decimal128(18, 2),
    "count": pa.int64(),
    "small": pa.int8(),
    "flag": pa.bool_(),
    "single": pa.float32(),
    "double": pa.float64(),
    "text": pa.string(),
}
DEFAULTS = {"money": Decimal("0.10"), "single": 0.1, "text": "?", "flag": True}
JOIN = ArrowAsOfJoin(threads=1)  # the one that is used where nobody chose another


def value_of(kind: pa.DataType) -> st.SearchStrategy[Any]:
    kinds: dict[pa.DataType, st.SearchStrategy[Any]] = {
        FEATURES["money"]: st.decimals(-(10**15), 10**15, places=2),
        FEATURES["count"]: st.integers(-(2**63), 2**63 - 1),
        FEATURES["small"]: st.integers(-128, 127),
        FEATURES["flag"]: st.booleans(),
        FEATURES["single"]: st.floats(width=32),
        FEATURES["double"]: st.floats(),
        FEATURES["text"]: st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=5),
    }
    return st.one_of(st.none(), kinds[kind])


VALUES = st.fixed_dictionaries({name: value_of(kind) for name, kind in FEATURES.items()})
KEYS = st.tuples(st.integers(1, 2), st.sampled_from(["1", "11"]))
STEPS = st.integers(0, 6)
ROWS = st.dictionaries(st.tuples(KEYS, STEPS), VALUES, max_size=10)
HALF_DAYS = st.integers(0, 8).map(lambda n: START + timedelta(hours=12 * n))
WINDOWS = st.sampled_from([None, timedelta(0), timedelta(hours=12), timedelta(days=1, microseconds=1)])
ASKED = [(a, b) for a in (1, 2, 3, None) for b in ("1", "11", None)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def lake(home: Path) -> Iterator[Lake]:
    engine = open_database(f"sqlite:///{home / 'home.db'}")
    yield Lake(SqlCatalog(engine), DeltaTableStore(), ManualClock(START), Principal("user", "ada"), str(home / "lake"))
    engine.dispose()


@pytest.fixture(scope="module", params=["lmdb", pytest.param("redis", marks=pytest.mark.redis)])
def online(request: pytest.FixtureRequest, home: Path) -> Iterator[OnlineStore]:
    with ExitStack() as stack:
        store: OnlineStore = LmdbOnlineStore(home / "online")
        if request.param == "redis":
            try:
                store = RedisOnlineStore(stack.enter_context(temporary_redis()).new_url())
            except NotFound as error:
                pytest.skip(f"{error.message}; {error.hint}")
        yield store
        store.close()


def table_of(rows: dict[Any, Any], *, dates: bool) -> pa.Table:
    step = timedelta(days=1) if dates else timedelta(hours=12)
    whole = [START + step * number for _, number in rows]
    columns = {
        "a": pa.array([key[0] for key, _ in rows], pa.int32()),
        "b": pa.array([key[1] for key, _ in rows], pa.string()),
        "ts": pa.array([moment.date() for moment in whole], pa.date32()) if dates else pa.array(whole, STAMP),
    }
    for name, kind in FEATURES.items():
        columns[name] = pa.array([row[name] for row in rows.values()], kind)
    return pa.table(columns)


def spec_of(lake: Lake, lookup: FeatureLookup) -> FeatureSpec:
    """The spec that a model carries: made by a training set, and read back from JSON."""
    asked = pa.table({"x": pa.array([1]), "y": ["1"], "t": pa.array([START], STAMP)})
    made = build_training_set(
        lake, JOIN, asked, [lookup], None, exclude=("x", "y", "t"), as_of=START + timedelta(days=99)
    )
    return from_json(made.record.spec)


def same(one: object, two: object) -> bool:
    if isinstance(one, float) and isinstance(two, float):
        return struct.pack("<d", one) == struct.pack("<d", two) or (math.isnan(one) and math.isnan(two))
    return type(one) is type(two) and one == two


TABLES = st.fixed_dictionaries(
    {
        "available_after": st.sampled_from([timedelta(0), timedelta(hours=6)]),
        "date_stands_for": st.sampled_from(["end", "start"]),
    }
)
LOOKUPS = st.fixed_dictionaries(
    {
        "lookback_window": WINDOWS,
        "default_values": st.sampled_from([{}, DEFAULTS]),
        "rename_outputs": st.sampled_from([{}, {"count": "how many"}]),
    }
)
# What happens between two publishes: rows are written, some are deleted, time passes.
CHANGES = st.tuples(ROWS, st.sampled_from([None, "a = 1", "b = '11'", "flag"]), st.integers(0, 3))


@pytest.mark.slow
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    rows=ROWS, changes=st.one_of(st.none(), CHANGES), published=HALF_DAYS, later=st.integers(0, 3), dates=st.booleans(),
    table=TABLES, looked_up=LOOKUPS,
)  # fmt: skip
def test_every_key_at_every_time(
    lake: Lake, online: OnlineStore, *, rows: Any, changes: Any, published: datetime, later: int, dates: bool,
    table: dict[str, Any], looked_up: dict[str, Any],
) -> None:  # fmt: skip
    stored = table_of(rows, dates=dates)
    if lake.exists("f.t"):
        lake.drop("f.t")
    create_feature_table(lake, "f.t", stored.schema, primary_keys=["a", "b"], timeseries_column="ts", **table)
    write_feature_rows(lake, "f.t", stored)
    spec = spec_of(lake, FeatureLookup("f.t", ("x", "y"), timestamp_lookup_key="t", **looked_up))
    publish(lake, online, "f.t", as_of=published)
    if changes:
        more, gone, steps = changes
        write_feature_rows(lake, "f.t", table_of(more, dates=dates))
        if gone:
            lake.delete("f.t", gone)
        published += timedelta(hours=12 * steps)
        assert publish_table(lake, online, "f.t", as_of=published, mode="TRIGGERED").mode == "TRIGGERED"
    now = published + timedelta(hours=12 * later)

    requests = pa.table(
        {
            "x": pa.array([a for a, _ in ASKED], pa.int64()),
            "y": [b for _, b in ASKED],
            "t": pa.array([now] * len(ASKED), STAMP),
        }
    )
    offline = model_frame(augment(lake, JOIN, spec, requests, as_of=now), spec.inputs)
    answers = OnlineLookup(online, spec).augment([{"x": a, "y": b} for a, b in ASKED], now)
    differences = [
        (row, name, expected, found)
        for row, answer in enumerate(answers)
        for name, found, expected in zip(spec.inputs, answer.inputs, offline.iloc[row].tolist(), strict=True)
        if not same(found, expected)
    ]
    assert differences == []


def test_sources_name_the_row_that_was_used(lake: Lake, online: OnlineStore) -> None:
    schema = pa.schema({"k": pa.int64(), "day": pa.date32(), "v": pa.int64()})
    if lake.exists("f.days"):  # by the same test on another store
        lake.drop("f.days")
    create_feature_table(lake, "f.days", schema, primary_keys="k", timeseries_column="day")
    write_feature_rows(lake, "f.days", pa.table({"k": [1], "day": [date(2025, 3, 30)], "v": [7]}, schema=schema))
    publish(lake, online, "f.days", as_of=START)
    lookup = OnlineLookup(online, FeatureSpec((FeatureLookup("f.days", "k"),), None, (), ("v",)))
    end = START + timedelta(days=1)
    (before,), (after,) = (lookup.augment([{"k": 1}], moment) for moment in (end - timedelta(microseconds=1), end))
    assert before.sources == (("f.days", None, None),)
    assert (after.inputs, after.sources) == ((7.0,), (("f.days", epoch_us(end), 1),))
