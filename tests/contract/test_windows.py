"""Window features, on every engine, against plain Python."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from millrace.core.errors import InvalidInput, InvalidState
from millrace.core.names import TableName
from millrace.core.principal import Principal
from millrace.features.adapters.duckdb_windows import DuckDbWindows
from millrace.features.adapters.spark_windows import SparkWindows
from millrace.features.types import FeatureSource
from millrace.features.windows import (
    TICK,
    Aggregate,
    Count,
    CountDistinct,
    Last,
    Max,
    Mean,
    Min,
    ResolvedWindows,
    Stddev,
    Sum,
    Ticks,
    WindowEngine,
    output_schema,
    resolve_features,
)
from millrace.lake.adapters.delta import DeltaTableStore
from millrace.lake.adapters.sail import SailEngine
from millrace.lake.types import CommitInfo, Location, TableDefinition, TableVersion
from millrace.testing.windows import window_rows

US, DAY = timedelta(microseconds=1), timedelta(days=1)
T0 = datetime(2025, 3, 3, tzinfo=UTC)
STAMP = pa.timestamp("us", "UTC")
SCHEMA = pa.schema(
    [
        ("k", pa.int64()),
        ("name", pa.string()),
        ("ts", STAMP),
        ("day", pa.date32()),
        ("x", pa.float64()),
        ("n", pa.int32()),
        ("money", pa.decimal128(18, 2)),
        ("word", pa.string()),
        ("ok", pa.bool_()),
        ("part", pa.string()),
    ]
)
_NUMBER = itertools.count()
_COMMIT = CommitInfo(T0, Principal("user", "ada"), "test")


ENGINES = ["duckdb", "sail", pytest.param("spark", marks=pytest.mark.spark)]
EXAMPLES = {"duckdb": 40, "sail": 5, "spark": 3}


@pytest.fixture(scope="module")
def sail() -> Iterator[SailEngine]:
    engine = SailEngine(1)
    yield engine
    engine.close()


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def windows_on(engine: str, request: pytest.FixtureRequest) -> WindowEngine:
    if engine == "duckdb":
        return DuckDbWindows(2)
    return SparkWindows(request.getfixturevalue("sail" if engine == "sail" else "real_spark"))


def source(
    folder: Path, rows: Sequence[Mapping[str, Any]], keys: Sequence[str] = ("k",), time: str = "ts", **rules: Any
) -> FeatureSource:
    """The rows as a Delta table, written in two commits."""
    store, location = DeltaTableStore(), Location(str(folder / f"t{next(_NUMBER)}"))
    partitions = rules.pop("partitions", ())
    store.create(location, SCHEMA, TableDefinition(partition_columns=partitions), _COMMIT)
    for part in (rows[::2], rows[1::2]):
        store.append(location, pa.Table.from_pylist(list(part), SCHEMA), _COMMIT)
    return FeatureSource(
        table=TableVersion(TableName.parse("f.events"), store.version(location)),
        location=location,
        files=store.files(location),
        schema=store.schema(location),
        primary_keys=tuple(keys),
        timeseries_column=time,
        available_after=rules.pop("available_after", timedelta(0)),
        date_stands_for=rules.pop("date_stands_for", "end"),
    )


def row(k: int | None, ts: datetime | None, **values: Any) -> dict[str, Any]:
    return {"k": k, "name": "a", "ts": ts, "day": None if ts is None else ts.date(), "part": "p"} | values


def agree(engine: WindowEngine, windows: ResolvedWindows, ticks: Ticks, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The engine's table, after it was found equal to what plain Python gives."""
    found = engine.compute(windows, ticks)
    assert found.schema.equals(output_schema(windows))
    keys = (*windows.source.primary_keys, TICK)
    got = {
        tuple(each[key] for key in keys): [each[feature.name] for feature in windows.features]
        for each in found.to_pylist()
    }
    assert len(got) == found.num_rows
    expected = window_rows(rows, windows, ticks)
    assert got.keys() == expected.keys()
    for key, values in expected.items():
        for feature, value, mine in zip(windows.features, values, got[key], strict=True):
            assert _same(value, mine), (key, feature, value, mine)
    return found


