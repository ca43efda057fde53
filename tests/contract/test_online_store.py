"""What every online store promises: exact values, whole publishes, readers in other processes."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.core.errors import InvalidInput, InvalidState
from millrace.core.names import TableName
from millrace.features.adapters.lmdb_online import LmdbOnlineStore
from millrace.features.online_codec import encode_key
from millrace.features.port import OnlineStore
from millrace.features.types import OnlineRow, OnlineTable
from millrace.lake.types import Version

NAME = TableName.parse("ml.features.customers")
NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[OnlineStore]:
    opened = LmdbOnlineStore(tmp_path / "online")
    yield opened
    opened.close()


def table(version: int = 1, name: TableName = NAME, **types: str) -> OnlineTable:
    return OnlineTable(
        name=name,
        primary_keys=("k",),
        timeseries_column="ts",
        available_after=timedelta(hours=6),
        types={"k": "int64", "ts": "timestamp[us, tz=UTC]"} | (types or {"v": "int64"}),
        version=Version(version),
        published_at=NOON,
        keys=0,
        newest_us=123,
    )


def row(value: object, version: int = 1, ts_us: int | None = 5) -> OnlineRow:
    return OnlineRow(ts_us, {"v": value}, Version(version))


def found(store: OnlineStore, *keys: object) -> list[list[object]]:
    return [[kept.values["v"] for kept in rows] for rows in store.get(NAME, [(key,) for key in keys])]


def test_rows_come_back_newest_first_as_they_went_in(store: OnlineStore) -> None:
    rows = [row(2, ts_us=9), row(1, ts_us=-3), row(None, ts_us=None)]
    store.publish(table(), [((7,), rows)], replace=True)
    assert [list(kept) for kept in store.get(NAME, [(7,), (8,), (None,), (7,)])] == [rows, [], [], rows]
    known = store.table(NAME)
    assert known == replace(table(), keys=1)
    assert list(store.tables()) == [known]


def test_a_table_that_was_never_published(store: OnlineStore) -> None:
    assert store.table(NAME) is None
    assert list(store.get(NAME, [(1,)])) == [()]
    assert list(store.tables()) == []
    store.remove(NAME)


EXACT: dict[str, tuple[str, Sequence[Any]]] = {
    "double": ("double", [0.1, -0.0, 5e-324, 1e308, math.inf, -math.inf, 3.0]),
    "single": ("float", [0.10000000149011612]),
    "whole": ("int64", [2**63 - 1, -(2**63), 0]),
    "flag": ("bool", [True, False]),
    "text": ("string", ["", 'Ä\U0001f600 "quoted"', "NaN"]),
    "money": ("decimal128(38, 2)", [Decimal("-123456789012345678901234567890.10"), Decimal("0.00")]),
    "day": ("date32[day]", [date(1, 1, 1), date(1969, 12, 31), date(9999, 12, 31)]),
    "time": ("timestamp[us, tz=UTC]", [datetime(1960, 1, 1, 0, 0, 0, 1, tzinfo=UTC), NOON]),
    "clock": ("timestamp[us]", [datetime(2025, 3, 1, 12, 0, 0, 1)]),  # noqa: DTZ001 - a column without a zone
    "raw": ("binary", [b"", b"\x00\xff"]),
}


@pytest.mark.parametrize("column", EXACT)
def test_values_are_restored_exactly(store: OnlineStore, column: str) -> None:
    kind, values = EXACT[column]
    rows = [((place,), [row(value)]) for place, value in enumerate([*values, None])]
    store.publish(table(v=kind), rows, replace=True)
    back = [kept[0] for kept in found(store, *range(len(rows)))]
    assert back == [*values, None]
    assert [type(value) for value in back] == [type(value) for value in [*values, None]]
    assert [repr(value) for value in back] == [repr(value) for value in [*values, None]]  # the sign of zero, the scale


def test_nan_is_not_null(store: OnlineStore) -> None:
    store.publish(table(v="double"), [((1,), [row(math.nan)]), ((2,), [row(None)])], replace=True)
    (nan,), (null,) = found(store, 1, 2)
    assert isinstance(nan, float)
    assert math.isnan(nan)
    assert null is None


def test_nested_columns_are_refused(store: OnlineStore) -> None:
    with pytest.raises(InvalidInput, match="list<item: double>"):
        store.publish(table(v="list<item: double>"), [], replace=True)


def test_a_replacing_publish_drops_other_keys_and_other_tables_stay(store: OnlineStore) -> None:
    other = replace(table(), name=TableName.parse("ml.features.other"))
    store.publish(other, [((1,), [row(100)])], replace=True)
    store.publish(table(), [((1,), [row(1)]), ((2,), [row(2)])], replace=True)
    store.publish(table(2), [((2,), [row(20)]), ((3,), [row(30)])], replace=True)
    assert found(store, 1, 2, 3) == [[], [20], [30]]
    known = store.table(NAME)
    assert known is not None
    assert (known.version, known.keys) == (2, 2)
    assert [kept.values["v"] for kept in store.get(other.name, [(1,)])[0]] == [100]
    store.remove(NAME)
    assert store.table(NAME) is None
    assert [one.name for one in store.tables()] == [other.name]


def test_an_adding_publish_keeps_other_keys(store: OnlineStore) -> None:
    store.publish(table(), [((1,), [row(1)]), ((2,), [row(2), row(1)])], replace=True)
    store.publish(table(2), [((2,), [row(20)]), ((3,), [row(30)])], replace=False)
    assert found(store, 1, 2, 3) == [[1], [20], [30]]
    known = store.table(NAME)
    assert known is not None
    assert known.keys == 3


def test_an_adding_publish_with_a_new_column(store: OnlineStore) -> None:
    store.publish(table(), [((1,), [row(1)])], replace=True)
    wider = OnlineRow(5, {"v": 2, "w": "x"}, Version(2))
    store.publish(table(2, v="int64", w="string"), [((2,), [wider])], replace=False)
    assert list(store.get(NAME, [(1,), (2,)])) == [[OnlineRow(5, {"v": 1, "w": None}, Version(1))], [wider]]


def test_a_publish_that_fails_leaves_the_old_rows(store: OnlineStore) -> None:
    store.publish(table(), [((1,), [row(1)])], replace=True)

    def broken() -> Iterator[tuple[tuple[int], list[OnlineRow]]]:
        yield (1,), [row(2)]
        raise InvalidInput("stop")

    with pytest.raises(InvalidInput, match="stop"):
        store.publish(table(2), broken(), replace=True)
    assert found(store, 1) == [[1]]


def test_very_long_keys(store: OnlineStore) -> None:
    names = replace(table(), types={"k": "string", "ts": "date32[day]", "v": "int64"})
    long = "x" * 5000
    store.publish(names, [((long,), [row(1)]), ((long + "y",), [row(2)])], replace=True)
    assert found(store, long, long + "y", long + "z") == [[1], [2], []]


PARTS = st.one_of(
    st.integers(),
    st.text(max_size=4),
    st.booleans(),
    st.dates(),
    st.binary(max_size=4),
    st.datetimes(timezones=st.just(UTC)),
    st.decimals(allow_nan=False, allow_infinity=False, places=2),
)


@settings(max_examples=200, deadline=None)
@given(st.tuples(PARTS, PARTS), st.tuples(PARTS, PARTS))
def test_keys_are_injective_and_typed(one: tuple[object, object], two: tuple[object, object]) -> None:
    same = all(type(a) is type(b) and a == b for a, b in zip(one, two, strict=True))
    assert (encode_key(one) == encode_key(two)) is same
    assert encode_key(("1", "11")) != encode_key(("11", "1"))
    assert encode_key((Decimal("1.10"),)) == encode_key((Decimal("1.1000"),))
    assert encode_key((Decimal(100),)) == encode_key((Decimal("1E+2"),))
    assert encode_key((1, None)) is None


BATCH = st.dictionaries(st.integers(0, 20), st.integers(0, 9))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=BATCH, second=BATCH)
def test_publishing_twice_equals_publishing_once(
    store: OnlineStore, first: dict[int, int], second: dict[int, int]
) -> None:
    def rows(of: dict[int, int]) -> list[tuple[tuple[int], list[OnlineRow]]]:
        return [((key,), [row(value)]) for key, value in of.items()]

    store.publish(table(), rows(first), replace=True)
    for _ in range(2):
        store.publish(table(), rows(second), replace=False)
        expected = first | second
        assert found(store, *range(21)) == [[expected[key]] if key in expected else [] for key in range(21)]
        known = store.table(NAME)
        assert known is not None
        assert known.keys == len(expected)


def test_one_process_may_open_it_more_than_once(tmp_path: Path) -> None:
    one, two = LmdbOnlineStore(tmp_path), LmdbOnlineStore(str(tmp_path))
    one.publish(table(), [((1,), [row(1)])], replace=True)
    one.close()
    one.close()
    assert found(two, 1) == [[1]]
    two.close()


def test_a_folder_that_is_not_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidState, match="can't be opened"):
        LmdbOnlineStore(tmp_path / "file")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "data.mdb").write_bytes(b"no database" * 1000)
    with pytest.raises(InvalidState, match="can't be opened"):
        LmdbOnlineStore(tmp_path / "damaged")


def test_the_file_grows_while_others_read(tmp_path: Path) -> None:
    store = LmdbOnlineStore(tmp_path, map_bytes=1 << 16)
    store.publish(table(), [((1,), [row(1)])], replace=True)
    stop, seen = threading.Event(), set()

    def read() -> None:
        while not stop.is_set():
            seen.add(tuple(found(store, 1)[0]))
            stop.wait(0.0005)  # LMDB lets the interpreter go at each row: three that never rest would starve the writer

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    store.publish(table(v="string"), [((key,), [row("x" * 200)]) for key in range(5000)], replace=True)
    stop.set()
    for reader in readers:
        reader.join()
    assert seen <= {(1,), ("x" * 200,)}
    assert found(store, 4999) == [["x" * 200]]
    store.close()


READER = """
import sys
from millrace.core.names import TableName
from millrace.features.adapters.lmdb_online import LmdbOnlineStore

store = LmdbOnlineStore(sys.argv[1], map_bytes=1 << 16)
name = TableName.parse("ml.features.customers")
for line in sys.stdin:
    keys = [(key,) for key in range(int(line))]
    values = {row.values["v"] for rows in store.get(name, keys) for row in rows}
    print(sorted(values), flush=True)
"""


def test_another_process_sees_each_publish_without_opening_again(tmp_path: Path) -> None:
    store = LmdbOnlineStore(tmp_path, map_bytes=1 << 16)
    store.publish(table(), [((1,), [row(1)])], replace=True)
    command = [sys.executable, "-c", READER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        for value, keys in ((1, 2), (2, 3), (3, 10_000)):  # the last makes the file larger than the reader mapped
            store.publish(table(), [((key,), [row(value)]) for key in range(keys)], replace=True)
            reader.stdin.write(f"{keys}\n")
            reader.stdin.flush()
            assert reader.stdout.readline() == f"[{value}]\n"
        reader.stdin.close()
        assert reader.wait(timeout=20) == 0
    store.close()
