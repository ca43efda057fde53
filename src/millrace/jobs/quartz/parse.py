"""Reading an expression."""

from __future__ import annotations

import re

from millrace.core.errors import InvalidInput
from millrace.jobs.quartz import hints
from millrace.jobs.quartz.cron import QuartzCron
from millrace.jobs.quartz.days import DayRule, LastDay, LastWeekday, NearestWeekday, NthWeekday, OnDays, OnWeekdays
from millrace.jobs.quartz.fields import DAYS, HOURS, MINUTES, MONTH, SECONDS, WEEKDAY, YEARS, number, values
from millrace.jobs.quartz.zones import zone

_LONGEST = 1000
_FIELDS = (6, 7)
_LAST_DAY = re.compile(r"L(?:-(\d{1,2}))?(W)?")
_NEAREST = re.compile(r"(\d{1,2})W")
_LAST_WEEKDAY = re.compile(r"(\d|[A-Z]{3})L")
_NTH_WEEKDAY = re.compile(r"(\d|[A-Z]{3})#(\d)")
_MOST_BEFORE, _MOST_NTH = 30, 5
_ANY = "?"


def parse(expression: str, timezone: str = "UTC") -> QuartzCron:
    """Read an expression: seconds, minutes, hours, day of the month, month, day of the week, and year where it is given.

    Raises:
        InvalidInput: it is not such an expression, the zone is unknown, or it fires at no time. The hint has what was
            probably meant.
    """
    text = " ".join(expression.upper().split())
    if len(text) > _LONGEST:
        raise InvalidInput(f"a schedule of {len(text)} characters", hint=f"it can have {_LONGEST}")
    parts = text.split(" ")
    if len(parts) not in _FIELDS or text.startswith("@"):
        raise hints.wrong_number(expression, parts)
    if (parts[3] == _ANY) == (parts[5] == _ANY):
        raise hints.ambiguous(expression, parts)
    for at, part in enumerate(parts):
        if _ANY in part and (at not in (3, 5) or part != _ANY):
            raise hints.question_mark(expression, at)
    years = values(YEARS, parts[6]) if len(parts) == _FIELDS[1] else tuple(range(YEARS.low, YEARS.high + 1))
    cron = QuartzCron(
        text,
        zone(timezone).key,
        values(SECONDS, parts[0]),
        values(MINUTES, parts[1]),
        values(HOURS, parts[2]),
        _month_days(parts[3]) if parts[5] == _ANY else _weekdays(parts[5]),
        values(MONTH, parts[4]),
        years,
    )
    _refuse_never(cron)
    return cron


def _month_days(text: str) -> DayRule:
    if last := _LAST_DAY.fullmatch(text):
        before = int(last[1] or 0)
        if before > _MOST_BEFORE:
            raise InvalidInput(f"'{text}' is before the month", hint=f"write L-1 to L-{_MOST_BEFORE}")
        return LastDay(before, bool(last[2]))
    if nearest := _NEAREST.fullmatch(text):
        return NearestWeekday(number(DAYS, nearest[1]))
    if re.search(r"[LW]", text):
        raise InvalidInput(
            f"'{text}' can't be read as the day of the month",
            hint="L, L-3, LW and 15W stand alone; make a schedule of its own for each",
        )
    return OnDays(values(DAYS, text))


def _weekdays(text: str) -> DayRule:
    if text == "L":
        return OnWeekdays((WEEKDAY.high,))
    if last := _LAST_WEEKDAY.fullmatch(text):
        return LastWeekday(number(WEEKDAY, last[1]))
    if nth := _NTH_WEEKDAY.fullmatch(text):
        if not 1 <= int(nth[2]) <= _MOST_NTH:
            raise InvalidInput(f"'{text}': no month has that many", hint="write #1 to #5")
        return NthWeekday(number(WEEKDAY, nth[1]), int(nth[2]))
    if "#" in text or (("L" in text) and not set(re.findall(r"[A-Z]+", text)) <= set(WEEKDAY.names)):
        raise InvalidInput(
            f"'{text}' can't be read as the day of the week",
            hint="6L (the last Friday) and 2#1 (the first Monday) stand alone; make a schedule of its own for each",
        )
    if re.search(r"\b0\b", re.sub(r"/\d+", "", text)):
        raise InvalidInput("0 is no day of the week: 1 is Sunday", hint=f"write {hints.sunday_is_one(text)}")
    return OnWeekdays(values(WEEKDAY, text))


def _refuse_never(cron: QuartzCron) -> None:
    if not any(cron.days.of(year, month) for year in cron.years for month in cron.months):
        raise hints.never(cron)
