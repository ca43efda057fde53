"""The as-of join's own parts, where the conformance suite does not reach: large spans, odd numbers, files that are skipped."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.core.errors import LawBroken
from millrace.core.names import TableName
from millrace.features.adapters import arrow_asof, arrow_gather
from millrace.features.adapters.arrow_asof import ArrowAsOfJoin
from millrace.features.adapters.arrow_keys import KeyCodes
from millrace.features.adapters.arrow_newest import Newest, Questions
from millrace.features.adapters.arrow_parts import Footers, Part, list_parts
from millrace.features.attach import attach
from millrace.features.types import FeatureSource, ResolvedLookup
from millrace.lake.types import Location, TableVersion, Version

STAMP = pa.timestamp("us", "UTC")
LATE = datetime(2100, 1, 1, tzinfo=UTC)
FAR = 2**62

# Few instants near each other, and some so far away that keys and microseconds don't fit one number.
TIMES = st.one_of(st.integers(0, 6), st.sampled_from([-FAR, -FAR + 1, FAR - 1, FAR]))
ROWS = st.lists(st.tuples(st.integers(0, 4), TIMES), max_size=20, unique=True)
ASKED = st.lists(st.tuples(st.integers(-1, 3), TIMES, st.booleans()), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@given(asked=ASKED, rows=ROWS, cuts=st.integers(1, 3), window=st.one_of(st.none(), st.integers(0, 4)))
def test_newest_equals_plain_python(asked: Any, rows: Any, cuts: int, window: int | None) -> None:
    codes, times, known = (np.array(each) for each in zip(*asked, strict=True))
    newest = Newest(Questions(codes.astype(np.int32), times.astype(np.int64), known.astype(np.bool_), 5))
    for part in range(cuts):
        few = [(number, *row) for number, row in enumerate(rows) if number % cuts == part]
        numbers, keys, seen = (
            (np.array(each, np.int64) for each in zip(*few, strict=True)) if few else [np.zeros(0, int)] * 3
        )
        newest.add(keys.astype(np.int32), seen, numbers)
    assert newest.twice == 0
    lookback = None if window is None else timedelta(microseconds=window)
    expected = []
    for key, at, has_time in asked:
        past = [(seen, number) for number, (k, seen) in enumerate(rows) if k == key and seen <= at and has_time]
        latest = max(past, default=None)
        old = latest is not None and window is not None and at - latest[0] > window
        expected.append(-1 if latest is None or old else latest[1])
    assert newest.rows(lookback).tolist() == expected


@pytest.mark.parametrize("parts", [[[0, 1, 2]], [[0], [1], [2]], [[2], [0, 1]], [[1], [2, 0]]])
def test_a_row_that_is_there_twice_is_told_whatever_the_order(parts: Sequence[Sequence[int]]) -> None:
    def told(seen: list[int]) -> int:
        newest = Newest(Questions(np.zeros(1, np.int32), np.array([10]), np.ones(1, np.bool_), 1))
        for part in parts:
            newest.add(np.zeros(len(part), np.int32), np.array([seen[n] for n in part]), np.array(part))
        return newest.twice

    assert told([5, 5, 3]) == 1
    assert told([5, 5, 7]) == 0  # a newer one answers
    assert told([11, 11, 7]) == 0  # not seen yet


def test_a_lookback_of_centuries() -> None:
    newest = Newest(Questions(np.zeros(1, np.int32), np.array([FAR]), np.ones(1, np.bool_), 1))
    newest.add(np.zeros(1, np.int32), np.array([-FAR]), np.array([3]))
    assert newest.rows(timedelta.max).tolist() == [3]
    assert newest.rows(timedelta(microseconds=2 * FAR - 1)).tolist() == [-1]


NUMBERS = st.one_of(st.none(), st.integers(-3, 3), st.sampled_from([-(2**63), 2**63 - 1, 2**40]))
TEXTS = st.one_of(st.none(), st.sampled_from(["", "a", "ab", "b"]))


@settings(max_examples=150, deadline=None)
@given(asked=st.lists(st.tuples(NUMBERS, TEXTS), max_size=8), stored=st.lists(st.tuples(NUMBERS, TEXTS), max_size=8))
def test_codes_are_equal_exactly_where_all_columns_are(asked: Any, stored: Any) -> None:
    def columns(keys: Any) -> list[pa.Array]:
        return [pa.array([k for k, _ in keys], pa.int64()), pa.array([t for _, t in keys], pa.large_string())]

    for width in (1, 2):
        keys = KeyCodes(columns(asked)[:width])
        found = keys.of(columns(stored)[:width])
        assert keys.codes.max(initial=-1) < keys.count
        for code, key in zip(found, stored, strict=True):
            same = [c for c, other in zip(keys.codes, asked, strict=True) if other[:width] == key[:width]]
            whole = None not in key[:width]
            assert [int(code)] * len(same) == same if whole and same else code == -1


def source(folder: Path, *tables: pa.Table, **changes: Any) -> FeatureSource:
    paths = []
    for number, table in enumerate(tables):
        paths.append(str(folder / f"{number}.parquet"))
        pq.write_table(table, paths[-1], row_group_size=changes.get("group", 1000))
    return FeatureSource(
        table=TableVersion(TableName.parse("f.t"), Version(1)),
        location=Location(str(folder)),
        files=changes.get("files", paths),
        schema=changes["schema"] if "schema" in changes else tables[0].schema,
        primary_keys=("k",),
        timeseries_column="ts",
        available_after=changes.get("after", timedelta(0)),
        date_stands_for="end",
    )


def lookup(where: FeatureSource, **changes: Any) -> ResolvedLookup:
    names = [name for name in where.schema.names if name not in ("k", "ts")]
    settled = {"columns": {name: name for name in names}, "lookback": None, "defaults": {}} | changes
    return ResolvedLookup(source=where, keys=("k",), timestamp_key="t", **settled)


def rows(keys: Sequence[int], days: Sequence[int], **more: pa.Array) -> pa.Table:
    times = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=n) for n in days]
    return pa.table({"k": pa.array(keys, pa.int64()), "ts": pa.array(times, STAMP), **more})


def asked(*pairs: tuple[int, int]) -> pa.Table:
    return rows([k for k, _ in pairs], [n for _, n in pairs]).rename_columns(["k", "t"])


def test_only_parts_that_can_answer_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [
        rows([1, 2], [0, 0], v=pa.array([10, 20])),
        rows([1, 2], [5, 5], v=pa.array([15, 25])),
        rows([1, 2], [9, 9], v=pa.array([19, 29])),
        rows([8, 9], [5, 5], v=pa.array([85, 95])),
    ]
    read: list[tuple[str, str]] = []
    plain = Part.read

    def watched(part: Part, names: Sequence[str]) -> pa.Table:
        read.append((Path(part.path).stem, ",".join(names)))
        return plain(part, names)

    monkeypatch.setattr(Part, "read", watched)
    what = lookup(source(tmp_path, *files), lookback=timedelta(days=3))
    found = ArrowAsOfJoin(1).lookup(asked((1, 6), (2, 7)), what, LATE)
    assert found.column("v").to_pylist() == [15, 25]
    assert read == [("1", "k,ts"), ("1", "v")]
    read.clear()
    late = lookup(source(tmp_path, *files))
    assert ArrowAsOfJoin(1).lookup(asked((7, 6)), late, LATE).column("v").to_pylist() == [None]
    assert read == []


def test_many_row_groups_and_threads_give_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_asof, "_PIECE_ROWS", 16)
    random = np.random.default_rng(3)
    keys, days = np.repeat(np.arange(20), 10), np.tile(np.arange(10), 20)
    order = random.permutation(200)
    table = rows(keys.tolist(), days.tolist(), v=pa.array(np.arange(200))).take(order)
    where = source(tmp_path, table.slice(0, 90), table.slice(90), group=32)
    questions = asked(
        *((int(k), int(d)) for k, d in zip(random.integers(0, 22, 80), random.integers(-1, 12, 80), strict=True))
    )
    expected = [
        None if k > 19 or (t.day - 1 if t.year == 2024 else -1) < 0 else k * 10 + min(t.day - 1, 9)
        for k, t in zip(questions["k"].to_pylist(), questions["t"].to_pylist(), strict=True)
    ]
    for threads in (1, 3):
        found = ArrowAsOfJoin(threads).lookup(questions, lookup(where), LATE)
        assert found.column("v").to_pylist() == expected


def test_text_of_more_than_one_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_gather, "_CHUNK_BYTES", 40)
    words = ["a" * 15, "b" * 14, None, "c"]
    where = source(tmp_path, rows([1, 2, 3, 4], [0] * 4, v=pa.array(words), w=pa.array(words).cast(pa.binary())))
    questions = asked(*((k, 1) for k in (4, 1, 2, 3, 5, 1, 2, 1, 4)))
    found = ArrowAsOfJoin(1).lookup(questions, lookup(where, defaults={"v": "none"}), LATE)
    expected = ["c", words[0], words[1], None, None, words[0], words[1], words[0], "c"]
    assert found.column("v").num_chunks > 1
    assert found.column("v").to_pylist() == [word or "none" for word in expected]
    assert found.column("w").to_pylist() == [None if word is None else word.encode() for word in expected]


def test_a_row_that_answers_often_is_gathered_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gathered: list[int] = []
    plain = arrow_gather._taken

    def watched(batch: Any) -> Any:
        gathered.append(len(batch[1]))
        return plain(batch)

    monkeypatch.setattr(arrow_gather, "_taken", watched)
    monkeypatch.setattr(arrow_gather, "_CHUNK_BYTES", 40)
    words = ["a" * 15, "b" * 14, None, "c"]
    what = lookup(source(tmp_path, rows([1, 2, 3, 4], [0] * 4, v=pa.array(words)), group=2))
    questions = asked((9, 1), *((k, 1) for k in (4, 1, 1, 2, 3, 3)), (1, -1))
    found = ArrowAsOfJoin(1).lookup(questions, what, LATE).column("v")
    assert found.to_pylist() == [None, "c", words[0], words[0], words[1], None, None, None]
    assert gathered == [2, 2]


def test_partitions_that_others_wrote(tmp_path: Path) -> None:
    """Values as other writers put them into folder names; folders above the table say nothing."""
    root = tmp_path / "v=9" / "table"
    texts = {
        "at=2024-01-01 10:00:00": 1,
        "at=2024-01-01T10:00:00.500000Z": 2,
        "at=__HIVE_DEFAULT_PARTITION__": 3,
        "at=": 4,
    }
    files = []
    for folder, key in texts.items():
        (root / folder).mkdir(parents=True)
        files.append(str(root / folder / "1.parquet"))
        pq.write_table(rows([key], [0], v=pa.array([key])), files[-1])
    schema = pa.schema([("k", pa.int64()), ("ts", STAMP), ("v", pa.int64()), ("at", STAMP)])
    where = source(root, files=files, schema=schema)
    found = ArrowAsOfJoin(1).lookup(asked((1, 1), (2, 1), (3, 1), (4, 1)), lookup(where), LATE).to_pydict()
    ten = datetime(2024, 1, 1, 10, tzinfo=UTC)
    assert found == {"v": [1, 2, 3, 4], "at": [ten, ten + timedelta(milliseconds=500), None, None]}


def test_old_timestamps_of_96_bits(tmp_path: Path) -> None:
    path = str(tmp_path / "old.parquet")
    pq.write_table(rows([1, 1], [0, 3], v=pa.array([1, 2])), path, use_deprecated_int96_timestamps=True)
    where = source(tmp_path, files=[path], schema=pa.schema([("k", pa.int64()), ("ts", STAMP), ("v", pa.int64())]))
    assert ArrowAsOfJoin(1).lookup(asked((1, 2), (1, 3)), lookup(where), LATE).column("v").to_pylist() == [1, 2]


def test_wide_rows_are_read_a_few_columns_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    table = rows([1] * 500, list(range(500)), **{f"v{n}": pa.array(random.random(500)) for n in range(4)})
    part = next(list_parts(source(tmp_path, table), Footers()))
    monkeypatch.setattr("millrace.features.adapters.arrow_parts._BATCH_BYTES", 10_000)
    assert part.batches(["v0", "v1", "v2", "v3"]) == [["v0", "v1"], ["v2", "v3"]]
    monkeypatch.setattr("millrace.features.adapters.arrow_parts._BATCH_BYTES", 10)
    assert part.batches(["v0", "v1"]) == [["v0"], ["v1"]]
    found = ArrowAsOfJoin(2).lookup(asked((1, 7)), lookup(part.source), LATE)
    assert found.to_pylist() == [{f"v{n}": table.column(f"v{n}")[7].as_py() for n in range(4)}]


def test_dates_are_skipped_by_the_end_of_their_day(tmp_path: Path) -> None:
    table = pa.table({"k": [1], "ts": pa.array([date(2024, 1, 1)]), "v": [1]})
    what = lookup(source(tmp_path, table, after=timedelta(hours=1)), lookback=timedelta(0))
    first = datetime(2024, 1, 2, 1, tzinfo=UTC)
    times = [first - timedelta(microseconds=1), first, first + timedelta(microseconds=1)]
    for time, expected in zip(times, [None, 1, None], strict=True):
        one = pa.table({"k": [1], "t": pa.array([time], STAMP)})
        assert ArrowAsOfJoin(1).lookup(one, what, LATE).column("v").to_pylist() == [expected]


def test_several_lookups_at_once_equal_each_alone(tmp_path: Path) -> None:
    places = [tmp_path / name for name in "abc"]
    for place in places:
        place.mkdir()
    sources = [
        source(places[0], rows([1, 1, 2], [0, 2, 1], v=pa.array([1, 2, 3]))),
        source(places[1], rows([1, 2], [1, 9], w=pa.array(["x", "y"]))),
        source(places[2], rows([1, 2], [1, 2], u=pa.array([0.5, None]))),
    ]
    lookups = [lookup(each) for each in sources]
    questions = asked((2, 3), (1, 1), (1, 2), (9, 5))
    join = ArrowAsOfJoin(2)
    together = attach(join, questions, lookups, LATE)
    assert together.column_names == ["k", "t", "v", "w", "u"]
    for one in lookups:
        alone = join.lookup(questions, one, LATE)
        assert together.select(alone.column_names).equals(alone)
    assert together.select(["v", "w", "u"]).to_pylist() == [
        {"v": 3, "w": None, "u": None},
        {"v": 1, "w": "x", "u": 0.5},
        {"v": 2, "w": "x", "u": 0.5},
        {"v": None, "w": None, "u": None},
    ]


def test_twice_in_two_files_is_refused(tmp_path: Path) -> None:
    where = source(tmp_path, rows([1, 2], [0, 0], v=pa.array([1, 2])), rows([1], [0], v=pa.array([3])))
    with pytest.raises(LawBroken, match="1 of its rows are there twice"):
        ArrowAsOfJoin(2).lookup(asked((1, 1), (2, 1)), lookup(where), LATE)
    assert ArrowAsOfJoin(2).lookup(asked((2, 1)), lookup(where), LATE).column("v").to_pylist() == [2]
