from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.core.errors import InvalidInput
from millrace.jobs.quartz import parse

_NOW = datetime(2026, 11, 27, 10, 0, tzinfo=UTC)  # a Friday


def _fires(expression: str, count: int = 3, after: datetime = _NOW) -> list[str]:
    fires, cron, at = list[str](), parse(expression), after
    for _ in range(count):
        fire = cron.next_after(at)
        if fire is None:
            break
        fires.append(f"{fire:%Y-%m-%d %H:%M:%S}")
        at = fire
    return fires


@pytest.mark.parametrize(
    ("expression", "fires"),
    [
        # The forms of Quartz's own tutorial.
        ("0 0 12 * * ?", ["2026-11-27 12:00:00", "2026-11-28 12:00:00", "2026-11-29 12:00:00"]),
        ("0 15 10 ? * *", ["2026-11-27 10:15:00", "2026-11-28 10:15:00", "2026-11-29 10:15:00"]),
        ("0 * 14 * * ?", ["2026-11-27 14:00:00", "2026-11-27 14:01:00", "2026-11-27 14:02:00"]),
        ("0 0/5 14,18 * * ?", ["2026-11-27 14:00:00", "2026-11-27 14:05:00", "2026-11-27 14:10:00"]),
        ("0 10,44 14 ? 3 WED", ["2027-03-03 14:10:00", "2027-03-03 14:44:00", "2027-03-10 14:10:00"]),
        ("0 15 10 ? * MON-FRI", ["2026-11-27 10:15:00", "2026-11-30 10:15:00", "2026-12-01 10:15:00"]),
        ("0 15 10 L * ?", ["2026-11-30 10:15:00", "2026-12-31 10:15:00", "2027-01-31 10:15:00"]),
        ("0 15 10 ? * 6L", ["2026-11-27 10:15:00", "2026-12-25 10:15:00", "2027-01-29 10:15:00"]),
        ("0 15 10 ? * 6L 2027-2028", ["2027-01-29 10:15:00", "2027-02-26 10:15:00", "2027-03-26 10:15:00"]),
        ("0 15 10 ? * 6#3", ["2026-12-18 10:15:00", "2027-01-15 10:15:00", "2027-02-19 10:15:00"]),
        ("0 0 12 1/5 * ?", ["2026-12-01 12:00:00", "2026-12-06 12:00:00", "2026-12-11 12:00:00"]),
        # 1 is Sunday.
        ("0 0 6 ? * 1", ["2026-11-29 06:00:00", "2026-12-06 06:00:00", "2026-12-13 06:00:00"]),
        ("0 0 6 ? * 2#1", ["2026-12-07 06:00:00", "2027-01-04 06:00:00", "2027-02-01 06:00:00"]),
        ("0 0 6 ? * fri-mon", ["2026-11-28 06:00:00", "2026-11-29 06:00:00", "2026-11-30 06:00:00"]),
        # The last day but three, the last weekday, the weekday nearest to the fifteenth (a Friday for a Saturday).
        ("0 0 6 L-3 * ?", ["2026-12-28 06:00:00", "2027-01-28 06:00:00", "2027-02-25 06:00:00"]),
        ("0 0 6 LW * ?", ["2026-11-30 06:00:00", "2026-12-31 06:00:00", "2027-01-29 06:00:00"]),
        ("0 0 6 15W * ?", ["2026-12-15 06:00:00", "2027-01-15 06:00:00", "2027-02-15 06:00:00"]),
        ("0 0 6 1W 5 ?", ["2027-05-03 06:00:00", "2028-05-01 06:00:00", "2029-05-01 06:00:00"]),
        # A month without a 31st has none that is near to it.
        ("0 0 6 31W * ?", ["2026-12-31 06:00:00", "2027-01-29 06:00:00", "2027-03-31 06:00:00"]),
        ("0 0 22-2/2 * * ?", ["2026-11-27 22:00:00", "2026-11-28 00:00:00", "2026-11-28 02:00:00"]),
        ("0 0 0 29 2 ?", ["2028-02-29 00:00:00", "2032-02-29 00:00:00", "2036-02-29 00:00:00"]),
        ("0 0 0 ? 2 2#5", ["2044-02-29 00:00:00", "2072-02-29 00:00:00"]),
        ("0 0 6 1 1 ? 2027", ["2027-01-01 06:00:00"]),
        ("0 0 6 1 1 ? 2020", []),
        ("*/20 59 23 31 12 ?", ["2026-12-31 23:59:00", "2026-12-31 23:59:20", "2026-12-31 23:59:40"]),
    ],
)
def test_published_cases(expression: str, fires: list[str]) -> None:
    assert _fires(expression) == fires


