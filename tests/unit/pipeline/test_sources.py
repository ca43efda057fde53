"""Which rows of a source can be seen as of a time: Sail's answer against a few lines of plain Python."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.core.errors import InvalidInput
from millrace.lake.adapters.sail import SailEngine
from millrace.lake.types import DateStandsFor, TableDefinition
from millrace.pipeline import sources
from millrace.pipeline.declare import Source

T = datetime(2025, 3, 3, tzinfo=UTC)
US, HOUR, DAY = timedelta(microseconds=1), timedelta(hours=1), timedelta(days=1)
TIMESTAMP = pa.timestamp("us", "UTC")


def seen(
    sail: SailEngine, table: pa.Table, source: Source, as_of: datetime, definition: TableDefinition | None = None
) -> list[int]:
    frame = sail.session().createDataFrame(table)
    cut = sources.cut(frame, source, as_of, table.schema, definition or TableDefinition())
    assert cut.columns == table.column_names
    return sorted(cut.toArrow().column("id").to_pylist())


def events(times: list[Any], kind: pa.DataType = TIMESTAMP) -> pa.Table:
    return pa.table({"id": list(range(len(times))), "at": pa.array(times, kind)})


@pytest.mark.parametrize("zone", ["UTC", None])
def test_events_are_seen_up_to_and_at_the_time(sail: SailEngine, zone: str | None) -> None:
    times = [T - DAY, T - US, T, T + US, T + DAY, None]
    given = times if zone else [time and time.replace(tzinfo=None) for time in times]
    table = events(given, pa.timestamp("us", zone))
    assert seen(sail, table, Source("t", event_time="at"), T) == [0, 1, 2]


@pytest.mark.parametrize(
    ("stands_for", "as_of", "expected"),
    [
        ("end", T, [0, 1]),  # the 2nd ends when the 3rd begins
        ("end", T - US, [0]),
        ("end", T + DAY - US, [0, 1]),
        ("end", T + DAY, [0, 1, 2]),
        ("start", T, [0, 1, 2]),
        ("start", T - US, [0, 1]),
    ],
)
def test_a_date_stands_for_the_end_of_its_day_unless_the_table_says_start(
    sail: SailEngine, stands_for: DateStandsFor, as_of: datetime, expected: list[int]
) -> None:
    table = events([date(2025, 3, 1), date(2025, 3, 2), date(2025, 3, 3)], pa.date32())
    definition = TableDefinition(date_stands_for=stands_for)
    assert seen(sail, table, Source("t", event_time="at"), as_of, definition) == expected


@pytest.mark.parametrize(("of_source", "of_table"), [(2 * HOUR, 0 * HOUR), (0 * HOUR, 2 * HOUR), (HOUR, 2 * HOUR)])
def test_a_row_that_arrives_later_is_seen_later(sail: SailEngine, of_source: timedelta, of_table: timedelta) -> None:
    table = events([T - 2 * HOUR - US, T - 2 * HOUR, T - 2 * HOUR + US, T])
    source = Source("t", event_time="at", available_after=of_source)
    assert seen(sail, table, source, T, TableDefinition(available_after=of_table)) == [0, 1]


def test_of_full_copies_the_newest_counts(sail: SailEngine) -> None:
    table = events([T - 2 * DAY, T - DAY, T - DAY, T + DAY])
    source = Source("t", event_time="at", history="snapshot")
    assert seen(sail, table, source, T) == [1, 2]
    assert seen(sail, table, source, T - DAY - US) == [0]
    assert seen(sail, table, source, T - 3 * DAY) == []
    assert seen(sail, table, source, T + DAY) == [3]


def test_of_full_copies_by_day_the_newest_that_ended_counts(sail: SailEngine) -> None:
    table = events([date(2025, 3, 1), date(2025, 3, 2), date(2025, 3, 3)], pa.date32())
    assert seen(sail, table, Source("t", event_time="at", history="snapshot"), T) == [1]


def test_rows_that_hold_for_a_while_are_seen_while_they_hold(sail: SailEngine) -> None:
    table = events([T - 2 * DAY, T - DAY, T - DAY, T, T + US]).append_column(
        "until", pa.array([T - DAY, T, T + US, None, None], TIMESTAMP)
    )
    source = Source("t", event_time="at", history="scd2", valid_to="until")
    assert seen(sail, table, source, T) == [2, 3]  # 1 ended at T: its successor holds
    assert seen(sail, table, source, T - US) == [1, 2]
    assert seen(sail, table, source, T + US) == [3, 4]


def test_the_end_of_a_row_is_seen_as_late_as_its_successor(sail: SailEngine) -> None:
    table = events([T - 2 * DAY, T]).append_column("until", pa.array([T, None], TIMESTAMP))
    source = Source("t", event_time="at", history="scd2", valid_to="until", available_after=DAY)
    assert seen(sail, table, source, T + DAY - US) == [0]
    assert seen(sail, table, source, T + DAY) == [1]


def test_rows_without_history_are_all_seen_and_a_warning_says_so(sail: SailEngine) -> None:
    source = Source("bronze.regions", history="none")
    assert seen(sail, events([T + DAY, None]), source, T) == [0, 1]
    assert "bronze.regions keeps no history" in (sources.warning(source) or "")
    assert sources.warning(Source("t", event_time="at")) is None


@given(
    rows=st.lists(st.tuples(st.integers(-6, 6), st.integers(-6, 6) | st.none()), min_size=1, max_size=8),
    at=st.integers(-6, 6),
    late=st.integers(0, 3),
    history=st.sampled_from(["append", "snapshot", "scd2"]),
)
@settings(max_examples=25, deadline=None)
def test_what_is_seen_is_what_plain_python_says(
    sail: SailEngine, rows: list[tuple[int, int | None]], at: int, late: int, history: Any
) -> None:
    times = [T + begin * HOUR for begin, _ in rows]
    ends = [None if end is None else T + end * HOUR for _, end in rows]
    table = events(list(times)).append_column("until", pa.array(ends, TIMESTAMP))
    as_of, delay = T + at * HOUR, late * HOUR
    known = [n for n, time in enumerate(times) if time + delay <= as_of]
    if history == "snapshot":
        known = [n for n in known if times[n] == max(times[m] for m in known)]
    if history == "scd2":
        known = [n for n in known if (end := ends[n]) is None or end + delay > as_of]
    valid_to = "until" if history == "scd2" else None
    source = Source("t", event_time="at", history=history, valid_to=valid_to, available_after=delay)
    assert seen(sail, table, source, as_of) == known


def test_time_columns_are_checked() -> None:
    schema = pa.schema([("at", TIMESTAMP), ("day", pa.date32()), ("n", pa.int64())])
    sources.check(Source("t", event_time="day"), schema)
    sources.check(Source("t", history="none"), schema)
    with pytest.raises(InvalidInput, match="source t has no column 'att'") as missing:
        sources.check(Source("t", event_time="att"), schema)
    assert missing.value.hint == "did you mean 'at'?"
    with pytest.raises(InvalidInput, match="column 'n' of source t is int64, not a time"):
        sources.check(Source("t", event_time="at", history="scd2", valid_to="n"), schema)


def test_the_earliest_event() -> None:
    assert sources.earliest(events([T, T - DAY, None]), "at") == T - DAY
    assert sources.earliest(events([date(2025, 3, 2)], pa.date32()), "at") == T - DAY
    assert sources.earliest(events([]), "at") is None


@pytest.mark.parametrize("kind", [TIMESTAMP, pa.date32()])
@pytest.mark.parametrize("stands_for", ["end", "start"])
def test_counting_follows_the_rule_of_cutting(sail: SailEngine, kind: pa.DataType, stands_for: DateStandsFor) -> None:
    times = [T + n * HOUR for n in (-50, -26, -24, -2, -1, 0, 1, 24)]
    table = events([time.date() for time in times] if kind == pa.date32() else list(times), kind)
    source = Source("t", event_time="at", available_after=HOUR)
    definition = TableDefinition(date_stands_for=stands_for)
    for as_of in (T, T + HOUR, T - US):
        count = sources.count_seen(table.column("at"), source, as_of, definition)
        assert count == len(seen(sail, table, source, as_of, definition))
