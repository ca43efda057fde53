from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from millrace.core.clock import ManualClock, epoch_us
from millrace.core.errors import InvalidInput, InvalidState, NotFound
from millrace.core.names import TableName
from millrace.features.defaults import arrow_type, typed_default
from millrace.features.online.keys import key_reader
from millrace.features.online.lookup import OnlineLookup
from millrace.features.online.publish import publish
from millrace.features.port import OnlineStore
from millrace.features.tables import create_feature_table, write_feature_rows
from millrace.features.types import FeatureLookup, FeatureSpec
from millrace.lake.lake import Lake

STAMP = pa.timestamp("us", "UTC")
NAME = "ml.features.customers"
DAY = timedelta(days=1)


def at(day: int, hour: int = 0) -> datetime:
    return datetime(2025, 1, day, hour, tzinfo=UTC)


def spec(
    *inputs: str, lookups: tuple[FeatureLookup, ...] | None = None, asked: tuple[str, ...] = (), **changes: Any
) -> FeatureSpec:
    one = FeatureLookup(**({"table_name": NAME, "lookup_key": "customer", "timestamp_lookup_key": "t"} | changes))
    return FeatureSpec(lookups or (one,), None, (), inputs or ("spend", "region"), asked)


@pytest.fixture
def shop(lake: Lake) -> Lake:
    schema = pa.schema(
        {
            "id": pa.int64(),
            "ts": STAMP,
            "spend": pa.decimal128(18, 2),
            "region": pa.string(),
            "tags": pa.list_(pa.string()),
        }
    )
    create_feature_table(
        lake, NAME, schema, primary_keys="id", timeseries_column="ts", available_after=timedelta(hours=6)
    )
    rows = [
        {"id": 1, "ts": at(1), "spend": Decimal("1.10"), "region": "EU", "tags": ["a"]},
        {"id": 1, "ts": at(2), "spend": None, "region": "US", "tags": None},
        {"id": 1, "ts": at(3), "spend": Decimal("3.30"), "region": None, "tags": None},
        {"id": 2, "ts": at(4), "spend": Decimal("4.40"), "region": "EU", "tags": None},
    ]
    write_feature_rows(lake, NAME, pa.Table.from_pylist(rows, schema))
    return lake


def test_publishing_keeps_the_newest_available_row_and_those_that_wait(shop: Lake, online: OnlineStore) -> None:
    table = publish(shop, online, NAME, as_of=at(2, 6))
    assert online.table(TableName.parse(NAME)) == table
    assert (table.version, table.keys, table.newest_us, table.published_at) == (1, 2, epoch_us(at(4)), at(2, 6))
    assert table.types == {
        "id": "int64",
        "ts": "timestamp[us, tz=UTC]",
        "spend": "decimal128(18, 2)",
        "region": "string",
    }
    stored = online.get(table.name, [(1,), (2,), (3,)])
    assert [[row.ts_us for row in rows] for rows in stored] == [
        [epoch_us(at(3)), epoch_us(at(2))],
        [epoch_us(at(4))],
        [],
    ]
    assert stored[0][1].values == {"spend": None, "region": "US"}
    assert {row.version for rows in stored for row in rows} == {1}


def test_all_rows_that_wait_are_kept(lake: Lake, online: OnlineStore) -> None:
    schema = pa.schema({"id": pa.int64(), "ts": STAMP, "v": pa.int64()})
    create_feature_table(lake, NAME, schema, primary_keys="id", timeseries_column="ts")
    hours = 24 * 365  # known in advance, as a calendar is
    rows = {"id": [1] * hours, "ts": [at(1) + timedelta(hours=n) for n in range(hours)], "v": list(range(hours))}
    write_feature_rows(lake, NAME, pa.table(rows, schema=schema))
    publish(lake, online, NAME, as_of=at(1, 5))
    (stored,) = online.get(TableName.parse(NAME), [(1,)])
    assert [row.values["v"] for row in stored] == list(range(hours - 1, 4, -1))
    lookup = OnlineLookup(online, spec("v"))
    for hour in (5, 6, 4_000, hours - 1):
        assert lookup.augment([{"customer": 1}], at(1) + timedelta(hours=hour))[0].inputs == (float(hour),)


