from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.core.clock import epoch_us
from millrace.core.errors import InvalidInput
from millrace.monitoring.windows import Granularity

_TIMES = st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds are naive


@given(_TIMES, st.sampled_from(["5 minutes", "1 hour", "1 day", "3 days", "1 week", "2 weeks"]))
@settings(max_examples=80, deadline=None)
def test_every_instant_is_in_its_window(at: datetime, text: str) -> None:
    granularity = Granularity.parse(text)
    number = granularity.number(at)
    assert granularity.start(number) <= at < granularity.start(number + 1)
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


@pytest.mark.parametrize("text", ["day", "0 days", "1 month", "1.5 days", "-1 day", ""])
def test_other_granularities_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a granularity"):
        Granularity.parse(text)
