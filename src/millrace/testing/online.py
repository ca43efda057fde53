"""What every `OnlineStore` must do: exact values, whole publishes, readers in other processes."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from millrace.core.errors import Conflict, InvalidInput
from millrace.core.names import TableName
from millrace.features.defaults import arrow_type
from millrace.features.online.codec import RowCodec
from millrace.features.online.key_bytes import encode_key
from millrace.features.online.table import feature_types
from millrace.features.port import EncodedBatch, OnlineStore
from millrace.features.types import OnlineRow, OnlineTable
from millrace.lake.types import Version
from millrace.testing.race import race

NAME = TableName.parse("ml.features.customers")
NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)
Rows = Mapping[Any, Sequence[tuple[int, object]]]
Opened = Callable[[], OnlineStore]


def online_table(version: int = 1, name: TableName = NAME, **types: str) -> OnlineTable:
    """A table with one whole-number key `k`, event times `ts`, and one column `v` unless told otherwise."""
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
        source="id/end",
    )


def encoded(table: OnlineTable, rows: Rows) -> list[EncodedBatch]:
    """Rows (event time and the value of `v`) by key, as a store takes them, in batches of two keys."""
    codes = sorted((encode_key((key,)) or b"", key) for key in rows)
    return [_batch(table, codes[at : at + 2], rows) for at in range(0, len(codes), 2)]


def _batch(table: OnlineTable, codes: Sequence[tuple[bytes, Any]], rows: Rows) -> EncodedBatch:
    flat = [row for _, key in codes for row in rows[key]]
    counts = [len(rows[key]) for _, key in codes]
    frame = pa.table({"v": pa.array([value for _, value in flat], arrow_type(table.types["v"]))})
    times = np.array([ts for ts, _ in flat], dtype=np.int64)
    starts = np.cumsum([0, *counts[:-1]])
    return [code for code, _ in codes], RowCodec(feature_types(table)).pack(frame, times, starts)


def plain(values: Mapping[Any, object]) -> Rows:
    """One row for each key, at the same time."""
    return {key: [(5, value)] for key, value in values.items()}


def found(store: OnlineStore, *keys: object, name: TableName = NAME) -> list[list[object]]:
    """The values of `v` of each key."""
    return [[row.values["v"] for row in rows] for rows in store.get(name, [(key,) for key in keys])]


EXACT: dict[str, tuple[str, Sequence[Any]]] = {
    "double": ("double", [0.1, -0.0, 5e-324, 1e308, math.inf, -math.inf, 3.0]),
    "single": ("float", [0.10000000149011612]),
    "half": ("halffloat", [0.5]),
    "whole": ("int64", [2**63 - 1, -(2**63), 0]),
    "small": ("int8", [-128, 127]),
    "unsigned": ("uint64", [2**64 - 1]),
    "flag": ("bool", [True, False]),
    "text": ("string", ["", 'Ä\U0001f600 "quoted"', "NaN", "\x00", "x" * 70_000]),
    "money": ("decimal128(38, 2)", [Decimal("-123456789012345678901234567890.10"), Decimal("0.00")]),
    "more money": ("decimal256(70, 40)", [Decimal(-1).scaleb(-40)]),
    "day": ("date32[day]", [date(1, 1, 1), date(1969, 12, 31), date(9999, 12, 31)]),
    "time": ("timestamp[us, tz=UTC]", [datetime(1960, 1, 1, 0, 0, 0, 1, tzinfo=UTC), NOON]),
    "clock": ("timestamp[us]", [datetime(2025, 3, 1, 12, 0, 0, 1)]),  # noqa: DTZ001 - a column without a zone
    "raw": ("binary", [b"", b"\x00\xff"]),
    "nothing": ("null", []),
}


class OnlineStoreSuite:
    """Tests of an `OnlineStore`; give the fixtures `opened` and `source`, the Python text that opens the same store as `store` in another process."""

    @pytest.fixture
    def store(self, opened: Opened) -> Iterator[OnlineStore]:
        one = opened()
        yield one
        one.close()

    def test_rows_come_back_newest_first_as_they_went_in(self, store: OnlineStore) -> None:
        table = online_table()
        made = store.replace(table, encoded(table, {7: [(9, 2), (1, None), (-3, 1)], 8: [(4, 4)]}))
        assert made == replace(table, keys=2)
        rows = [
            OnlineRow(9, {"v": 2}, Version(1)),
            OnlineRow(1, {"v": None}, Version(1)),
            OnlineRow(-3, {"v": 1}, Version(1)),
        ]
        assert [list(kept) for kept in store.get(NAME, [(7,), (9,), (None,), (7,)])] == [rows, [], [], rows]
        assert store.table(NAME) == made
        assert store.table(NAME) is store.table(NAME)
        assert list(store.tables()) == [made]
        assert list(store.get(NAME, [])) == []

    def test_a_table_without_time(self, store: OnlineStore) -> None:
        table = replace(online_table(), timeseries_column=None, types={"k": "int64", "v": "int64"}, newest_us=None)
        packed = RowCodec({"v": "int64"}).pack(pa.table({"v": [3]}), None, np.array([0]))
        store.replace(table, [([encode_key((1,)) or b""], packed)])
        assert list(store.get(NAME, [(1,)])) == [[OnlineRow(None, {"v": 3}, Version(1))]]

    def test_a_table_with_nothing_but_keys_and_one_without_rows(self, store: OnlineStore) -> None:
        table = replace(online_table(), types={"k": "int64", "ts": "timestamp[us, tz=UTC]"})
        packed = RowCodec({}).pack(pa.table({"k": [1]}), np.array([7]), np.array([0]))
        store.replace(table, [([encode_key((1,)) or b""], packed)])
        assert list(store.get(NAME, [(1,)])) == [[OnlineRow(7, {}, Version(1))]]
        assert store.replace(table, []).keys == 0
        assert list(store.get(NAME, [(1,)])) == [()]

    def test_a_table_that_was_never_published(self, store: OnlineStore) -> None:
        assert store.table(NAME) is None
        assert list(store.get(NAME, [(1,)])) == [()]
        assert list(store.tables()) == []
        store.remove(NAME)
        with pytest.raises(Conflict):
            store.change(online_table(), online_table(2), [], [])

    @pytest.mark.parametrize("column", EXACT)
    def test_values_are_restored_exactly(self, store: OnlineStore, column: str) -> None:
        kind, values = EXACT[column]
        values, table = [*values, None], online_table(v=kind)
        store.replace(table, encoded(table, plain(dict(enumerate(values)))))
        back = [kept[0] for kept in found(store, *range(len(values)))]
        assert back == values
        assert [type(value) for value in back] == [type(value) for value in values]
        assert [repr(value) for value in back] == [repr(value) for value in values]  # the sign of zero, the scale

    def test_nan_is_not_null(self, store: OnlineStore) -> None:
        table = online_table(v="double")
        store.replace(table, encoded(table, plain({1: math.nan, 2: None})))
        (nan,), (null,) = found(store, 1, 2)
        assert isinstance(nan, float)
        assert math.isnan(nan)
        assert null is None

    def test_a_replacing_publish_drops_other_keys_and_other_tables_stay(self, store: OnlineStore) -> None:
        other = replace(online_table(), name=TableName.parse("ml.features.other"))
        store.replace(other, encoded(other, plain({1: 100})))
        for version, values in ((1, {1: 1, 2: 2}), (2, {2: 20, 3: 30, 4: 40})):
            table = online_table(version)
            assert store.replace(table, encoded(table, plain(values))).keys == len(values)
        assert found(store, 1, 2, 3, 4) == [[], [20], [30], [40]]
        known = store.table(NAME)
        assert known is not None
        assert (known.version, known.keys) == (2, 3)
        assert found(store, 1, name=other.name) == [[100]]
        store.remove(NAME)
        assert store.table(NAME) is None
        assert found(store, 2) == [[]]
        assert [one.name for one in store.tables()] == [other.name]

    def test_changes_keep_other_keys_and_all_rows_have_the_new_version(self, store: OnlineStore) -> None:
        table = online_table()
        base = store.replace(table, encoded(table, {1: [(1, 1)], 2: [(2, 2), (1, 1)], 3: [(1, 3)]}))
        newer = replace(online_table(2), newest_us=77)
        removed = [encode_key((3,)) or b"", encode_key((9,)) or b""]
        made = store.change(base, newer, encoded(newer, {2: [(9, 20)], 4: [(9, 40)]}), removed)
        assert made == replace(newer, keys=3)
        assert store.table(NAME) == made
        assert found(store, 1, 2, 3, 4, 9) == [[1], [20], [], [40], []]
        assert {row.version for rows in store.get(NAME, [(1,), (2,)]) for row in rows} == {2}

    def test_changes_on_top_of_something_else_are_refused(self, store: OnlineStore, opened: Opened) -> None:
        table = online_table()
        base = store.replace(table, encoded(table, plain({1: 1})))
        other = opened()
        newer = online_table(2)
        other.replace(newer, encoded(newer, plain({1: 2})))
        other.close()
        with pytest.raises(Conflict, match="somebody else"):
            store.change(base, online_table(3), encoded(table, plain({1: 3})), [])
        assert found(store, 1) == [[2]]

    def test_changes_with_other_columns_are_refused(self, store: OnlineStore) -> None:
        table = online_table()
        base = store.replace(table, encoded(table, plain({1: 1})))
        with pytest.raises(InvalidInput, match="columns"):
            store.change(base, online_table(2, v="double"), [], [])
        assert store.table(NAME) == base

    def test_a_publish_that_fails_leaves_the_old_rows(self, store: OnlineStore) -> None:
        table = online_table()
        base = store.replace(table, encoded(table, plain({1: 1})))

        class Broken(list[EncodedBatch]):
            def __iter__(self) -> Iterator[EncodedBatch]:
                yield from encoded(table, plain({1: 2}))
                raise InvalidInput("stop")

        with pytest.raises(InvalidInput, match="stop"):
            store.replace(online_table(2), Broken())
        with pytest.raises(InvalidInput, match="stop"):
            store.change(base, online_table(2), Broken(), [])
        assert found(store, 1) == [[1]]
        assert store.table(NAME) == base

    def test_very_long_keys(self, store: OnlineStore) -> None:
        table, long = online_table(), "x" * 5000
        store.replace(table, encoded(table, plain({long: 1, long + "y": 2, "": 3})))
        assert found(store, long, long + "y", long + "z", "") == [[1], [2], [], [3]]

    def test_many_keys(self, store: OnlineStore) -> None:
        table = online_table()
        store.replace(table, encoded(table, plain({key: key * key for key in range(-1000, 3000)})))
        keys = [*range(-1001, 3001)]
        assert found(store, *keys) == [[key * key] if -1000 <= key < 3000 else [] for key in keys]

    def test_all_that_is_open_sees_each_publish(self, store: OnlineStore, opened: Opened) -> None:
        reader = opened()
        for version in range(1, 6):
            table = online_table(version, v="int64" if version % 2 else "string")
            store.replace(table, encoded(table, plain({1: version if version % 2 else str(version)})))
            assert found(reader, 1) == [[version if version % 2 else str(version)]]
            known = reader.table(NAME)
            assert known is not None
            assert known.version == version
        reader.close()
        reader.close()

    def test_readers_see_whole_publishes(self, store: OnlineStore, opened: Opened) -> None:
        table, keys = online_table(), range(40)
        store.replace(table, encoded(table, plain(dict.fromkeys(keys, 0))))
        stop, seen = threading.Event(), set[tuple[object, ...]]()

        def read() -> None:
            reader = opened()
            while not stop.is_set():
                rows = [row for one in reader.get(NAME, [(key,) for key in keys]) for row in one]
                seen.add(tuple({(row.values["v"], int(row.version)) for row in rows}))
                stop.wait(0.0005)  # three that never rest would starve the writer
            reader.close()

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        for number in range(1, 25):
            table = online_table(number)
            batches, base = encoded(table, plain(dict.fromkeys(keys, number))), store.table(NAME)
            assert base is not None
            if number % 2:
                store.change(base, table, batches, [])
            else:
                store.replace(table, batches)
        stop.set()
        for reader in readers:
            reader.join()
        # Before the first change the rows had version 1; from then on value and version go together.
        assert seen <= {((number, max(number, 1)),) for number in range(25)}

    def test_of_publishers_at_once_each_is_whole(self, store: OnlineStore, opened: Opened) -> None:
        base_table = online_table()
        base = store.replace(base_table, encoded(base_table, plain({1: 0})))

        def publish(number: int) -> bool:
            one, table = opened(), online_table(number + 2)
            batches = encoded(table, plain({number: number, 100: number}))
            try:
                one.change(base, table, batches, [])
            except Conflict:
                return False
            finally:
                one.close()
            return True

        assert sum(race(4, publish)) == 1
        ((winner,),) = found(store, 100)
        assert found(store, *range(4)) == [
            [number] if number == winner else [0] if number == 1 else [] for number in range(4)
        ]

    def test_another_process_sees_each_publish_without_opening_again(self, store: OnlineStore, source: str) -> None:
        with _python(source, _READER) as reader:
            assert reader.stdin is not None
            assert reader.stdout is not None
            for value, keys in ((1, 2), (2, 3), (3, 10_000)):
                table = online_table(value)
                store.replace(table, encoded(table, plain(dict.fromkeys(range(keys), value))))
                reader.stdin.write(f"{keys}\n")
                reader.stdin.flush()
                assert reader.stdout.readline() == f"[{value}]\n"
            reader.stdin.close()
            assert reader.wait(timeout=300) == 0

    @pytest.mark.parametrize("what", ["replace", "change"])
    def test_a_publisher_that_is_killed_leaves_what_was_there(
        self, store: OnlineStore, opened: Opened, source: str, what: str
    ) -> None:
        table = online_table()
        base = store.replace(table, encoded(table, plain(dict.fromkeys(range(10), 1))))
        with _python(source, _KILLED.replace("WHAT", what)) as publisher:
            assert publisher.stdout is not None
            assert publisher.stdout.readline() == "half\n"
            publisher.send_signal(signal.SIGKILL)
            publisher.wait(timeout=300)
        after = opened()
        assert after.table(NAME) == base
        assert found(after, *range(10)) == [[1]] * 10
        newer = online_table(3)
        after.change(base, newer, encoded(newer, plain({0: 3})), [])
        assert found(store, 0, 1) == [[3], [1]]
        after.close()


_READER = """
import sys
from millrace.testing.online import NAME

for line in sys.stdin:
    keys = [(key,) for key in range(int(line))]
    values = {row.values["v"] for rows in store.get(NAME, keys) for row in rows}
    print(sorted(values), flush=True)
"""
_KILLED = """
import time
from millrace.testing.online import NAME, encoded, online_table, plain

class Slow(list):
    def __iter__(self):
        yield from encoded(online_table(2), plain({key: 2 for key in range(5)}))
        print("half", flush=True)
        time.sleep(60)

table = store.table(NAME)
store.replace(online_table(2), Slow()) if "WHAT" == "replace" else store.change(table, online_table(2), Slow(), [])
"""


def _python(source: str, script: str) -> subprocess.Popen[str]:
    opening = textwrap.dedent(source) + "\n"
    return subprocess.Popen(
        [sys.executable, "-c", opening + script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


__all__ = ["EXACT", "NAME", "OnlineStoreSuite", "encoded", "found", "online_table", "plain"]
