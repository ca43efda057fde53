"""What every `AsOfJoin` must do: the worked cases and the rules of keys and times. Keys, values and types: `as_of_join_values.py`; laws: `as_of_join_laws.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from millrace.features.port import AsOfJoin
from millrace.features.types import ResolvedLookup
from millrace.testing.feature_tables import LATE, STAMP, FeatureTables, day, features, lookup, requests


def answers(join: AsOfJoin, asked: pa.Table, what: ResolvedLookup, as_of: datetime = LATE) -> list[Any]:
    """The first output column."""
    found = join.lookup(asked, what, as_of)
    assert len(found) == len(asked)
    values: list[Any] = found.column(0).to_pylist()
    return values


class AsOfJoinFixtures:
    """What the suites' tests are given; `opened` is the adapter's."""

    @pytest.fixture
    def join(self, opened: Callable[[], AsOfJoin]) -> AsOfJoin:
        return opened()

    @pytest.fixture
    def tables(self, tmp_path: Path) -> FeatureTables:
        return FeatureTables(tmp_path)


class AsOfJoinSuite(AsOfJoinFixtures):
    """Worked cases of an `AsOfJoin`; give the fixture `opened`."""

    def test_case_a_lookback_of_ten_days(self, join: AsOfJoin, tables: FeatureTables) -> None:
        rows = [
            (1, day("2023-12-31"), 11),
            (1, day("2024-01-02"), 22),
            (1, day("2024-01-03"), 33),
            (2, day("2023-01-03"), 22),
            (3, day("2024-01-01"), 20),
        ]
        asked = requests((1, day("2024-01-01")), (1, day("2024-01-02")), (2, day("2024-01-01")), (3, day("2024-01-03")))
        what = lookup(tables.make(features(rows)), lookback=timedelta(days=10))
        assert answers(join, asked, what) == [11, 22, None, 20]

    def test_case_b_only_future_or_only_old_rows_keep_the_request(self, join: AsOfJoin, tables: FeatureTables) -> None:
        rows = features([(1, day("2024-02-01"), 1), (2, day("2020-01-01"), 2)])
        asked = requests((1, day("2024-01-01")), (2, day("2024-01-01")))
        assert answers(join, asked, lookup(tables.make(rows), lookback=timedelta(days=1))) == [None, None]

    def test_case_c_equal_requests_are_both_answered(self, join: AsOfJoin, tables: FeatureTables) -> None:
        asked = requests((1, day("2024-01-02")), (1, day("2024-01-02")))
        assert answers(join, asked, lookup(tables.make(features([(1, day("2024-01-01"), 7)])))) == [7, 7]

    def test_case_d_composite_keys_never_mix(self, join: AsOfJoin, tables: FeatureTables) -> None:
        at, text = day("2024-01-01"), pa.string()
        later = at + timedelta(hours=1)
        names = ("a", "b", "ts", "v")
        rows = features([("1", "11", at, 1), ("11", "1", at, 2), ("1", "1", later, 3)], names, a=text, b=text)
        asked = {"a": ["11", "1", "1", "11", None], "b": ["1", "11", "1", "11", "11"]}
        questions = pa.table({**asked, "t": pa.array([day("2024-01-02")] * 5, STAMP)})
        assert answers(join, questions, lookup(tables.make(rows, keys=("a", "b")))) == [2, 1, 3, None, None]

    def test_case_e_one_microsecond(self, join: AsOfJoin, tables: FeatureTables) -> None:
        at, tick = day("2024-01-01"), timedelta(microseconds=1)
        asked = requests((1, at - tick), (1, at), (1, at + tick))
        what = lookup(tables.make(features([(1, at, 5)])))
        assert answers(join, asked, what) == [None, 5, 5]
        assert answers(join, asked, replace(what, lookback=timedelta(0))) == [None, 5, None]
        assert answers(join, asked, replace(what, lookback=tick)) == [None, 5, 5]
        assert answers(join, asked, replace(what, lookback=timedelta.max)) == [None, 5, 5]

    def test_case_f_summer_time_old_times_and_zones(self, join: AsOfJoin, tables: FeatureTables) -> None:
        first = datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))  # 00:30 UTC
        second = first.replace(fold=1)  # the same clock face, 01:30 UTC
        old = datetime(1912, 4, 15, 2, 20, tzinfo=UTC)
        rows = [(1, day("2024-10-27T00:30"), 1), (1, day("2024-10-27T01:30"), 2), (2, old, 3)]
        what = lookup(tables.make(features(rows)))
        berlin = requests((1, first), (1, second), (2, old), time=pa.timestamp("us", "Europe/Berlin"))
        assert answers(join, berlin, what) == [1, 2, 3]
        tokyo = requests(
            (1, second.astimezone(timezone(timedelta(hours=9)))), (2, old), time=pa.timestamp("us", "Asia/Tokyo")
        )
        assert answers(join, tokyo, what) == [2, 3]
        naive = requests((1, datetime(2024, 10, 27, 1, 29, 59)), time=pa.timestamp("ms"))  # noqa: DTZ001 - naive is UTC
        assert answers(join, naive, what) == [1]

    def test_the_day_on_which_clocks_go_forward_has_no_gap(self, join: AsOfJoin, tables: FeatureTables) -> None:
        # Between these two an hour of UTC passes, and two hours on the clocks of New York.
        before, after = day("2024-03-10T06:59:59.999999"), day("2024-03-10T07:59:59.999999")
        what = lookup(tables.make(features([(1, before, 1), (1, after, 2)])), lookback=timedelta(hours=1))
        zone = pa.timestamp("us", "America/New_York")
        tick = timedelta(microseconds=1)
        asked = requests(
            (1, before), (1, after - tick), (1, after), (1, after + timedelta(hours=1) + tick), (1, None), time=zone
        )
        assert answers(join, asked, what) == [1, 1, 2, None, None]

    def test_times_before_1970(self, join: AsOfJoin, tables: FeatureTables) -> None:
        tick = timedelta(microseconds=1)
        old, epoch = datetime(1677, 9, 22, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)
        what = lookup(tables.make(features([(1, old, 1), (1, epoch - tick, 2), (1, epoch, 3)])))
        asked = requests((1, old - tick), (1, old), (1, epoch - 2 * tick), (1, epoch - tick), (1, epoch))
        assert answers(join, asked, what) == [None, 1, 1, 2, 3]
        assert answers(join, asked, replace(what, lookback=tick)) == [None, 1, None, 2, 3]

    def test_a_date_stands_for_the_end_of_its_day(self, join: AsOfJoin, tables: FeatureTables) -> None:
        rows = features([(1, date(2024, 1, 1), 1), (2, date(1969, 12, 31), 2)], ts=pa.date32())
        asked = requests(
            (1, day("2024-01-01T23:59:59.999999")),
            (1, day("2024-01-02")),
            (2, day("1969-12-31T23:59:59.999999")),
            (2, day("1970-01-01")),
        )
        assert answers(join, asked, lookup(tables.make(rows))) == [None, 1, None, 2]
        assert answers(join, asked, lookup(tables.make(rows, date_stands_for="start"))) == [1, 1, 2, 2]
        dated = requests((1, date(2024, 1, 1)), (1, date(2024, 1, 2)), time=pa.date32())
        assert answers(join, dated, lookup(tables.make(rows))) == [None, 1]

    def test_times_without_a_zone_are_utc(self, join: AsOfJoin, tables: FeatureTables) -> None:
        naive = datetime(2024, 7, 1, 12)  # noqa: DTZ001 - a column without a zone
        rows = features([(1, naive, 1)], ts=pa.timestamp("us"))
        asked = requests((1, day("2024-07-01T11:59:59.999999")), (1, day("2024-07-01T12:00:00")))
        assert answers(join, asked, lookup(tables.make(rows))) == [None, 1]
        assert answers(join, asked, lookup(tables.foreign(rows))) == [None, 1]

    def test_availability_counts_for_being_seen_and_for_age(self, join: AsOfJoin, tables: FeatureTables) -> None:
        source = tables.make(features([(1, day("2024-01-01"), 1)]), available_after=timedelta(hours=6))
        what = lookup(source, lookback=timedelta(hours=1))
        asked = requests(*((1, day(f"2024-01-01T{text}")) for text in ("05:59:59", "06:00:00", "07:00:00", "07:00:01")))
        assert answers(join, asked, what) == [None, 1, 1, None]

    def test_what_was_not_available_at_the_reading_is_never_used(self, join: AsOfJoin, tables: FeatureTables) -> None:
        what = lookup(tables.make(features([(1, day("2024-01-01"), 1), (1, day("2024-01-03"), 3)])))
        assert answers(join, requests((1, day("2024-02-01"))), what, day("2024-01-02")) == [1]
        assert answers(join, requests((1, day("2024-02-01"))), what, day("2024-01-03")) == [3]

    def test_without_a_time_the_newest_as_of_the_reading(self, join: AsOfJoin, tables: FeatureTables) -> None:
        rows = features([(1, day("2024-01-01"), 1), (1, day("2024-01-03"), 3)])
        what = lookup(tables.make(rows), timestamp_key=None)
        assert answers(join, pa.table({"k": [1, 2]}), what, day("2024-01-02")) == [1, None]

    def test_a_null_is_the_answer_and_only_then_the_default(self, join: AsOfJoin, tables: FeatureTables) -> None:
        what = lookup(tables.make(features([(1, day("2024-01-01"), 1), (1, day("2024-01-02"), None)])))
        asked = requests((1, day("2024-01-03")), (1, day("2024-01-01")), (9, day("2024-01-03")))
        assert answers(join, asked, what) == [None, 1, None]
        assert answers(join, asked, replace(what, defaults={"v": -1})) == [-1, 1, -1]

    def test_null_keys_and_null_times_match_nothing(self, join: AsOfJoin, tables: FeatureTables) -> None:
        rows = features([(None, day("2024-01-01"), 1), (1, None, 2), (2, day("2024-01-01"), 3)])
        asked = requests((None, day("2024-01-02")), (1, day("2024-01-02")), (2, None), (2, day("2024-01-02")))
        assert answers(join, asked, lookup(tables.make(rows))) == [None, None, None, 3]
        still = lookup(tables.make(rows.drop_columns(["ts"]), time=None))
        assert answers(join, asked, still) == [None, 2, 3, 3]
        nothing = requests((None, None), key=pa.null(), time=pa.null())
        assert answers(join, nothing, lookup(tables.make(rows))) == [None]

    def test_the_pinned_version_is_read(self, join: AsOfJoin, tables: FeatureTables) -> None:
        first = tables.make(features([(1, day("2024-01-01"), 1)]))
        second = tables.append(first, features([(1, day("2024-01-02"), 2)]))
        asked = requests((1, day("2024-01-03")))
        assert answers(join, asked, lookup(second)) == [2]
        assert answers(join, asked, lookup(first)) == [1]

    def test_renamed_and_chosen_columns_come_in_their_order(self, join: AsOfJoin, tables: FeatureTables) -> None:
        rows = pa.table({"k": [1], "ts": pa.array([day("2024-01-01")], STAMP), "a": [1], "b": [2], "c": [3]})
        what = lookup(tables.make(rows), columns={"c": "see", "a": "k"})
        assert join.lookup(requests((1, day("2024-01-02"))), what, LATE).to_pydict() == {"see": [3], "k": [1]}

    def test_nothing_asked_nothing_there(self, join: AsOfJoin, tables: FeatureTables) -> None:
        rows = features([(1, day("2024-01-01"), 1)])
        asked = requests((1, day("2024-01-02")))
        assert answers(join, requests(), lookup(tables.make(rows))) == []
        for empty in (tables.make(rows.slice(0, 0)), tables.make(rows.slice(0, 0), commits=0)):
            assert answers(join, asked, lookup(empty)) == [None]
            assert answers(join, asked, lookup(empty, defaults={"v": 4})) == [4]
            assert answers(join, requests(), lookup(empty)) == []
            assert join.lookup(asked, lookup(empty), LATE).schema.types == [pa.int64()]
