"""The point-in-time rules, for every engine that joins: worked cases, and laws against plain Python."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.core.errors import InvalidInput, InvalidState, LawBroken
from millrace.core.names import TableName
from millrace.features.adapters.duckdb_asof import DuckDbAsOfJoin
from millrace.features.port import AsOfJoin
from millrace.features.types import FeatureSource, ResolvedLookup
from millrace.lake.types import Location, TableVersion, Version
from millrace.testing.point_in_time import find

STAMP = pa.timestamp("us", "UTC")
INT = pa.int64()
LATE = datetime(2100, 1, 1, tzinfo=UTC)
_NUMBER = itertools.count()


@pytest.fixture(params=[DuckDbAsOfJoin(threads=1), DuckDbAsOfJoin(threads=2)], ids=["duckdb-1", "duckdb-2"])
def join(request: pytest.FixtureRequest) -> AsOfJoin:
    engine: AsOfJoin = request.param
    return engine


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def source(
    folder: Path, rows: pa.Table, keys: Sequence[str] = ("k",), time: str | None = "ts", **rules: Any
) -> FeatureSource:
    """The rows as Parquet files; `files` says into how many they are cut."""
    cuts = rules.pop("files", 1)
    paths = []
    for part in range(cuts):
        path = folder / f"part-{next(_NUMBER)}.parquet"
        pq.write_table(rows.take(pa.array(range(part, len(rows), cuts), INT)), path)
        paths.append(str(path))
    return FeatureSource(
        table=TableVersion(TableName.parse("f.t"), Version(1)),
        location=Location(str(folder)),
        files=paths,
        schema=rows.schema,
        primary_keys=tuple(keys),
        timeseries_column=time,
        available_after=rules.pop("available_after", timedelta(0)),
        date_stands_for=rules.pop("date_stands_for", "end"),
    )


def lookup(where: FeatureSource, **changes: Any) -> ResolvedLookup:
    features = [name for name in where.schema.names if name not in (*where.primary_keys, where.timeseries_column)]
    plain = ResolvedLookup(
        source=where,
        keys=where.primary_keys,
        columns={name: name for name in features},
        timestamp_key="t" if where.timeseries_column else None,
        lookback=None,
        defaults={},
    )
    return replace(plain, **changes)


def features(
    rows: Sequence[tuple[Any, ...]], names: Sequence[str] = ("k", "ts", "v"), **types: pa.DataType
) -> pa.Table:
    kinds = {"k": pa.int64(), "ts": STAMP, "v": pa.int64()} | types
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    return pa.table({name: pa.array(values, kinds[name]) for name, values in zip(names, columns, strict=True)})


def requests(*rows: tuple[Any, Any], key: pa.DataType = INT, time: pa.DataType = STAMP) -> pa.Table:
    return pa.table({"k": pa.array([k for k, _ in rows], key), "t": pa.array([t for _, t in rows], time)})


def values(join: AsOfJoin, asked: pa.Table, what: ResolvedLookup, as_of: datetime = LATE) -> list[Any]:
    found: list[Any] = join.lookup(asked, what, as_of).column(0).to_pylist()
    return found


def test_case_a_lookback_of_ten_days(join: AsOfJoin, tmp_path: Path) -> None:
    rows = features(
        [
            (1, day("2023-12-31"), 11),
            (1, day("2024-01-02"), 22),
            (1, day("2024-01-03"), 33),
            (2, day("2023-01-03"), 22),
            (3, day("2024-01-01"), 20),
        ]
    )
    asked = requests((1, day("2024-01-01")), (1, day("2024-01-02")), (2, day("2024-01-01")), (3, day("2024-01-03")))
    assert values(join, asked, lookup(source(tmp_path, rows), lookback=timedelta(days=10))) == [11, 22, None, 20]


def test_case_b_only_future_or_only_old_rows_keep_the_request(join: AsOfJoin, tmp_path: Path) -> None:
    rows = features([(1, day("2024-02-01"), 1), (2, day("2020-01-01"), 2)])
    asked = requests((1, day("2024-01-01")), (2, day("2024-01-01")))
    assert values(join, asked, lookup(source(tmp_path, rows), lookback=timedelta(days=1))) == [None, None]


def test_case_c_equal_requests_are_both_answered(join: AsOfJoin, tmp_path: Path) -> None:
    rows = features([(1, day("2024-01-01"), 7)])
    asked = requests((1, day("2024-01-02")), (1, day("2024-01-02")))
    assert values(join, asked, lookup(source(tmp_path, rows))) == [7, 7]


def test_case_d_composite_keys_never_mix(join: AsOfJoin, tmp_path: Path) -> None:
    at = day("2024-01-01")
    rows = features([("1", "11", at, 1), ("11", "1", at, 2)], ("a", "b", "ts", "v"), a=pa.string(), b=pa.string())
    asked = pa.table({"a": ["11", "1", "1", "111"], "b": ["1", "11", "1", ""], "t": pa.array([at] * 4, STAMP)})
    assert values(join, asked, lookup(source(tmp_path, rows, ("a", "b")))) == [2, 1, None, None]


def test_case_e_one_microsecond(join: AsOfJoin, tmp_path: Path) -> None:
    at, tick = day("2024-01-01"), timedelta(microseconds=1)
    rows = features([(1, at, 5)])
    asked = requests((1, at - tick), (1, at), (1, at + tick))
    what = lookup(source(tmp_path, rows))
    assert values(join, asked, what) == [None, 5, 5]
    assert values(join, asked, replace(what, lookback=timedelta(0))) == [None, 5, None]
    assert values(join, asked, replace(what, lookback=tick)) == [None, 5, 5]


def test_case_f_summer_time_old_times_and_zones(join: AsOfJoin, tmp_path: Path) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    first = datetime(2024, 10, 27, 2, 30, tzinfo=berlin)  # 00:30 UTC
    second = first.replace(fold=1)  # the same clock face, 01:30 UTC
    old = datetime(1912, 4, 15, 2, 20, tzinfo=UTC)
    rows = features([(1, day("2024-10-27T00:30"), 1), (1, day("2024-10-27T01:30"), 2), (2, old, 3)])
    what = lookup(source(tmp_path, rows))
    assert values(
        join, requests((1, first), (1, second), (2, old), time=pa.timestamp("us", "Europe/Berlin")), what
    ) == [1, 2, 3]
    tokyo = second.astimezone(timezone(timedelta(hours=9)))
    assert values(join, requests((1, tokyo), (2, old), time=pa.timestamp("us", "Asia/Tokyo")), what) == [2, 3]
    naive = requests((1, datetime(2024, 10, 27, 1, 29, 59)), time=pa.timestamp("ms"))  # noqa: DTZ001 - naive is UTC
    assert values(join, naive, what) == [1]


def test_a_date_stands_for_the_end_of_its_day(join: AsOfJoin, tmp_path: Path) -> None:
    rows = features([(1, date(2024, 1, 1), 1)], ts=pa.date32())
    asked = requests((1, day("2024-01-01T23:59:59.999999")), (1, day("2024-01-02")))
    assert values(join, asked, lookup(source(tmp_path, rows))) == [None, 1]
    starts = lookup(source(tmp_path, rows, date_stands_for="start"))
    assert values(join, asked, starts) == [1, 1]
    assert values(
        join, requests((1, date(2024, 1, 1)), (1, date(2024, 1, 2)), time=pa.date32()), lookup(source(tmp_path, rows))
    ) == [None, 1]


def test_availability_counts_for_being_seen_and_for_age(join: AsOfJoin, tmp_path: Path) -> None:
    rows = features([(1, day("2024-01-01"), 1)])
    what = lookup(source(tmp_path, rows, available_after=timedelta(hours=6)), lookback=timedelta(hours=1))
    asked = requests(*((1, day(f"2024-01-01T{text}")) for text in ("05:59:59", "06:00:00", "07:00:00", "07:00:01")))
    assert values(join, asked, what) == [None, 1, 1, None]


def test_what_was_not_available_at_the_reading_is_never_used(join: AsOfJoin, tmp_path: Path) -> None:
    rows = features([(1, day("2024-01-01"), 1), (1, day("2024-01-03"), 3)])
    what = lookup(source(tmp_path, rows))
    assert values(join, requests((1, day("2024-02-01"))), what, day("2024-01-02")) == [1]
    assert values(join, requests((1, day("2024-02-01"))), what, day("2024-01-03")) == [3]


def test_without_a_time_the_newest_as_of_the_reading(join: AsOfJoin, tmp_path: Path) -> None:
    rows = features([(1, day("2024-01-01"), 1), (1, day("2024-01-03"), 3)])
    what = lookup(source(tmp_path, rows), timestamp_key=None)
    assert values(join, pa.table({"k": [1, 2]}), what, day("2024-01-02")) == [1, None]


def test_a_null_is_the_answer_and_only_then_the_default(join: AsOfJoin, tmp_path: Path) -> None:
    rows = features([(1, day("2024-01-01"), 1), (1, day("2024-01-02"), None)])
    asked = requests((1, day("2024-01-03")), (1, day("2024-01-01")), (9, day("2024-01-03")))
    what = lookup(source(tmp_path, rows))
    assert values(join, asked, what) == [None, 1, None]
    assert values(join, asked, replace(what, defaults={"v": -1})) == [-1, 1, -1]


def test_null_keys_and_null_times_match_nothing(join: AsOfJoin, tmp_path: Path) -> None:
    rows = features([(None, day("2024-01-01"), 1), (1, None, 2), (2, day("2024-01-01"), 3)])
    asked = requests((None, day("2024-01-02")), (1, day("2024-01-02")), (2, None), (2, day("2024-01-02")))
    assert values(join, asked, lookup(source(tmp_path, rows))) == [None, None, None, 3]
    plain = rows.drop_columns(["ts"])
    still = lookup(source(tmp_path, plain, time=None))
    assert values(join, asked, still) == [None, 2, 3, 3]


@pytest.mark.parametrize("width", [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint64()])
def test_whole_numbers_of_any_width_match(join: AsOfJoin, tmp_path: Path, width: pa.DataType) -> None:
    rows = features([(1, day("2024-01-01"), 1)], k=pa.int32())
    assert values(join, requests((1, day("2024-01-02")), key=width), lookup(source(tmp_path, rows))) == [1]


def test_keys_of_other_types(join: AsOfJoin, tmp_path: Path) -> None:
    at = day("2024-01-01")
    keys = [
        (pa.date32(), date(2024, 1, 1), date(2024, 1, 2)),
        (STAMP, at, at + timedelta(microseconds=1)),
        (pa.bool_(), True, False),
        (pa.decimal128(10, 2), Decimal("1.10"), Decimal("1.11")),
        (pa.binary(), b"\x00\x01", b"\x00"),
        (pa.string(), "Ä b", "A b"),
    ]
    for kind, known, unknown in keys:
        rows = features([(known, at, 1)], k=kind)
        asked = requests((known, at), (unknown, at), key=kind)
        assert values(join, asked, lookup(source(tmp_path, rows))) == [1, None], kind
    dictionary = requests(("Ä b", at), key=pa.string()).set_column(0, "k", pa.array(["Ä b"]).dictionary_encode())
    assert values(join, dictionary, lookup(source(tmp_path, features([("Ä b", at, 1)], k=pa.string())))) == [1]


def test_types_come_out_as_they_are_stored(join: AsOfJoin, tmp_path: Path) -> None:
    stored = {
        "money": (pa.decimal128(18, 2), Decimal("-1234567890123456.78")),
        "day": (pa.date32(), date(1969, 12, 31)),
        "time": (STAMP, datetime(1960, 1, 1, 0, 0, 0, 1, tzinfo=UTC)),
        "clock": (pa.timestamp("us"), datetime(2024, 1, 1, 0, 0, 0, 1)),  # noqa: DTZ001 - a column without a zone
        "text": (pa.string(), 'it\'s "ä"'),
        "flag": (pa.bool_(), True),
        "small": (pa.int8(), -5),
        "single": (pa.float32(), 0.10000000149011612),
        "double": (pa.float64(), 0.1),
        "raw": (pa.binary(), b"\x00\xff"),
        "many": (pa.list_(pa.float64()), [1.5, None]),
        'a "name"': (pa.int64(), 1),
    }
    rows = features([(1, day("2024-01-01"))], ("k", "ts"))
    for name, (kind, value) in stored.items():
        rows = rows.append_column(pa.field(name, kind), pa.array([value], kind))
    found = join.lookup(requests((1, day("2024-01-02")), (2, day("2024-01-02"))), lookup(source(tmp_path, rows)), LATE)
    assert {field.name: field.type for field in found.schema} == {name: kind for name, (kind, _) in stored.items()}
    assert found.to_pylist() == [{name: value for name, (_, value) in stored.items()}, dict.fromkeys(stored)]


def test_renamed_and_chosen_columns_come_in_their_order(join: AsOfJoin, tmp_path: Path) -> None:
    rows = pa.table({"k": [1], "ts": pa.array([day("2024-01-01")], STAMP), "a": [1], "b": [2], "c": [3]})
    what = lookup(source(tmp_path, rows), columns={"c": "see", "a": "k"})
    assert join.lookup(requests((1, day("2024-01-02"))), what, LATE).to_pydict() == {"see": [3], "k": [1]}


def test_nothing_asked_nothing_there_no_files(join: AsOfJoin, tmp_path: Path) -> None:
    rows = features([(1, day("2024-01-01"), 1)])
    assert values(join, requests(), lookup(source(tmp_path, rows))) == []
    empty = source(tmp_path, rows.slice(0, 0))
    assert values(join, requests((1, day("2024-01-02"))), lookup(empty)) == [None]
    assert values(join, requests((1, day("2024-01-02"))), lookup(replace(empty, files=()))) == [None]
    assert values(join, requests(), lookup(replace(empty, files=()))) == []


def test_columns_that_older_files_lack_are_null(join: AsOfJoin, tmp_path: Path) -> None:
    old = source(tmp_path, features([(1, day("2024-01-01"), 1)]))
    new = source(tmp_path, features([(2, day("2024-01-01"), 2, 20)], ("k", "ts", "v", "w"), w=pa.int64()))
    both = replace(new, files=(*old.files, *new.files))
    asked = requests((1, day("2024-01-02")), (2, day("2024-01-02")))
    assert values(join, asked, lookup(both, columns={"w": "w"})) == [None, 20]
    assert values(join, asked, lookup(replace(both, files=old.files), columns={"w": "w"})) == [None, None]


def test_partition_columns_are_read_from_the_folders(join: AsOfJoin, tmp_path: Path) -> None:
    at = day("2024-01-01")
    folders = {"region=EU west/day=2024-01-01": (1, 10), "region=a%2Fb/day=2024-01-02": (2, 20)}
    paths = []
    for folder, (key, value) in folders.items():
        (tmp_path / folder).mkdir(parents=True)
        path = tmp_path / folder / "[1]*.parquet"
        pq.write_table(features([(key, at, value)]), path)
        paths.append(str(path))
    schema = features([(1, at, 1)]).schema.append(pa.field("region", pa.string())).append(pa.field("day", pa.date32()))
    where = replace(source(tmp_path, features([(1, at, 1)])), files=paths, schema=schema)
    found = join.lookup(requests((1, at), (2, at)), lookup(where), LATE)
    assert found.schema.types == [pa.int64(), pa.string(), pa.date32()]
    assert found.to_pydict() == {
        "v": [10, 20],
        "region": ["EU west", "a/b"],
        "day": [date(2024, 1, 1), date(2024, 1, 2)],
    }


def test_keys_that_are_not_unique_break_the_law_loudly(join: AsOfJoin, tmp_path: Path) -> None:
    rows = features([(1, day("2024-01-01"), 1), (1, day("2024-01-01"), 2)]).drop_columns(["ts"])
    with pytest.raises(LawBroken, match="gave 2 rows for 1"):
        join.lookup(requests((1, day("2024-01-01"))), lookup(source(tmp_path, rows, time=None)), LATE)


def test_files_that_are_gone_and_times_that_do_not_fit(join: AsOfJoin, tmp_path: Path) -> None:
    where = source(tmp_path, features([(1, day("2024-01-01"), 1)]))
    gone = replace(where, files=(str(tmp_path / "gone.parquet"),))
    with pytest.raises(InvalidState, match="can't be read"):
        join.lookup(requests((1, day("2024-01-01"))), lookup(gone), LATE)
    fine = pa.table({"k": [1], "t": pa.array([1], pa.timestamp("ns", "UTC"))})
    with pytest.raises(InvalidInput, match="'t' has times that microseconds can't hold"):
        join.lookup(fine, lookup(where), LATE)


# Laws. Few keys and few instants, so that matches, ties and edges are common.

INSTANTS = st.integers(0, 8).map(lambda n: datetime(2024, 3, 31, tzinfo=UTC) + timedelta(hours=12 * n))
KEYS = st.one_of(st.none(), st.integers(1, 3))
WINDOWS = st.one_of(st.none(), st.integers(0, 3).map(lambda n: timedelta(hours=12 * n)))
ASKED = st.lists(st.tuples(KEYS, st.one_of(st.none(), INSTANTS)), max_size=8)
ROWS = st.dictionaries(st.tuples(st.integers(1, 3), INSTANTS), st.one_of(st.none(), st.integers(0, 9)), max_size=12)
DELAYS = st.sampled_from([timedelta(0), timedelta(hours=12)])
ENGINE = DuckDbAsOfJoin(threads=1)
Rows = Mapping[tuple[int, datetime], int | None]
law = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def table_of(rows: Rows) -> pa.Table:
    return features([(key, at, value) for (key, at), value in rows.items()])


def expected(asked: pa.Table, rows: pa.Table, what: ResolvedLookup, as_of: datetime) -> list[Any]:
    stored = rows.to_pylist()
    return [find(row, stored, what, as_of)["v"] for row in asked.to_pylist()]


@dataclass(frozen=True)
class Question:
    asked: list[tuple[int | None, datetime | None]]
    window: timedelta | None
    delay: timedelta
    as_of: datetime
    defaults: dict[str, int]
    files: int


NO_DEFAULT: dict[str, int] = {}
QUESTIONS = st.builds(
    Question, ASKED, WINDOWS, DELAYS, INSTANTS, st.sampled_from([NO_DEFAULT, {"v": -1}]), st.integers(1, 3)
)


@law
@given(question=QUESTIONS, rows=ROWS)
def test_law_engine_equals_plain_python_whatever_the_files(tmp_path: Path, question: Question, rows: Rows) -> None:
    where = source(tmp_path, table_of(rows), available_after=question.delay, files=question.files)
    what = lookup(where, lookback=question.window, defaults=question.defaults)
    questions = requests(*question.asked)
    found = ENGINE.lookup(questions, what, question.as_of)
    assert len(found) == len(question.asked)
    assert found.column("v").to_pylist() == expected(questions, table_of(rows), what, question.as_of)
    no_time = replace(what, timestamp_key=None, lookback=None)
    assert values(ENGINE, questions, no_time, question.as_of) == expected(
        questions, table_of(rows), no_time, question.as_of
    )


DAYS = st.integers(0, 4).map(lambda n: date(2024, 3, 31) + timedelta(days=n))
DATED = st.dictionaries(st.tuples(KEYS, st.one_of(st.none(), DAYS)), st.integers(0, 9), max_size=12)


@law
@given(question=QUESTIONS, rows=DATED, stands=st.sampled_from(["end", "start"]))
def test_law_dates_and_rows_without_identity(tmp_path: Path, question: Question, rows: Any, stands: str) -> None:
    dated = features([(key, on, value) for (key, on), value in rows.items()], ts=pa.date32())
    what = lookup(
        source(tmp_path, dated, date_stands_for=stands, available_after=question.delay), lookback=question.window
    )
    questions = requests(*question.asked)
    assert values(ENGINE, questions, what, question.as_of) == expected(questions, dated, what, question.as_of)
    still = dated.group_by("k").aggregate([("v", "max")]).rename_columns(["k", "v"])
    plain = lookup(source(tmp_path, still, time=None))
    assert values(ENGINE, questions, plain, question.as_of) == expected(questions, still, plain, question.as_of)


@law
@given(question=QUESTIONS, rows=ROWS, other=ROWS)
def test_law_2_the_future_changes_nothing(tmp_path: Path, question: Question, rows: Rows, other: Rows) -> None:
    at, delay = question.as_of, question.delay
    past = {key: value for key, value in rows.items() if key[1] + delay <= at}
    changed = past | {key: value for key, value in other.items() if key[1] + delay > at}
    questions = requests(*[(key, at) for key, _ in question.asked])
    before, after = (lookup(source(tmp_path, table_of(every), available_after=delay)) for every in (rows, changed))
    assert values(ENGINE, questions, before) == values(ENGINE, questions, after)


@law
@given(asked=ASKED, rows=ROWS, data=st.data())
def test_laws_3_and_6_and_7(tmp_path: Path, asked: list[Any], rows: Rows, data: st.DataObject) -> None:
    window = data.draw(st.integers(0, 3))
    what = lookup(source(tmp_path, table_of(rows)), lookback=timedelta(hours=12 * window))
    whole = values(ENGINE, requests(*asked), what)
    places = data.draw(st.permutations(range(len(asked))))
    assert values(ENGINE, requests(*[asked[place] for place in places]), what) == [whole[place] for place in places]
    half = len(asked) // 2
    assert values(ENGINE, requests(*asked[:half]), what) + values(ENGINE, requests(*asked[half:]), what) == whole
    wider = values(ENGINE, requests(*asked), replace(what, lookback=timedelta(hours=12 * window + 12)))
    for narrow, wide in zip(whole, wider, strict=True):
        assert narrow is None or wide == narrow