def _same(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        # The values that are drawn are at most 1e4: what is left of a sum that cancels is at most this.
        return (math.isnan(one) and math.isnan(other)) or math.isclose(one, other, rel_tol=1e-12, abs_tol=1e-9)
    return type(one) is type(other) and one == other


EVERYTHING: Sequence[tuple[str, Aggregate]] = [
    ("total", Sum("x", days=3)),
    ("money", Sum("money", days=3)),
    ("whole", Sum("n", days=1)),
    ("mean", Mean("x", days=3)),
    ("mean_money", Mean("money", days=2)),
    ("events", Count(days=3)),
    ("some", Count("x", days=1)),
    ("least", Min("x", days=3)),
    ("most", Max("money", days=2)),
    ("most_word", Max("word", days=3)),
    ("spread", Stddev("x", days=3)),
    ("words", CountDistinct("word", days=3)),
    ("numbers", CountDistinct("x", days=3)),
    ("last", Last("x", days=3)),
    ("last_word", Last("word", days=1)),
    ("last_time", Last("ts", days=3)),
    ("big", Count(days=3, where="x > 1.5 AND NOT (word LIKE 'b%')")),
    ("either", Sum("x", days=2, where="ok OR n IN (1, 2) OR word IS NULL")),
    ("early", Last("x", days=3, where="ts < '2025-03-04T06:00:00Z'")),
    ("hours", Count(over=timedelta(hours=5), where="money BETWEEN -1 AND 2.5")),
]

WHEN = st.one_of(
    st.tuples(st.integers(-4, 4), st.sampled_from([-US, 0 * US, US])).map(lambda e: T0 + e[0] * DAY + e[1]),
    st.integers(-5 * 24 * 60, 5 * 24 * 60).map(lambda minutes: T0 + timedelta(minutes=minutes)),
)


def _with_day(found: dict[str, Any]) -> dict[str, Any]:
    return found | {"day": None if found["ts"] is None else found["ts"].date()}


_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "k": st.integers(1, 3) | st.none(),
    "name": st.sampled_from(["a", "b", None]),
    "ts": WHEN | st.none(),
    "x": st.integers(-40_000, 40_000).map(lambda n: n / 4) | st.sampled_from([None, math.nan, 0.1, -0.0, 2.0]),
    "n": st.integers(-3, 3) | st.none(),
    "money": st.integers(-300, 300).map(lambda n: Decimal(n).scaleb(-2)) | st.none(),
    "word": st.sampled_from(["a", "b", "ba", "", None]),
    "ok": st.booleans() | st.none(),
    "part": st.sampled_from(["x", "y z"]),
}
ROW = st.fixed_dictionaries(_VALUES).map(_with_day)
GRID = st.tuples(
    st.integers(-48, 48).map(lambda hours: T0 + timedelta(hours=hours)),
    st.sampled_from([timedelta(hours=6), DAY, 7 * DAY]),
    st.integers(0, 9),
).map(lambda g: Ticks(*g))


def test_every_engine_equals_plain_python(engine: str, windows_on: WindowEngine, tmp_path: Path) -> None:
    @given(rows=st.lists(ROW, max_size=30), ticks=GRID, data=st.data())
    @settings(max_examples=EXAMPLES[engine], deadline=None, phases=[Phase.generate])
    def equal(rows: list[dict[str, Any]], ticks: Ticks, data: st.DataObject) -> None:
        _check_any(windows_on, tmp_path, rows, ticks, data)

    equal()


def _check_any(
    engine: WindowEngine, folder: Path, rows: list[dict[str, Any]], ticks: Ticks, data: st.DataObject
) -> None:
    rules: dict[str, Any] = {
        "keys": data.draw(st.sampled_from([("k",), ("name", "k")])),
        "time": data.draw(st.sampled_from(["ts", "day"])),
        "available_after": data.draw(st.sampled_from([timedelta(0), timedelta(hours=5)])),
        "date_stands_for": data.draw(st.sampled_from(["end", "start"])),
        "partitions": data.draw(st.sampled_from([(), ("part",)])),
    }
    agree(engine, resolve_features(source(folder, rows, **rules), EVERYTHING), ticks, rows)


def test_both_ends_of_a_window_are_as_everywhere(windows_on: WindowEngine, tmp_path: Path) -> None:
    times = {1: T0 - 2 * DAY, 2: T0 - 2 * DAY + US, 3: T0, 4: T0 + US}
    rows = [row(k, at, x=1.0) for k, at in times.items()]
    windows = resolve_features(source(tmp_path, rows), [("events", Count(days=2)), ("today", Count(days=1))])
    found = agree(windows_on, windows, Ticks(T0, DAY, 1), rows)
    assert sorted((each["k"], each["events"], each["today"]) for each in found.to_pylist()) == [(2, 1, 0), (3, 1, 1)]


