"""A schedule in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from millrace.jobs.quartz.days import DayRule, LastDay, LastWeekday, NearestWeekday, NthWeekday, OnDays, OnWeekdays
from millrace.jobs.quartz.fields import FIRST_YEAR, HOURS, LAST_YEAR, MINUTES, SECONDS

_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_ORDINALS = ("first", "second", "third", "fourth", "fifth")
# Seconds, minutes and hours that match.
Clock = tuple[Sequence[int], Sequence[int], Sequence[int]]
_ALL_DAYS, _ALL_MONTHS, _WEEK = 31, 12, 7
_FEW_TIMES = 6
_EACH_DAY = "every day"
_RUN = 3


def describe(clock: Clock, days: DayRule, months: Sequence[int], years: Sequence[int]) -> str:
    """What times of which days: `at 06:00 on Monday to Friday in March`."""
    seconds, minutes, hours = clock
    words = [_times(seconds, minutes, hours)]
    if _days(days) != _EACH_DAY or len(hours) <= HOURS.high:
        words.append(_days(days))
    if len(months) < _ALL_MONTHS:
        words.append("in " + _spans(months, [str(month) for month in range(13)], _MONTHS))
    if (years[0], years[-1]) != (FIRST_YEAR, LAST_YEAR) or len(years) != years[-1] - years[0] + 1:
        words.append("in " + _joined([str(year) for year in years]) if len(years) <= _FEW_TIMES else _years(years))
    return " ".join(words)


def day_words(days: DayRule) -> str:
    """Which day it is that a month lacks: `a day 31`, `a fifth Monday`."""
    match days:
        case OnDays(each):
            return f"a day {_joined([str(day) for day in each], 'or')}"
        case NearestWeekday(day):
            return f"a day {day}"
        case LastDay(before, _):
            return f"a day that is {before} before its last"
        case NthWeekday(weekday, nth):
            return f"a {_ORDINALS[nth - 1]} {_WEEKDAYS[weekday - 1]}"
        case _:
            return "such a day"


def month_words(months: Sequence[int]) -> str:
    """Months by name; all of them are `month`."""
    return "month" if len(months) == _ALL_MONTHS else _joined([_MONTHS[month - 1] for month in months], "or")


def _times(seconds: Sequence[int], minutes: Sequence[int], hours: Sequence[int]) -> str:
    if len(seconds) * len(minutes) * len(hours) <= _FEW_TIMES:
        return "at " + _joined([_clock(h, m, s) for h in hours for m in minutes for s in seconds])
    within = "" if len(hours) == HOURS.high + 1 else f" {_hours(hours)}"
    if len(seconds) > 1:
        each = _every(seconds, SECONDS.high, "second")
        return f"{each}{'' if len(minutes) > MINUTES.high else f' of {_minutes(minutes)}'}{within}"
    second = f" and {seconds[0]} seconds" if seconds[0] else ""
    if len(minutes) == 1:
        every = _every(hours, HOURS.high, "hour") if _step(hours, HOURS.high) else f"each hour{within}"
        past = "" if minutes[0] == 0 and not second else f" at {minutes[0]} minutes{second} past"
        return f"{every}{past}"
    return f"{_minutes(minutes)}{second.replace(' and', ' at', 1)}{within}"


def _minutes(minutes: Sequence[int]) -> str:
    return _every(minutes, MINUTES.high, "minute")


def _every(values: Sequence[int], high: int, unit: str) -> str:
    step = _step(values, high)
    if step is None:
        return f"at {unit}s {_spans(values, [str(value) for value in range(high + 1)])}"
    every = f"every {unit}" if step == 1 else f"every {step} {unit}s"
    return every if values[0] == 0 else f"{every} from {unit} {values[0]}"


def _step(values: Sequence[int], high: int) -> int | None:
    """The step of values that go on to the end of the field; None where they don't."""
    steps = {after - before for before, after in pairwise(values)}
    if len(steps) != 1:
        return None
    step = next(iter(steps))
    return step if values[0] < step and values[-1] + step > high else None


def _hours(hours: Sequence[int]) -> str:
    if len(hours) == 1:
        return f"from {hours[0]:02}:00 to {hours[0]:02}:59"
    if hours[-1] - hours[0] == len(hours) - 1:
        return f"from {hours[0]:02}:00 to {hours[-1]:02}:59"
    return "in hours " + _spans(hours, [str(hour) for hour in range(24)])


def _days(days: DayRule) -> str:  # noqa: PLR0911 - one answer for each rule
    match days:
        case OnDays(each) if len(each) == _ALL_DAYS:
            return _EACH_DAY
        case OnDays(each):
            return f"on day {_spans(each, [str(day) for day in range(32)])} of the month"
        case LastDay(before, weekday):
            last = "the last day" if before == 0 else f"{before} {'day' if before == 1 else 'days'} before the last day"
            if weekday:
                return f"on the weekday nearest to {last} of the month"
            return f"{'on ' if before == 0 else ''}{last} of the month"
        case NearestWeekday(day):
            return f"on the weekday nearest to day {day} of the month"
        case OnWeekdays(each) if len(each) == _WEEK:
            return _EACH_DAY
        case OnWeekdays(each):
            return f"on {_spans(each, [str(day) for day in range(8)], _WEEKDAYS)}"
        case LastWeekday(weekday):
            return f"on the last {_WEEKDAYS[weekday - 1]} of the month"
        case NthWeekday(weekday, nth):
            return f"on the {_ORDINALS[nth - 1]} {_WEEKDAYS[weekday - 1]} of the month"


def _years(years: Sequence[int]) -> str:
    if years[-1] - years[0] == len(years) - 1:
        return f"from {years[0]} to {years[-1]}"
    return f"in {years[0]}, {years[1]}, ..., {years[-1]}"


def _spans(values: Sequence[int], numbers: Sequence[str], names: Sequence[str] = ()) -> str:
    """Values, where three or more in a row are `first to last`; of names the first is of value 1."""
    shown = [str(names[value - 1]) if names else numbers[value] for value in values]
    parts, start = list[str](), 0
    for at in range(1, len(values) + 1):
        if at == len(values) or values[at] != values[at - 1] + 1:
            run = shown[start:at]
            parts += [f"{run[0]} to {run[-1]}"] if len(run) >= _RUN else run
            start = at
    return _joined(parts)


def _joined(parts: Sequence[str], word: str = "and") -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {word} {parts[-1]}"


def _clock(hour: int, minute: int, second: int) -> str:
    return f"{hour:02}:{minute:02}" + (f":{second:02}" if second else "")