def test_a_later_publish_replaces_all(shop: Lake, online: OnlineStore, clock: ManualClock) -> None:
    publish(shop, online, NAME, as_of=at(2, 6))
    clock.set(at(20))
    shop.delete(NAME, "id = 2")
    assert publish(shop, online, NAME, as_of=at(10)).version == 1
    table = publish(shop, online, NAME, as_of=at(20))
    assert (table.version, table.keys) == (2, 1)
    assert [len(rows) for rows in online.get(table.name, [(1,), (2,)])] == [1, 0]
    pinned = publish(shop, online, NAME, as_of=at(20), versions={table.name: 1})
    assert (pinned.version, pinned.keys) == (1, 2)


def test_what_can_not_be_published(shop: Lake, online: OnlineStore) -> None:
    with pytest.raises(NotFound):
        publish(shop, online, "ml.features.custmers", as_of=at(1))
    shop.create("plain", pa.schema({"a": pa.int64()}))
    with pytest.raises(InvalidInput, match="no primary keys"):
        publish(shop, online, "plain", as_of=at(1))


def test_an_empty_table_and_one_without_time(lake: Lake, online: OnlineStore) -> None:
    schema = pa.schema({"a": pa.string(), "b": pa.date32(), "v": pa.bool_()})
    create_feature_table(lake, "f.pairs", schema, primary_keys=["a", "b"])
    assert publish(lake, online, "f.pairs", as_of=at(1)).keys == 0
    write_feature_rows(lake, "f.pairs", pa.table({"a": ["x"], "b": [date(2025, 1, 1)], "v": [True]}, schema=schema))
    table = publish(lake, online, "f.pairs", as_of=at(1))
    assert (table.keys, table.newest_us) == (1, None)
    found = OnlineLookup(online, spec("v", lookups=(FeatureLookup("f.pairs", ("p", "q")),)))
    rows = found.augment([{"p": "x", "q": "2025-01-01"}, {"p": "x", "q": "2025-01-02"}], at(1))
    assert rows[0].inputs == (1.0,)
    assert rows[0].sources == (("f.pairs", None, 1),)
    assert math.isnan(rows[1].inputs[0])  # type: ignore[arg-type]
    assert rows[1].sources == (("f.pairs", None, None),)


def test_a_request_gets_inputs_keys_and_sources(shop: Lake, online: OnlineStore) -> None:
    publish(shop, online, NAME, as_of=at(2, 6))
    lookup = OnlineLookup(online, spec("region", "channel", "spend", asked=("channel",)))
    lookup.check()
    one, two = lookup.augment([{"customer": 1, "channel": 5}, {"customer": 2, "channel": None}], at(3, 6))
    assert one.inputs == (None, 5.0, 3.3)
    assert one.keys == {"customer": 1}
    assert one.sources == ((NAME, epoch_us(at(3)), 1),)
    assert two.inputs[:2] == (None, None)
    assert math.isnan(two.inputs[2])  # type: ignore[arg-type]
    assert two.sources == ((NAME, None, None),)
    assert list(lookup.augment([], at(3))) == []


@pytest.mark.parametrize(
    ("now", "region"),
    [(at(2, 5), None), (at(2, 6), "US"), (at(3, 6) - timedelta(microseconds=1), "US"), (at(3, 6), None)],
)
def test_rows_become_visible_when_they_are_available(
    shop: Lake, online: OnlineStore, now: datetime, region: str | None
) -> None:
    publish(shop, online, NAME, as_of=at(2, 6))
    (row,) = OnlineLookup(online, spec("region")).augment([{"customer": 1}], now)
    assert row.inputs == (region,)


