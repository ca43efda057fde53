from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.lake.types import DateStandsFor
from millrace.pipeline.audit.alter import Change, changed, known_rows
from millrace.pipeline.audit.rules import TableRule, View

US = pa.timestamp("us", "UTC")
CUT = datetime(2025, 3, 3, tzinfo=UTC)
NOW_US = timedelta(microseconds=1)


def rule(
    *views: View, keep: Sequence[str] = ("id",), unique: Sequence[str] = (), stands: DateStandsFor = "end"
) -> TableRule:
    return TableRule("bronze.t", views, tuple(keep), tuple(unique), stands, declared=True)


AT = rule(View("at", timedelta(0)))


def table(times: Sequence[datetime | None], **columns: pa.Array) -> pa.Table:
    return pa.table({"id": pa.array(range(len(times)), pa.int64()), "at": pa.array(times, US), **columns})


@pytest.mark.parametrize(
    ("at", "is_known"),
    [(CUT, True), (CUT + NOW_US, False), (CUT - NOW_US, True), (datetime(1960, 1, 1, tzinfo=UTC), True), (None, False)],
)
def test_a_row_is_known_from_its_time_on_inclusive(at: datetime | None, *, is_known: bool) -> None:
    assert known_rows(table([at]), AT, CUT).to_pylist() == [is_known]


def test_a_delay_makes_a_row_known_later() -> None:
    late = rule(View("at", timedelta(hours=2)))
    times = [CUT - timedelta(hours=2), CUT - timedelta(hours=2) + NOW_US]
    assert known_rows(table(times), late, CUT).to_pylist() == [True, False]


@pytest.mark.parametrize(("stands", "known"), [("end", [True, False, False]), ("start", [True, True, False])])
def test_a_date_is_known_at_the_end_of_its_day_or_at_its_start(stands: DateStandsFor, known: list[bool]) -> None:
    days = pa.table({"id": [1, 2, 3], "at": pa.array([date(2025, 3, 2), date(2025, 3, 3), date(2025, 3, 4)])})
    assert known_rows(days, rule(View("at", timedelta(0)), stands=stands), CUT).to_pylist() == known


def test_a_row_that_any_view_shows_is_of_the_past() -> None:
    rows = table([CUT + NOW_US]).append_column("loaded", pa.array([CUT], US))
    assert known_rows(rows, rule(View("at", timedelta(0)), View("loaded", timedelta(0))), CUT).to_pylist() == [True]


VALUES: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "int8": (pa.int8(), st.integers(-128, 127)),
    "int64": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "uint8": (pa.uint8(), st.integers(0, 255)),
    "float32": (pa.float32(), st.floats(width=32, allow_nan=False)),
    "float64": (pa.float64(), st.floats(allow_nan=False)),
    "decimal": (pa.decimal128(9, 2), st.decimals(-9999999, 9999999, places=2)),
    "widest": (pa.decimal128(38, 0), st.decimals(-(10**38) + 1, 10**38 - 1, places=0, allow_nan=False)),
    "bool": (pa.bool_(), st.booleans()),
    "text": (pa.string(), st.text(max_size=3)),
    "date": (pa.date32(), st.dates(date(1900, 1, 1), date(2200, 1, 1))),
    "time": (US, st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1))),  # noqa: DTZ001 - naive is UTC
    "list": (pa.list_(pa.int64()), st.lists(st.integers(0, 9), max_size=2)),
    "bytes": (pa.binary(), st.binary(max_size=2)),
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    size = draw(st.integers(0, 6))
    offsets = draw(st.lists(st.none() | st.integers(-3, 3), min_size=size, max_size=size))
    columns = {}
    for name, (kind, values) in VALUES.items():
        found = draw(st.lists(st.none() | values, min_size=size, max_size=size))
        columns[name] = pa.array(found, kind)
    return table([None if n is None else CUT + n * NOW_US for n in offsets], **columns)


@given(rows=tables())
@settings(max_examples=40, deadline=None)
def test_the_past_stays_and_nothing_of_the_future_does(rows: pa.Table) -> None:
    past = rows.filter(known_rows(rows, AT, CUT))
    assert changed(rows, AT, "removed", CUT).equals(past)
    altered = changed(rows, AT, "altered", CUT)
    assert altered.schema == rows.schema
    assert altered.filter(known_rows(altered, AT, CUT)).equals(past)
    assert len(altered) > len(rows) or not len(rows)  # rows were invented


