from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.core.clock import ManualClock, SystemClock, epoch_us, from_epoch_us, iso, parse_time, utc
from millrace.core.errors import InvalidInput

_ZONES = st.integers(-12 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
_MOMENTS = st.datetimes(datetime(1900, 1, 2), datetime(2200, 1, 1), timezones=_ZONES)  # noqa: DTZ001 - bounds are naive here


def test_the_system_clock_tells_aware_utc() -> None:
    before = datetime.now(UTC)
    now = SystemClock().now()
    assert before <= now <= datetime.now(UTC)
    assert now.tzinfo is UTC


def test_a_manual_clock_moves_only_when_told() -> None:
    clock = ManualClock(datetime(2025, 3, 1, 2, tzinfo=timezone(timedelta(hours=2))))
    assert clock.now() == datetime(2025, 3, 1, tzinfo=UTC)
    clock.advance(timedelta(days=1, microseconds=1))
    assert clock.now() == datetime(2025, 3, 2, 0, 0, 0, 1, tzinfo=UTC)
    clock.set(datetime(2024, 1, 1, tzinfo=UTC))
    assert clock.now() == clock.now() == datetime(2024, 1, 1, tzinfo=UTC)


def test_a_naive_time_is_utc() -> None:
    assert utc(datetime(2025, 3, 1, 6)) == datetime(2025, 3, 1, 6, tzinfo=UTC)  # noqa: DTZ001 - the case tested


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-03-01", datetime(2025, 3, 1, tzinfo=UTC)),
        ("2025-03-01T06:00:00Z", datetime(2025, 3, 1, 6, tzinfo=UTC)),
        ("2025-03-01T06:00:00", datetime(2025, 3, 1, 6, tzinfo=UTC)),
        ("2025-03-01 06:00:00.000001+02:00", datetime(2025, 3, 1, 4, 0, 0, 1, tzinfo=UTC)),
    ],
)
def test_times_are_read(text: str, expected: datetime) -> None:
    assert parse_time(text) == expected
    assert parse_time(text).tzinfo is UTC


@pytest.mark.parametrize("text", ["", "yesterday", "2025-13-01", "2025-02-30", "01.03.2025"])
def test_what_is_not_a_time_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_time(text)
    assert f"'{text}'" in caught.value.message
    assert "2025-03-01" in caught.value.hint


def test_iso_has_a_z_and_microseconds_only_where_there_are_any() -> None:
    assert iso(datetime(2025, 3, 1, 8, tzinfo=timezone(timedelta(hours=2)))) == "2025-03-01T06:00:00Z"
    assert iso(datetime(2025, 3, 1, 6, 0, 0, 7, tzinfo=UTC)) == "2025-03-01T06:00:00.000007Z"


def test_epoch_microseconds_of_known_instants() -> None:
    assert epoch_us(datetime(1970, 1, 1, tzinfo=UTC)) == 0
    assert epoch_us(datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)) == 1_000_000_000_000_000
    assert epoch_us(datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)) == -1


@given(_MOMENTS)
@settings(max_examples=200, deadline=None)
def test_microseconds_and_iso_lose_nothing(moment: datetime) -> None:
    assert from_epoch_us(epoch_us(moment)) == moment
    assert parse_time(iso(moment)) == moment


@given(_MOMENTS, _MOMENTS)
@settings(max_examples=100, deadline=None)
def test_microseconds_keep_the_order_of_instants(one: datetime, other: datetime) -> None:
    assert (epoch_us(one) < epoch_us(other)) == (one < other)