def test_a_value_older_than_its_lookback_is_null_online_too(shop: Lake, online: OnlineStore) -> None:
    publish(shop, online, NAME, as_of=at(10))
    lookup = OnlineLookup(online, spec("spend", lookback_window=DAY, default_values={"spend": -1}))
    ask = [{"customer": 1}]
    assert lookup.augment(ask, at(4, 6))[0].inputs == (3.3,)
    late = lookup.augment(ask, at(4, 6) + timedelta(microseconds=1))[0]
    assert late.inputs == (-1.0,)
    assert late.sources == ((NAME, None, None),)


def test_the_request_wins_null_included(shop: Lake, online: OnlineStore) -> None:
    publish(shop, online, NAME, as_of=at(10))
    lookup = OnlineLookup(online, spec(default_values={"spend": 0}))
    part, whole, none = lookup.augment(
        [{"customer": 1, "spend": 7}, {"spend": Decimal("0.10"), "region": "XX"}, {"customer": 2, "region": None}],
        at(10),
    )
    assert part.inputs == (7.0, None)
    assert part.sources == ((NAME, epoch_us(at(3)), 1),)
    assert (whole.inputs, whole.sources, whole.keys) == ((0.1, "XX"), (), {"customer": None})
    assert none.inputs == (4.4, None)


def test_a_null_or_unknown_key_finds_nothing(shop: Lake, online: OnlineStore) -> None:
    publish(shop, online, NAME, as_of=at(10))
    for key in (None, 99):
        (row,) = OnlineLookup(online, spec("region")).augment([{"customer": key}], at(10))
        assert row.inputs == (None,)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({}, "no column 'customer'"),
        ({"custmer": 1}, "no column 'customer'\n  hint: send it in every row$"),
        ({"customer": "1"}, "key 'customer' is not a whole number\n.*without quotes"),
        ({"customer": 1.0}, "key 'customer' is not a whole number"),
        ({"customer": True}, "key 'customer' is not a whole number"),
        ({"customer": [1]}, "key 'customer' is not a whole number"),
        ({"customer": 1, "spend": [1]}, "column 'spend': "),
    ],
)
def test_wrong_requests_name_the_column(
    shop: Lake, online: OnlineStore, record: dict[str, object], message: str
) -> None:
    publish(shop, online, NAME, as_of=at(10))
    with pytest.raises(InvalidInput, match=message):
        OnlineLookup(online, spec()).augment([record], at(10))
    with pytest.raises(InvalidInput, match="no column 'channel'"):
        OnlineLookup(online, spec("channel", asked=("channel",))).augment([{"customer": 1}], at(10))


def test_tables_and_features_that_are_not_there(shop: Lake, online: OnlineStore) -> None:
    with pytest.raises(InvalidState, match=r"not in the online store\n.*publish it"):
        OnlineLookup(online, spec()).check()
    publish(shop, online, NAME, as_of=at(10))
    with pytest.raises(InvalidState, match="no feature 'spnd'"):
        OnlineLookup(online, spec("spnd", feature_names=["spnd"])).check()
    with pytest.raises(InvalidState, match="other keys"):
        OnlineLookup(online, spec(lookup_key=["a", "b"])).check()


def test_a_changed_delay_counts_from_the_next_publish_on(shop: Lake, online: OnlineStore) -> None:
    publish(shop, online, NAME, as_of=at(3, 6))
    lookup = OnlineLookup(online, spec("spend"))
    assert lookup.augment([{"customer": 1}], at(3, 6))[0].inputs == (3.3,)
    shop.describe(NAME, available_after=timedelta(hours=8))
    publish(shop, online, NAME, as_of=at(3, 6))
    assert math.isnan(lookup.augment([{"customer": 1}], at(3, 6))[0].inputs[0])  # type: ignore[arg-type]
    assert lookup.augment([{"customer": 1}], at(3, 8))[0].inputs == (3.3,)


def test_a_column_that_is_published_later_is_found_without_a_new_lookup(
    shop: Lake, online: OnlineStore, clock: ManualClock
) -> None:
    publish(shop, online, NAME, as_of=at(10))
    lookup = OnlineLookup(online, spec("region"))
    assert lookup.augment([{"customer": 2}], at(10))[0].inputs == ("EU",)
    clock.set(at(11))
    more = pa.table({"id": [2], "ts": pa.array([at(5)], STAMP), "new": [1], "region": ["JP"]})
    write_feature_rows(shop, NAME, more)
    publish(shop, online, NAME, as_of=at(11))
    assert lookup.augment([{"customer": 2}], at(11))[0].inputs == ("JP",)


