from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.core.clock import epoch_us
from millrace.core.errors import InvalidInput
from millrace.monitoring.windows import Granularity, base_of

_TIMES = st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive


@given(
    _TIMES,
    st.sampled_from(["5 minutes", "1 hour", "1 day", "3 days", "1 week", "2 weeks", "1 month", "5 months", "1 year"]),
)
@settings(max_examples=80, deadline=None)
def test_every_instant_is_in_its_window(at: datetime, text: str) -> None:
    granularity = Granularity.parse(text)
    number = granularity.number(at)
    assert granularity.start(number) <= at < granularity.start(number + 1)
    if granularity.unit not in {"month", "year"}:
        assert granularity.start(number + 1) - granularity.start(number) == granularity.length
    assert list(granularity.numbers(np.array([epoch_us(at)]))) == [number]
    assert Granularity.parse(str(granularity)) == granularity


def test_days_begin_at_midnight_and_weeks_on_monday() -> None:
    at = datetime(2025, 3, 13, 15, 30, tzinfo=UTC)  # a Thursday
    day, week = Granularity.parse("1 day"), Granularity.parse("1 week")
    assert day.start(day.number(at)) == datetime(2025, 3, 13, tzinfo=UTC)
    assert week.start(week.number(at)) == datetime(2025, 3, 10, tzinfo=UTC)
    assert day.windows_per_year == 365
    assert (day.span(1), day.span(7), Granularity.parse("5 minutes").span(7)) == ("1 day", "7 days", "35 minutes")
    assert week.length == timedelta(days=7)


@pytest.mark.parametrize("text", ["day", "0 days", "1 fortnight", "1.5 days", "-1 day", ""])
def test_other_granularities_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a granularity"):
        Granularity.parse(text)


@pytest.mark.parametrize(
    ("text", "at", "start", "end"),
    [
        ("1 month", datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC), (2024, 2, 1), (2024, 3, 1)),
        ("1 month", datetime(2025, 12, 31, tzinfo=UTC), (2025, 12, 1), (2026, 1, 1)),
        ("1 month", datetime(1969, 12, 31, 23, 59, tzinfo=UTC), (1969, 12, 1), (1970, 1, 1)),
        ("3 months", datetime(2025, 5, 15, tzinfo=UTC), (2025, 4, 1), (2025, 7, 1)),
        ("1 year", datetime(2024, 12, 31, 12, tzinfo=UTC), (2024, 1, 1), (2025, 1, 1)),
        ("1 year", datetime(2000, 2, 29, tzinfo=UTC), (2000, 1, 1), (2001, 1, 1)),
    ],
)
def test_months_and_years_are_the_calendar_s(
    text: str, at: datetime, start: tuple[int, int, int], end: tuple[int, int, int]
) -> None:
    granularity = Granularity.parse(text)
    number = granularity.number(at)
    assert granularity.start(number) == datetime(*start, tzinfo=UTC)
    assert granularity.start(number + 1) == datetime(*end, tzinfo=UTC)


def test_a_year_has_twelve_months_and_a_leap_year_366_days() -> None:
    month, year, day = (Granularity.parse(text) for text in ("1 month", "1 year", "1 day"))
    assert (month.windows_per_year, year.windows_per_year) == (12, 1)
    for start, days in ((datetime(2024, 1, 1, tzinfo=UTC), 366), (datetime(2100, 1, 1, tzinfo=UTC), 365)):
        end = year.start(year.number(start) + 1)
        assert day.number(end) - day.number(start) == days
        assert month.number(end) - month.number(start) == 12


def test_the_base_is_what_all_others_are_made_of() -> None:
    def base(*texts: str) -> str:
        return str(base_of([Granularity.parse(text) for text in texts]))

    assert base("1 day", "1 hour") == "1 hour"
    assert base("5 minutes", "30 minutes", "1 month") == "5 minutes"
    assert base("1 week", "2 weeks") == "1 week"
    assert base("1 month", "1 year") == "1 month"
    assert base("1 week", "1 month") == "1 day"
    assert base("2 days", "1 week") == "1 day"
    for odd in (("7 minutes", "1 hour"), ("36 hours", "1 month")):
        with pytest.raises(InvalidInput, match="are not made of whole windows"):
            base(*odd)


@given(
    _TIMES,
    st.sampled_from([("5 minutes", "1 hour"), ("1 day", "1 month"), ("1 week", "3 weeks"), ("1 month", "1 year")]),
)
@settings(max_examples=60, deadline=None)
def test_a_window_that_nests_lies_in_one_longer_window(at: datetime, pair: tuple[str, str]) -> None:
    short, long = (Granularity.parse(text) for text in pair)
    number = short.number(at)
    last = short.start(number + 1) - timedelta(microseconds=1)
    assert long.number(short.start(number)) == long.number(at) == long.number(last)
