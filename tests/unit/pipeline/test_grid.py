from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.pipeline.grid import first_tick, last_tick, ticks

WEEK = timedelta(days=7)
TIMES = st.datetimes(datetime(1960, 1, 1), datetime(2100, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))  # noqa: DTZ001
STEPS = st.integers(1, 10**12).map(lambda us: timedelta(microseconds=us))


def test_a_weekly_grid_ticks_on_mondays_at_midnight() -> None:
    sunday = datetime(2025, 6, 1, 23, 59, 59, 999999, tzinfo=UTC)
    monday = datetime(2025, 6, 2, tzinfo=UTC)
    assert last_tick(sunday, WEEK) == datetime(2025, 5, 26, tzinfo=UTC)
    assert last_tick(monday, WEEK) == monday
    assert first_tick(sunday, WEEK) == first_tick(monday, WEEK) == monday


def test_the_anchor_is_a_tick() -> None:
    anchor = datetime(2025, 1, 1, 6, tzinfo=UTC)
    assert last_tick(datetime(2025, 1, 9, tzinfo=UTC), WEEK, anchor) == datetime(2025, 1, 8, 6, tzinfo=UTC)
    assert first_tick(datetime(2024, 12, 31, tzinfo=UTC), WEEK, anchor) == anchor


def test_ticks_are_inclusive_and_none_before_the_first() -> None:
    first = datetime(2025, 6, 2, tzinfo=UTC)
    assert ticks(first, first, WEEK) == [first]
    assert ticks(first, first + 2 * WEEK + timedelta(hours=1), WEEK) == [first, first + WEEK, first + 2 * WEEK]
    assert ticks(first, first - timedelta(microseconds=1), WEEK) == []
    assert ticks(first, first - 3 * WEEK, WEEK) == []


@given(TIMES, STEPS, TIMES)
@settings(max_examples=60, deadline=None)
def test_a_time_is_within_one_step_of_its_ticks(at: datetime, every: timedelta, anchor: datetime) -> None:
    before, after = last_tick(at, every, anchor), first_tick(at, every, anchor)
    assert before <= at < before + every
    assert after - every < at <= after
    assert (before - anchor) % every == timedelta(0)
    assert (after == before) == (at == before)
