"""Laws over days on which clocks change, against a walk over every minute of real time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.jobs.quartz import parse

# Half an hour in Lord Howe, two in Troll, at midnight in Santiago, and the other way round in Dublin.
ZONES = (
    "America/New_York",
    "Europe/Dublin",
    "Australia/Lord_Howe",
    "America/Santiago",
    "Antarctica/Troll",
    "Europe/Berlin",
)
_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def _fires(expression: str, zone: str, begin: datetime, end: datetime) -> list[datetime]:
    return list(parse(expression, zone).between(begin, end))


def _changes() -> list[tuple[str, datetime]]:
    """The days before which clocks changed, over ten years: none of ours is asked for them."""
    found = list[tuple[str, datetime]]()
    for zone in ZONES:
        days = [datetime(2018, 1, 1, 12, tzinfo=UTC) + _DAY * at for at in range(3_650)]
        offsets = [day.astimezone(ZoneInfo(zone)).utcoffset() for day in days]
        found += [(zone, days[at]) for at in range(1, len(days)) if offsets[at] != offsets[at - 1]]
    return found


CHANGES = st.sampled_from(_changes())
# A time of the day that is near to where clocks change, more often than not.
TIMES = st.tuples(st.integers(0, 3) | st.integers(0, 23), st.sampled_from([0, 15, 30, 45]) | st.integers(0, 59))


def test_clocks_changed_often_enough() -> None:
    assert len(_changes()) > 100


@settings(deadline=None)
@given(CHANGES, TIMES)
def test_a_fixed_hour_fires_once_each_day(change: tuple[str, datetime], time: tuple[int, int]) -> None:
    (zone, near), (hour, minute) = change, time
    here = ZoneInfo(zone)
    fires = [
        fire.astimezone(here) for fire in _fires(f"0 {minute} {hour} * * ?", zone, near - _DAY * 4, near + _DAY * 4)
    ]
    days = [(near + _DAY * at).astimezone(here).date() for at in range(-2, 3)]
    assert [fire.date() for fire in fires if fire.date() in days] == days
    for fire in fires:
        if (fire.hour, fire.minute) != (hour, minute):
            # The first moment after a gap that had this time in it.
            earlier = (fire.astimezone(UTC) - timedelta(seconds=1)).astimezone(here)
            assert earlier.replace(tzinfo=None) < fire.replace(hour=hour, minute=minute, tzinfo=None)
            assert earlier.utcoffset() != fire.utcoffset()
            assert (hour, minute) < (fire.hour, fire.minute)


@settings(max_examples=50, deadline=None)
@given(CHANGES.filter(lambda change: change[0] != "Australia/Lord_Howe"), st.integers(0, 59))
def test_an_hourly_one_fires_each_real_hour(change: tuple[str, datetime], minute: int) -> None:
    zone, near = change
    fires = _fires(f"0 {minute} * * * ?", zone, near - _DAY * 2, near + _DAY * 2)
    assert {after - before for before, after in pairwise(fires)} == {_HOUR}
    assert len(fires) == 96


@pytest.mark.parametrize(("expression", "step"), [("0 * * * * ?", 1), ("0 0/15 * * * ?", 15), ("0 5/10 * * * ?", 10)])
@settings(max_examples=20, deadline=None)
@given(CHANGES)
def test_what_looks_the_same_moved_goes_on_in_real_time(
    expression: str, step: int, change: tuple[str, datetime]
) -> None:
    zone, near = change
    fires = _fires(expression, zone, near - _DAY, near + _HOUR)
    assert {after - before for before, after in pairwise(fires)} == {_MINUTE * step}


def test_half_an_hour_is_no_whole_one() -> None:
    """In Lord Howe clocks move by half an hour: each hour that they show fires once."""
    back = _fires("0 45 * * * ?", "Australia/Lord_Howe", *_span("2026-04-04T13:30"))
    assert [f"{fire:%H:%M}" for fire in back] == ["13:45", "14:45", "16:15", "17:15", "18:15"]
    forward = _fires("0 0 * * * ?", "Australia/Lord_Howe", *_span("2026-10-03T13:00"))
    assert [f"{fire:%H:%M}" for fire in forward] == ["13:30", "14:30", "15:30", "16:00", "17:00", "18:00"]


@pytest.mark.parametrize(
    ("expression", "begin", "fires"),
    [
        # New York, 9 March 2025: 02:00 is 03:00.
        ("0 30 2 * * ?", "2025-03-09T05:00", ["07:00"]),
        ("0 30 1-3 * * ?", "2025-03-09T05:00", ["06:30", "07:00", "07:30"]),
        ("0 0/15 2 * * ?", "2025-03-09T05:00", ["07:00"]),
        ("0 30 * * * ?", "2025-03-09T05:00", ["05:30", "06:30", "07:30", "08:30", "09:30"]),
        # 2 November 2025: 02:00 is 01:00.
        ("0 30 1 * * ?", "2025-11-02T04:00", ["05:30"]),
        ("0 30 1,2 * * ?", "2025-11-02T04:00", ["05:30", "07:30"]),
        ("0 30 * * * ?", "2025-11-02T04:00", ["04:30", "05:30", "06:30", "07:30", "08:30"]),
        ("0 0 0/2 * * ?", "2025-11-02T03:30", ["04:00", "07:00"]),
    ],
)
def test_cases_of_new_york(expression: str, begin: str, fires: list[str]) -> None:
    assert [f"{fire:%H:%M}" for fire in _fires(expression, "America/New_York", *_span(begin))] == fires


def _span(begin: str) -> tuple[datetime, datetime]:
    start = datetime.fromisoformat(begin).replace(tzinfo=UTC)
    return start, start + _HOUR * 5


def test_a_day_that_a_zone_left_out() -> None:
    """Samoa went from 29 to 31 December 2011: what was due on the day between fires when that is over."""
    fires = _fires("0 0 6 * * ?", "Pacific/Apia", datetime(2011, 12, 29, tzinfo=UTC), datetime(2012, 1, 1, tzinfo=UTC))
    assert [f"{fire.astimezone(ZoneInfo('Pacific/Apia')):%d %H:%M}" for fire in fires] == [
        "29 06:00",
        "31 00:00",
        "31 06:00",
        "01 06:00",
    ]


_MOMENTS = st.integers(1_514_764_800, 1_893_456_000).map(lambda second: datetime.fromtimestamp(second, UTC))
_EXPRESSIONS = st.sampled_from(
    [
        "0 0 6 * * ?",
        "0 30 1-3 * * ?",
        "0 0/30 * * * ?",
        "*/30 59 1 ? * SUN",
        "0 0 0/2 * * ?",
        "0 0 2 L * ?",
        "0 1 0 1 * ?",
    ]
)


@settings(max_examples=50, deadline=None)
@given(_EXPRESSIONS, st.sampled_from(ZONES), _MOMENTS, st.timedeltas(timedelta(0), _DAY * 5))
def test_a_walk_may_be_broken_anywhere(expression: str, zone: str, begin: datetime, span: timedelta) -> None:
    """None skipped, none doubled, however the time is cut: from a moment between two fires the next one is the same."""
    cron = parse(expression, zone)
    fires = list(cron.between(begin, begin + _DAY * 5))
    middle = begin + span
    assert cron.next_after(middle) == next((fire for fire in fires if fire > middle), cron.next_after(begin + _DAY * 5))
    assert all(before < after for before, after in pairwise(fires))


@settings(max_examples=50, deadline=None)
@given(_EXPRESSIONS, st.sampled_from(ZONES), _MOMENTS, st.timedeltas(timedelta(0), _DAY * 10))
def test_the_last_one_is_found(expression: str, zone: str, begin: datetime, span: timedelta) -> None:
    cron = parse(expression, zone)
    fires = list(cron.between(begin, begin + span))
    assert cron.last_between(begin, begin + span) == (fires[-1] if fires else None)