@pytest.mark.parametrize("kind", ["int8", "float64", "decimal", "bool", "text", "date", "time"])
def test_every_value_of_the_future_is_another(kind: str) -> None:
    given: dict[str, list[Any]] = {
        "int8": [1, 2, 2, 3],
        "float64": [1.0, 2.0, 2.0, 3.0],
        "decimal": [Decimal("1.00"), Decimal("2.00"), Decimal("2.00"), Decimal("3.00")],
        "bool": [True, False, False, True],
        "text": ["a", "a", "b", "b"],
        "date": [date(2025, 1, 1)] * 4,
        "time": [CUT] * 4,
    }
    values = given[kind]
    rows = table([CUT + NOW_US] * 4, value=pa.array(values, VALUES[kind][0]))
    after = changed(rows, AT, "altered", CUT).slice(0, 4)
    assert after.column("id").to_pylist() == [0, 1, 2, 3]
    assert after.column("at").to_pylist() == [CUT + NOW_US] * 4
    assert all(new != old for new, old in zip(after.column("value").to_pylist(), values, strict=True))


def test_invented_rows_are_of_known_keys_and_begin_with_the_first_instant_after_the_cut() -> None:
    rows = table([CUT - timedelta(days=1)], amount=pa.array([5.0]))
    late = rule(View("at", timedelta(hours=1)))
    first, *others = changed(rows, late, "altered", CUT).slice(1).to_pylist()
    assert (first["id"], first["at"]) == (0, CUT - timedelta(hours=1) + NOW_US)
    assert [row["at"] - first["at"] for row in others] == [timedelta(days=1), timedelta(days=30)]


@pytest.mark.parametrize(("stands", "first"), [("end", date(2025, 3, 3)), ("start", date(2025, 3, 4))])
def test_an_invented_day_is_the_first_that_is_not_known(stands: DateStandsFor, first: date) -> None:
    days = pa.table({"id": [1], "at": pa.array([date(2025, 3, 1)])})
    by_day = rule(View("at", timedelta(0)), stands=stands)
    assert changed(days, by_day, "altered", CUT + timedelta(hours=10)).column("at").to_pylist()[1] == first


def test_keys_stay_unique_where_they_were() -> None:
    times = [CUT - timedelta(days=2), CUT - timedelta(days=1), CUT + timedelta(days=1)]
    rows = pa.table({"id": [7, 7, 7], "at": pa.array(times, US), "v": [1, 2, 3]})
    unique = rule(View("at", timedelta(0)), unique=("id", "at"))
    altered = changed(rows, unique, "altered", CUT).select(["id", "at"]).to_pylist()
    assert len({(row["id"], row["at"]) for row in altered}) == len(altered)


@pytest.mark.parametrize(("change", "end"), [("removed", None), ("altered", CUT + timedelta(days=405))])
def test_that_a_row_will_end_is_of_the_future(change: Change, end: datetime | None) -> None:
    ends = [CUT - timedelta(days=1), CUT, CUT + timedelta(days=5), None]
    rows = table([CUT - timedelta(days=9)] * 4, until=pa.array(ends, US))
    scd2 = rule(View("at", timedelta(0), "until"))
    assert changed(rows, scd2, change, CUT).column("until").to_pylist()[:4] == [*ends[:2], end, None]


def test_a_table_without_time_is_altered_as_a_whole_but_for_its_keys() -> None:
    rows = pa.table({"id": [1, 2, 3], "region": ["north", "north", "south"]})
    after = changed(rows, rule(), "whole", None)
    assert after.column("id").to_pylist() == [1, 2, 3]
    assert all(
        new != old for new, old in zip(after.column("region").to_pylist(), ["north", "north", "south"], strict=True)
    )
    assert changed(rows, AT, "whole", None) is rows
    assert changed(rows, rule(), "removed", CUT) is rows


def test_of_a_table_that_is_all_keys_half_the_rows_go() -> None:
    assert changed(pa.table({"id": [1, 2, 3, 4]}), rule(), "whole", None).column("id").to_pylist() == [1, 3]


def test_shuffled_rows_are_the_same_rows() -> None:
    rows = table([CUT] * 50)
    after = changed(rows, AT, "shuffled", None)
    assert after.column("id").to_pylist() != list(range(50))
    assert sorted(after.column("id").to_pylist()) == list(range(50))
