"""What every `AsOfJoin` must do with keys and values of each type, with tables that changed, and with what it can't answer."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from millrace.core.errors import InvalidInput, InvalidState, LawBroken
from millrace.features.port import AsOfJoin
from millrace.testing.as_of_join import AsOfJoinFixtures, answers
from millrace.testing.feature_tables import INT, LATE, STAMP, FeatureTables, day, features, lookup, requests


class AsOfJoinKeysSuite(AsOfJoinFixtures):
    """Keys of each type; give the fixture `opened`."""

    @pytest.mark.parametrize("width", [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint64()], ids=str)
    @pytest.mark.parametrize("stored", [pa.int32(), pa.int64()], ids=str)
    def test_whole_numbers_of_any_width_match(
        self, join: AsOfJoin, tables: FeatureTables, stored: pa.DataType, width: pa.DataType
    ) -> None:
        what = lookup(tables.make(features([(1, day("2024-01-01"), 1)], k=stored)))
        asked = requests((1, day("2024-01-02")), (2, day("2024-01-02")), key=width)
        assert answers(join, asked, what) == [1, None]

    def test_keys_of_other_types(self, join: AsOfJoin, tables: FeatureTables) -> None:
        at = day("2024-01-01")
        keys = [
            (pa.date32(), date(2024, 1, 1), date(2024, 1, 2)),
            (STAMP, at, at + timedelta(microseconds=1)),
            (pa.bool_(), True, False),
            (pa.decimal128(10, 2), Decimal("1.10"), Decimal("1.11")),
            (pa.binary(), b"\x00\x01", b"\x00"),
            (pa.string(), "Ä b", "A b"),
            (pa.string(), "", " "),
            (pa.int64(), -(2**63), 2**63 - 1),
            (pa.int64(), 2**53 + 1, 2**53),
        ]
        for kind, known, unknown in keys:
            what = lookup(tables.make(features([(known, at, 1)], k=kind)))
            assert answers(join, requests((known, at), (unknown, at), key=kind), what) == [1, None], (kind, known)

    def test_keys_of_one_family_are_compared_by_value(self, join: AsOfJoin, tables: FeatureTables) -> None:
        at = day("2024-01-01")
        text = lookup(tables.make(features([("Ä b", at, 1)], k=pa.string())))
        dictionary = requests(("Ä b", at), key=pa.string()).set_column(0, "k", pa.array(["Ä b"]).dictionary_encode())
        assert answers(join, dictionary, text) == [1]
        assert answers(join, requests(("Ä b", at), key=pa.large_string()), text) == [1]
        money = lookup(tables.make(features([(Decimal("1.10"), at, 1)], k=pa.decimal128(10, 2))))
        wider = requests((Decimal("1.1000"), at), (Decimal("1.1001"), at), (None, at), key=pa.decimal128(38, 4))
        assert answers(join, wider, money) == [1, None, None]
        finer = requests((Decimal("1.1"), at), (Decimal(f"1.1{1:029}"), at), key=pa.decimal128(38, 30))
        assert answers(join, finer, money) == [1, None]
        widest = requests((Decimal("1.1"), at), (Decimal(f"1.1{1:029}"), at), key=pa.decimal256(50, 30))
        assert answers(join, widest, money) == [1, None]
        whole = lookup(tables.make(features([(1, at, 1)])))
        assert answers(join, requests((2**64 - 1, at), (1, at), key=pa.uint64()), whole) == [None, 1]

    def test_bytes_beside_other_keys(self, join: AsOfJoin, tables: FeatureTables) -> None:
        at, before = day("2024-01-07"), day("2024-01-05")
        kinds = {"a": pa.binary(), "b": INT}
        rows = features([(b"\0\1", 2, at, 1)], ("a", "b", "ts", "v"), **kinds)
        what = lookup(tables.make(rows, keys=("b", "a")))
        asked = [(b"\0\xff", before), (b"\0\1", at), (b"\0\1", before), (b"\0", at), (None, at)]
        for expected, (content, time) in zip([None, 1, None, None, None], asked, strict=True):
            one = {"a": pa.array([content], pa.binary()), "b": [2], "t": pa.array([time], STAMP)}
            assert answers(join, pa.table(one), what) == [expected]


class AsOfJoinValuesSuite(AsOfJoinFixtures):
    """Values come out as they were stored; give the fixture `opened`."""

    def test_types_come_out_as_they_are_stored(self, join: AsOfJoin, tables: FeatureTables) -> None:
        stored = {
            "money": (pa.decimal128(18, 2), Decimal("-1234567890123.45")),
            "wide": (pa.decimal128(38, 10), Decimal("1234567890123456789012345678.0123456789")),
            "day": (pa.date32(), date(1969, 12, 31)),
            "time": (STAMP, datetime(1960, 1, 1, 0, 0, 0, 1, tzinfo=UTC)),
            "text": (pa.string(), 'it\'s "ä"'),
            "nothing": (pa.string(), ""),
            "flag": (pa.bool_(), True),
            "tiny": (pa.int8(), -5),
            "small": (pa.int16(), -(2**15)),
            "medium": (pa.int32(), 2**31 - 1),
            "large": (pa.int64(), 2**63 - 1),
            "single": (pa.float32(), 0.10000000149011612),
            "double": (pa.float64(), 0.1),
            "endless": (pa.float64(), float("-inf")),
            "raw": (pa.binary(), b"\x00\xff"),
            "many": (pa.list_(pa.float64()), [1.5, None]),
            "nested": (pa.struct([("a", pa.int64()), ("b", pa.string())]), {"a": None, "b": "x"}),
            'a "name"': (pa.int64(), 1),
            "dot.and`tick": (pa.int64(), 2),
        }
        rows = features([(1, day("2024-01-01"))], ("k", "ts"))
        for name, (kind, value) in stored.items():
            rows = rows.append_column(pa.field(name, kind), pa.array([value], kind))
        asked = requests((1, day("2024-01-02")), (2, day("2024-01-02")))
        found = join.lookup(asked, lookup(tables.make(rows)), LATE)
        for name, (kind, _) in stored.items():
            assert found.schema.field(name).type == kind, name
        assert found.to_pylist() == [{name: value for name, (_, value) in stored.items()}, dict.fromkeys(stored)]

    def test_a_value_that_is_not_a_number_is_not_null(self, join: AsOfJoin, tables: FeatureTables) -> None:
        rows = features([(1, day("2024-01-01"), float("nan")), (2, day("2024-01-01"), None)], v=pa.float64())
        asked = requests((1, day("2024-01-02")), (2, day("2024-01-02")))
        found = join.lookup(asked, lookup(tables.make(rows), defaults={"v": 7.0}), LATE).column("v").to_pylist()
        assert found[0] != found[0]
        assert found[1] == 7.0

    def test_money_with_more_digits_than_a_float_has(self, join: AsOfJoin, tables: FeatureTables) -> None:
        owed = Decimal("-1234567890123456.78")
        rows = features([(1, day("2024-01-01"), owed)], v=pa.decimal128(18, 2))
        assert answers(join, requests((1, day("2024-01-02"))), lookup(tables.make(rows))) == [owed]

    def test_times_without_a_zone_stay_without(self, join: AsOfJoin, tables: FeatureTables) -> None:
        clock = datetime(1969, 12, 31, 23, 59, 59, 999999)  # noqa: DTZ001 - a column without a zone
        rows = features([(1, day("2024-01-01"), clock)], v=pa.timestamp("us"))
        found = join.lookup(requests((1, day("2024-01-02"))), lookup(tables.foreign(rows)), LATE)
        assert found.schema.types == [pa.timestamp("us")]
        assert found.column("v").to_pylist() == [clock]

    def test_defaults_of_many_types(self, join: AsOfJoin, tables: FeatureTables) -> None:
        kinds = {"a": pa.string(), "b": pa.bool_(), "c": pa.decimal128(10, 2), "d": pa.date32()}
        rows = features([(1, day("2024-01-01"))], ("k", "ts"))
        for name, kind in kinds.items():
            rows = rows.append_column(name, pa.nulls(1, kind))
        defaults = {"a": "none", "b": False, "c": Decimal("0.10"), "d": date(2000, 1, 1)}
        found = join.lookup(
            requests((1, day("2024-01-02")), (2, day("2024-01-02"))), lookup(tables.make(rows), defaults=defaults), LATE
        )
        assert found.schema.types == list(kinds.values())
        assert found.to_pylist() == [defaults, defaults]

    def test_very_long_strings(self, join: AsOfJoin, tables: FeatureTables) -> None:
        at, key, value = day("2024-01-01"), "k" * 100_000, "ä" * 1_000_000
        rows = features([(key, at, value), (key + "k", at, "other")], k=pa.string(), v=pa.string())
        asked = requests((key, at), (key[1:], at), (key + "k", at), key=pa.string())
        assert answers(join, asked, lookup(tables.make(rows))) == [value, None, "other"]

    def test_columns_that_older_files_lack_are_null(self, join: AsOfJoin, tables: FeatureTables) -> None:
        old = tables.make(features([(1, day("2024-01-01"), 1)]))
        new = tables.append(old, features([(2, day("2024-01-01"), 2, 20)], ("k", "ts", "v", "w"), w=pa.int64()))
        asked = requests((1, day("2024-01-02")), (2, day("2024-01-02")))
        assert answers(join, asked, lookup(new, columns={"w": "w"})) == [None, 20]
        assert answers(join, asked, lookup(new, columns={"w": "w"}, defaults={"w": 0})) == [0, 20]
        assert answers(join, asked, lookup(old)) == [1, None]

    def test_partition_columns_are_read_from_the_log(self, join: AsOfJoin, tables: FeatureTables) -> None:
        at = day("2024-01-01")
        places = [("EU west", date(2024, 1, 1)), ("a/b", date(2024, 1, 2)), ("100 % ä=?*{}", None), (None, None)]
        rows = features([(key, at, key * 10) for key in range(1, 5)])
        rows = rows.append_column("region", pa.array([region for region, _ in places], pa.string()))
        rows = rows.append_column("day", pa.array([on for _, on in places], pa.date32()))
        what = lookup(tables.make(rows, partitions=("region", "day")))
        found = join.lookup(requests((4, at), (3, at), (1, at), (2, at), (5, at)), what, LATE)
        assert found.schema.types == [pa.int64(), pa.string(), pa.date32()]
        assert found.to_pydict() == {
            "v": [40, 30, 10, 20, None],
            "region": [None, "100 % ä=?*{}", "EU west", "a/b", None],
            "day": [None, None, date(2024, 1, 1), date(2024, 1, 2), None],
        }

    def test_a_table_partitioned_by_its_key_and_by_its_day(self, join: AsOfJoin, tables: FeatureTables) -> None:
        rows = features([(k, date(2024, 1, d), 10 * k + d) for k in (1, 2) for d in (1, 2)], ts=pa.date32())
        what = lookup(tables.make(rows, partitions=("k", "ts")))
        asked = requests((2, day("2024-01-03")), (1, day("2024-01-02")), (1, day("2024-01-01")), (3, day("2024-01-03")))
        assert answers(join, asked, what) == [22, 11, None, None]


class AsOfJoinRefusalsSuite(AsOfJoinFixtures):
    """What can't be answered is refused; give the fixture `opened`."""

    @pytest.mark.parametrize("time", ["ts", None])
    def test_identities_that_are_not_unique_break_the_law_loudly(
        self, join: AsOfJoin, tables: FeatureTables, time: str | None
    ) -> None:
        rows = features([(1, day("2024-01-01"), 1), (1, day("2024-01-01"), 2), (2, day("2024-01-01"), 3)])
        source = tables.make(rows if time else rows.drop_columns(["ts"]), time=time)
        with pytest.raises(LawBroken):
            join.lookup(requests((1, day("2024-01-01")), (2, day("2024-01-01"))), lookup(source), LATE)

    def test_files_that_are_gone_and_times_that_do_not_fit(self, join: AsOfJoin, tables: FeatureTables) -> None:
        where = tables.make(features([(1, day("2024-01-01"), 1)]))
        fine = pa.table({"k": [1], "t": pa.array([1], pa.timestamp("ns", "UTC"))})
        with pytest.raises(InvalidInput, match="'t' has times that microseconds can't hold"):
            join.lookup(fine, lookup(where), LATE)
        for path in where.files:
            Path(path).unlink()
        with pytest.raises(InvalidState, match="can't"):
            join.lookup(requests((1, day("2024-01-01"))), lookup(where), LATE)