def test_a_date_counts_from_its_end_and_a_late_row_from_when_it_came(windows_on: WindowEngine, tmp_path: Path) -> None:
    rows = [row(1, T0 - DAY), row(2, T0), row(3, T0 - 2 * DAY)]
    ticks = Ticks(T0, DAY, 1)
    daily = resolve_features(source(tmp_path, rows, time="day"), [("events", Count(days=1))])
    assert agree(windows_on, daily, ticks, rows).column("k").to_pylist() == [1]
    late = resolve_features(source(tmp_path, rows, available_after=DAY), [("events", Count(days=1))])
    assert agree(windows_on, late, ticks, rows).column("k").to_pylist() == [1]


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
def test_the_time_zone_of_a_session_moves_no_day(sail: SailEngine, tmp_path: Path, zone: str) -> None:
    rows = [row(1, T0 - DAY + timedelta(hours=hour)) for hour in (0, 5, 20)] + [row(2, T0 - 2 * DAY)]
    features = [("n", Count(days=1)), ("early", Count(days=3, where="ts < '2025-03-02T06:00:00Z'"))]
    windows, conf = resolve_features(source(tmp_path, rows, time="day"), features), sail.session().conf
    conf.set("spark.sql.session.timeZone", zone)
    try:
        agree(SparkWindows(sail), windows, Ticks(T0, timedelta(hours=6), 5), rows)
    finally:
        conf.set("spark.sql.session.timeZone", "UTC")


def test_of_values_that_are_equally_new_the_greatest_is_the_last(windows_on: WindowEngine, tmp_path: Path) -> None:
    rows = [row(1, T0, x=2.0), row(1, T0, x=None), row(1, T0, x=5.0), row(2, T0, x=None), row(2, T0 - DAY, x=7.0)]
    windows = resolve_features(source(tmp_path, rows), [("last", Last("x", days=9))])
    found = agree(windows_on, windows, Ticks(T0, DAY, 1), rows)
    assert dict(zip(found.column("k").to_pylist(), found.column("last").to_pylist(), strict=True)) == {1: 5.0, 2: None}


def test_a_large_value_that_left_the_window_leaves_no_trace(windows_on: WindowEngine, tmp_path: Path) -> None:
    rows = [row(1, T0 - 3 * DAY, x=1e17), row(1, T0 - DAY, x=0.1), row(1, T0, x=0.2)]
    windows = resolve_features(source(tmp_path, rows), [("total", Sum("x", days=2)), ("spread", Stddev("x", days=2))])
    found = windows_on.compute(windows, Ticks(T0 - 3 * DAY, DAY, 4)).sort_by(TICK).to_pylist()
    assert found[-1]["total"] == pytest.approx(0.3, rel=1e-14)
    assert found[-1]["spread"] == pytest.approx(0.05 * math.sqrt(2), rel=1e-14)


@pytest.mark.parametrize("partitions", [(), ("part",)])
def test_a_nan_beside_equal_numbers_counts(
    windows_on: WindowEngine, tmp_path: Path, partitions: tuple[str, ...]
) -> None:
    # Files whose statistics leave the NaN out say of their numbers that all are 142.25.
    values = [(T0, 142.25), (T0 + US, math.nan), (T0 + US, 142.25), (T0 + DAY, 142.25)]
    rows = [row(3, at, x=x) for at, x in values]
    everything = [(name, aggregate) for name, aggregate in EVERYTHING if aggregate.column in {None, "x"}]
    windows = resolve_features(source(tmp_path, rows, partitions=partitions), everything)
    found = agree(windows_on, windows, Ticks(T0, DAY, 2), [dict.fromkeys(SCHEMA.names) | each for each in rows])
    assert list(map(math.isnan, found.sort_by(TICK).column("total").to_pylist())) == [False, True]


def test_decimals_are_summed_exactly_and_before_1970(windows_on: WindowEngine, tmp_path: Path) -> None:
    old = datetime(1905, 5, 5, 12, tzinfo=UTC)
    rows = [row(1, old + n * US, money=Decimal("9999999999999999.99")) for n in range(3)]
    windows = resolve_features(source(tmp_path, rows), [("total", Sum("money", days=1))])
    found = agree(windows_on, windows, Ticks(old, timedelta(hours=1), 3), rows)
    assert set(found.column("total").to_pylist()) == {Decimal("9999999999999999.99"), Decimal("29999999999999999.97")}


def test_no_rows_and_no_ticks_give_an_empty_table(windows_on: WindowEngine, tmp_path: Path) -> None:
    windows = resolve_features(source(tmp_path, []), EVERYTHING)
    assert agree(windows_on, windows, Ticks(T0, DAY, 3), []).num_rows == 0
    assert windows_on.compute(windows, Ticks(T0, DAY, 0)).schema == output_schema(windows)