@pytest.mark.parametrize(
    ("expression", "hint"),
    [
        ("0 6 * * *", "0 0 6 * * ?"),
        ("*/15 * * * *", "0 */15 * * * ?"),
        ("0 6 * * 1-5", "0 0 6 ? * MON-FRI"),
        ("0 6 * * 0,6", "0 0 6 ? * SUN,SAT"),
        ("0 6 * * 1-5/2", "0 0 6 ? * 2-6/2"),
        ("0 6 1 * 1", "two schedules, 0 0 6 1 * ? and 0 0 6 ? * MON"),
        ("@daily", "0 0 0 * * ?"),
        ("0 0 6 * * *", "0 0 6 * * ?"),
        ("0 0 6 ? * ?", "0 0 6 * * ?"),
        ("0 0 6 15 * *", "0 0 6 15 * ?"),
        ("0 0 6 * * MON", "0 0 6 ? * MON"),
        ("0 0 6 15 * 2 2030", "0 0 6 15 * ? 2030 or 0 0 6 ? * 2 2030"),
        ("0 0 6 ? * 0", "SUN"),
        ("0 0 6 ? * 0-4", "SUN-THU"),
        ("0 0 6 ? * 8", "1 to 7, or SUN to SAT"),
        ("0 0 6 ? * MONDAY", "'MON'"),
        ("0 0 6 ? * MON/2", "2/2"),
        ("0 0 6 * JUNE ?", "'JUN'"),
        ("0 0 25 * * ?", "0 to 23"),
        ("0 0/0 * * * ?", "step from 1 to 59"),
        ("0 0/60 * * * ?", "step from 1 to 59"),
        ("0 0 6 L,15 * ?", "stand alone"),
        ("0 0 6 1W,15W * ?", "stand alone"),
        ("0 0 6 L-31 * ?", "L-1 to L-30"),
        ("0 0 6 ? * 2#6", "#1 to #5"),
        ("0 0 6 ? * 2#1,3", "stand alone"),
        ("0 ? 6 * * ?", "elsewhere write *"),
        ("0 0 6 1 1 ? 2030-2027", "2027-2030"),
        ("0 0 6 1 1 ? 1969", "1970 to 2099"),
        ("0 0 6 5- * ?", "2, 2,4, 2-5 or 2/2"),
        ("0 0 6 1,,2 * ?", "as 2"),
        ("", "seconds minutes hours"),
        ("0 0 6", "seconds minutes hours"),
        ("0 0 6 * * ? 2027 9", "seconds minutes hours"),
        ("0 " * 600, "it can have 1000"),
    ],
)
def test_what_is_refused_says_what_to_write(expression: str, hint: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse(expression)
    assert hint in refused.value.hint


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("0 0 6 31 2,4 ?", "no February or April has a day 31"),
        ("0 0 6 30W 2 ?", "no February has a day 30"),
        ("0 0 6 29 2 ? 2027", "no February of 2027 has a day 29"),
        ("0 0 6 ? FEB 2#5 2027-2030", "no February of 2027 to 2030 has a fifth Monday"),
        ("0 0 6 29 2 ? */4", "no February of these years has a day 29"),
        ("0 0 6 L-29 2 ?", "no February has a day that is 29 before its last"),
    ],
)
def test_what_never_fires_is_refused_with_the_reason(expression: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match="never fires") as refused:
        parse(expression)
    assert reason in refused.value.message


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ("Europe/berlin", "'Europe/Berlin'"),
        ("Berlin", "'Europe/Berlin'"),
        ("new york", "'America/New_York'"),
        ("Europe/Berlim", "'Europe/Berlin'"),
        ("../../etc/passwd", "IANA"),
        ("", "IANA"),
    ],
)
def test_an_unknown_zone_gets_the_nearest(wrong: str, hint: str) -> None:
    with pytest.raises(InvalidInput, match="no time zone") as refused:
        parse("0 0 6 * * ?", wrong)
    assert hint in refused.value.hint


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("0 0 6 * * ?", "at 06:00 every day"),
        ("0 0 6,18 ? * MON-FRI", "at 06:00 and 18:00 on Monday to Friday"),
        ("0 0/15 9-17 ? * 2-6", "every 15 minutes from 09:00 to 17:59 on Monday to Friday"),
        ("0 0 * * * ?", "every hour"),
        ("0 30 */2 * * ?", "every 2 hours at 30 minutes past every day"),
        ("*/7 * * * * ?", "every 7 seconds"),
        ("0 0 6 ? * 2#1", "at 06:00 on the first Monday of the month"),
        ("0 0 6 ? * 6L", "at 06:00 on the last Friday of the month"),
        ("0 0 6 L * ?", "at 06:00 on the last day of the month"),
        ("0 0 6 L-3 * ?", "at 06:00 3 days before the last day of the month"),
        ("0 0 6 LW * ?", "at 06:00 on the weekday nearest to the last day of the month"),
        ("0 0 6 15W 1-3 ?", "at 06:00 on the weekday nearest to day 15 of the month in January to March"),
        ("0 0 6 1,15 * ? 2027", "at 06:00 on day 1 and 15 of the month in 2027"),
        ("30 0 6 1 JAN ? 2027-2040", "at 06:00:30 on day 1 of the month in January from 2027 to 2040"),
    ],
)
def test_a_schedule_in_plain_words(expression: str, words: str) -> None:
    assert parse(expression, "Europe/Berlin").describe() == f"{words} (Europe/Berlin)"


@given(st.text(alphabet="0123456789*?/,-LW#MONJAN @", max_size=40))
def test_any_text_is_taken_or_refused(text: str) -> None:
    try:
        said = parse(text).describe()
    except InvalidInput as refused:
        said = refused.hint
    assert said


@pytest.mark.parametrize("expression", ["0 0 0 ? 2 2#5", "59 59 23 29 2 ? 1972/4", "* * * * * ?", "0 0 0 1 1 ? 2099"])
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Australia/Lord_Howe"])
def test_the_next_fire_is_found_soon(expression: str, zone: str) -> None:
    cron = parse(expression, zone)
    cron.next_after(datetime(1990, 1, 1, tzinfo=UTC))  # the zone's years are looked at once
    begun = time.process_time()
    for year in range(1971, 2099):
        cron.next_after(datetime(year, 3, 1, tzinfo=UTC))
    assert (time.process_time() - begun) / 128 < 0.05
