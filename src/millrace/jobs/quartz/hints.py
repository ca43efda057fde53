"""What is wrong with an expression as a whole, and what was probably meant."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from millrace.core.errors import InvalidInput
from millrace.jobs.quartz.fields import FIRST_YEAR, LAST_YEAR, WEEKDAYS
from millrace.jobs.quartz.words import day_words, month_words

if TYPE_CHECKING:
    from millrace.jobs.quartz.cron import QuartzCron

_ORDER = "seconds minutes hours day-of-month month day-of-week [year], as 0 0 6 * * ?"
_FIELDS = ("seconds", "minutes", "hours", "day of the month", "month", "day of the week", "year")
_UNIX = 5
_MACROS = {
    "@HOURLY": "0 0 * * * ?",
    "@DAILY": "0 0 0 * * ?",
    "@MIDNIGHT": "0 0 0 * * ?",
    "@WEEKLY": "0 0 0 ? * SUN",
    "@MONTHLY": "0 0 0 1 * ?",
    "@YEARLY": "0 0 0 1 1 ?",
    "@ANNUALLY": "0 0 0 1 1 ?",
}


def wrong_number(expression: str, parts: Sequence[str]) -> InvalidInput:
    """Not six or seven fields."""
    if parts[0] in _MACROS:
        return _bad(expression, "is a name, and a schedule has six or seven fields", f"write {_MACROS[parts[0]]}")
    if len(parts) == _UNIX:
        return _bad(expression, "has five fields, as Unix cron; a schedule has seconds first", _from_unix(parts))
    count = 0 if parts == [""] else len(parts)
    return _bad(expression, f"has {count} fields, and a schedule has six or seven", f"write {_ORDER}")


def ambiguous(expression: str, parts: Sequence[str]) -> InvalidInput:
    """Both days are given, or neither."""
    day, weekday = parts[3], parts[5]
    if day == "?":
        return _bad(expression, "has ? for both days", f"write {_with(parts, '*', '?')} for every day")
    if weekday == "*":
        return _bad(expression, "gives both days", f"one of them is ?: write {_with(parts, day, '?')}")
    if day == "*":
        return _bad(expression, "gives both days", f"one of them is ?: write {_with(parts, '?', weekday)}")
    hint = f"one of them is ?: write {_with(parts, day, '?')} or {_with(parts, '?', weekday)}"
    return _bad(expression, "gives both days", hint)


def question_mark(expression: str, at: int) -> InvalidInput:
    """A question mark where none can be."""
    return _bad(expression, f"has ? in the {_FIELDS[at]}", "? stands alone, for one of the two days; elsewhere write *")


def never(cron: QuartzCron) -> InvalidInput:
    """There is no such day."""
    first, last = cron.years[0], cron.years[-1]
    if last - first != len(cron.years) - 1:
        years = " of these years"
    elif (first, last) == (FIRST_YEAR, LAST_YEAR):
        years = ""
    else:
        years = f" of {first}" + (f" to {last}" if last > first else "")
    reason = f"never fires: no {month_words(cron.months)}{years} has {day_words(cron.days)}"
    return _bad(cron.expression, reason, "check the day, the month and the year")


def sunday_is_one(text: str) -> str:
    """Days of the week as Unix cron counts them, 0 and 7 being Sunday, by name."""
    named = re.sub(r"(?<!/)\b[0-7]\b", lambda day: WEEKDAYS[int(day[0]) % 7], text)
    # A step behind a name is not to be had: Unix 1-5/2 is 2-6/2.
    return named if "/" not in text else re.sub(r"(?<!/)\b[0-7]\b", lambda day: str(int(day[0]) % 7 + 1), text)


def _from_unix(parts: Sequence[str]) -> str:
    minute, hour, day, month, weekday = parts
    if re.search(r"[^0-9A-Z*,/?-]", "".join(parts)):
        return f"write {_ORDER}"
    start = f"0 {minute} {hour}"
    if weekday in ("*", "?"):
        return f"did you mean {start} {'*' if day == '?' else day} {month} ?"
    theirs = f"{start} ? {month} {sunday_is_one(weekday)}"
    if day in ("*", "?"):
        return f"did you mean {theirs}"
    return f"Unix cron runs on either day: make two schedules, {start} {day} {month} ? and {theirs}"


def _with(parts: Sequence[str], day: str, weekday: str) -> str:
    return " ".join((*parts[:3], day, parts[4], weekday, *parts[6:]))


def _bad(expression: str, fact: str, hint: str) -> InvalidInput:
    shown = expression if len(expression) <= 80 else expression[:77] + "..."  # noqa: PLR2004 - a line's worth
    return InvalidInput(f"the schedule '{shown}' {fact}", hint=hint, expression=expression)