def test_a_sum_that_overflows_and_files_that_are_gone_are_said(tmp_path: Path) -> None:
    huge = pa.schema([("k", pa.int64()), ("ts", STAMP), ("n", pa.int64())])
    store, location = DeltaTableStore(), Location(str(tmp_path / "huge"))
    store.create(location, huge, TableDefinition(), _COMMIT)
    store.append(location, pa.Table.from_pylist([{"k": 1, "ts": T0, "n": 2**62}] * 2, huge), _COMMIT)
    pinned = TableVersion(TableName.parse("f.huge"), store.version(location))
    where = FeatureSource(pinned, location, store.files(location), huge, ("k",), "ts", timedelta(0), "end")
    windows = resolve_features(where, [("total", Sum("n", days=1))])
    with pytest.raises(InvalidInput, match=r"a sum over default\.f\.huge@1|a sum over .*huge@1 does not fit"):
        DuckDbWindows(1).compute(windows, Ticks(T0, DAY, 1))
    store.remove(location)
    with pytest.raises(InvalidState, match="can't be read"):
        DuckDbWindows(1).compute(windows, Ticks(T0, DAY, 1))


CONDITIONS = [
    "x > 1", "x >= 1.5", "x <> 0.1", "x != -2", "-1 < x", "x = 15e-1", "n IN (1, -2, 3)", "n NOT IN (1, 2)",
    "n NOT BETWEEN 0 AND 1", "money = 1.50", "money > n", "word = 'it''s'", "word NOT LIKE '_a%'", "word IS NOT NULL",
    "ok", "NOT ok", "ok = false", "(ok OR x < 0) AND n = 1 OR word = ''", "ts >= '2025-03-03'", "day = '2025-03-03'",
    '`word` < "name"', "not (n > 0 and x > 0)",
]  # fmt: skip


def test_conditions_mean_the_same_on_every_engine(windows_on: WindowEngine, tmp_path: Path) -> None:
    values = itertools.product(
        [None, -2.0, 0.1, 1.5, math.nan], [None, -2, 1], ["it's", None, "", "ba\n"], [True, False, None]
    )
    rows = [
        row(k, T0 - timedelta(hours=k % 30), x=x, n=n, word=word, ok=ok, money=None if n is None else Decimal("1.50"))
        for k, (x, n, word, ok) in enumerate(values)
    ]
    features = [(f"c{n}", Count(days=9, where=text)) for n, text in enumerate(CONDITIONS)]
    found = agree(windows_on, resolve_features(source(tmp_path, rows), features), Ticks(T0, DAY, 1), rows)
    for name, text in zip([name for name, _ in features], CONDITIONS, strict=True):
        assert 0 < sum(found.column(name).to_pylist()) < len(rows), text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("amount > 1", "there is no column 'amount'"),
        ("x > 'a'", "'a' is compared with a number"),
        ("word > 1", "1 is compared with a text"),
        ("x = word", "'word' is a text, and is compared with a number"),
        ("1 = 1", "two literals"),
        ("x > 1; DROP TABLE t", "';' is no part"),
        ("x > (SELECT 1)", "'(' stands where a column"),
        ("x >", "it ends too early"),
        ("x", "a comparison is missing"),
        ("x > 1 x", "'x' was not expected"),
        ("x IN ()", "')' stands where"),
        ("day = '2025-13-01'", "not a date"),
        ("ts > 'noon'", "not a timestamp"),
        ("word LIKE 'a\\%'", "backslash"),
        ("x LIKE 'a'", "LIKE compares"),
        ("length(word) > 1", "there is no column 'length'"),
        ("1 IS NULL", "a column is expected"),
        ("x NOT > 1", "NOT stands before"),
    ],
)
def test_other_conditions_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        resolve_features(source(tmp_path, []), [("c", Count(days=1, where=text))])
    assert message in refused.value.message
    assert refused.value.hint


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda: Sum(days=1), "Sum of no column"),
        (Count, "needs the length of its window"),
        (lambda: Count(days=1, over=DAY), "needs the length of its window"),
        (lambda: Count(days=0), "is 0:00:00 long"),
    ],
)
def test_aggregates_that_make_no_sense_are_refused(declare: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        declare()


@pytest.mark.parametrize(
    ("aggregate", "message"),
    [(Sum("word", days=1), "not a number"), (Max("wrod", days=1), "there is no column 'wrod'")],
)
def test_columns_that_do_not_fit_are_refused(tmp_path: Path, aggregate: Aggregate, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        resolve_features(source(tmp_path, []), [("f", aggregate)])


def test_the_length_of_a_window_is_days_or_a_duration() -> None:
    assert Count(days=1.5).length == Count(over=timedelta(hours=36)).length