@pytest.mark.parametrize(
    ("stored", "good", "bad"),
    [
        ("int32", {5: 5}, ["5", 5.0, True]),
        ("string", {"5": "5"}, [5]),
        ("bool", {True: True}, [1, "true"]),
        ("date32[day]", {"2025-01-01": date(2025, 1, 1), date(2025, 1, 1): date(2025, 1, 1)}, ["soon", 5, at(1)]),
        (
            "timestamp[us, tz=UTC]",
            {"2025-01-01T02:00:00+02:00": at(1), at(1): at(1)},
            ["soon", 5, "9999-12-31T23:00:00-05:00"],
        ),
        ("decimal128(18, 2)", {"1.10": Decimal("1.1"), 2: Decimal(2)}, [1.1, "x", "1e999999999"]),
        ("binary", {"AAE=": b"\x00\x01", b"a": b"a"}, [5, "?"]),
    ],
)
def test_keys_as_requests_send_them(stored: str, good: dict[Any, object], bad: list[object]) -> None:
    read = key_reader("k", stored)
    assert read(None) is None
    for sent, key in good.items():
        assert read(sent) == key
        assert type(read(sent)) is type(key)
    for sent in bad:
        with pytest.raises(InvalidInput, match=r"key 'k' is not .*\n.*send "):
            read(sent)


KINDS = [
    pa.int8(), pa.uint64(), pa.float32(), pa.float64(), pa.string(), pa.large_string(), pa.bool_(), pa.binary(),
    pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC"), pa.decimal128(18, 2), pa.decimal256(50, 3), pa.null(),
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_type_is_found_by_its_name(kind: pa.DataType) -> None:
    assert arrow_type(str(kind)) == kind


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (1, pa.decimal128(18, 2), Decimal("1.00")),
        (0.1, pa.decimal128(18, 2), Decimal("0.10")),
        (0.1, pa.float32(), 0.10000000149011612),
        (Decimal("0.5"), pa.float64(), 0.5),
        (3.0, pa.int32(), 3),
        (datetime(2025, 1, 1), STAMP, at(1)),  # noqa: DTZ001 - naive is UTC
        (date(2025, 1, 1), pa.date32(), date(2025, 1, 1)),
    ],
)
def test_defaults_take_the_type_of_the_feature(value: object, kind: pa.DataType, expected: object) -> None:
    made = typed_default(value, kind, "x")
    assert made == expected
    assert type(made) is type(expected)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, pa.int64()), (0.5, pa.int64()), (300, pa.int8()), ("1", pa.int64()), (1, pa.string()), (True, pa.int64()),
        (1, pa.bool_()), (1, STAMP), (date(2025, 1, 1), STAMP), (at(1), pa.date32()), (math.nan, pa.decimal128(18, 2)),
        (0.001, pa.decimal128(18, 2)), (10**20, pa.decimal128(18, 2)),
    ],
)  # fmt: skip
def test_defaults_that_do_not_fit(value: object, kind: pa.DataType) -> None:
    with pytest.raises(InvalidInput, match="default for 'x' does not fit"):
        typed_default(value, kind, "x")


def test_online_and_offline_defaults_are_the_same_bits(lake: Lake, online: OnlineStore) -> None:
    schema = pa.schema({"id": pa.int64(), "x": pa.float32()})
    create_feature_table(lake, "f.t", schema, primary_keys="id")
    publish(lake, online, "f.t", as_of=at(1))
    plain = FeatureLookup("f.t", "id", default_values={"x": 0.1})
    (row,) = OnlineLookup(online, replace(spec("x"), lookups=(plain,))).augment([{"id": 1}], at(1))
    assert row.inputs == (0.10000000149011612,)
