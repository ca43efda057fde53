"""Stretches of the week in which nothing is told: `22:00-06:00`, `Sat-Sun`, `Mon-Fri 18:00-08:00 Europe/Berlin`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from millrace.core.errors import InvalidInput

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FORM = re.compile(
    r"(?:(?P<days>[A-Za-z]{3}(?:[-,][A-Za-z]{3})*)\s*)?(?:(?P<from>\d{1,2}:\d{2})-(?P<to>\d{1,2}:\d{2}))?(?:\s+(?P<zone>[A-Za-z]+(?:/[\w+-]+)*))?"
)
_MIDNIGHT = time(0)


@dataclass(frozen=True, slots=True)
class Quiet:
    """From `start` to `end` of each of the days that it starts on (0 is Monday); past midnight where the end is not later."""

    days: frozenset[int]
    start: time
    end: time
    zone: ZoneInfo

    def holds(self, now: datetime) -> bool:
        """Whether a time lies within."""
        there = now.astimezone(self.zone)
        clock = there.timetz().replace(tzinfo=None)
        today, before = there.weekday(), (there - timedelta(days=1)).weekday()
        if self.start < self.end:
            return today in self.days and self.start <= clock < self.end
        return (today in self.days and clock >= self.start) or (before in self.days and clock < self.end)


def quiet_now(texts: Sequence[str], now: datetime) -> str | None:
    """The first of the stretches that a time lies in; None where it lies in none."""
    return next((text for text in texts if parse_quiet(text).holds(now)), None)


@lru_cache(maxsize=256)
def parse_quiet(text: str) -> Quiet:
    """Read days, hours or both, and a time zone (UTC by default).

    Raises:
        InvalidInput: it is none of these.
    """
    found = _FORM.fullmatch(text.strip())
    if found is None or not (found["days"] or found["from"]):
        raise _unclear(text)
    try:
        days = _days(found["days"]) if found["days"] else frozenset(range(7))
        start, end = (_clock(found["from"]), _clock(found["to"])) if found["from"] else (_MIDNIGHT, _MIDNIGHT)
        return Quiet(days, start, end, ZoneInfo(found["zone"] or "UTC"))
    except (ValueError, ZoneInfoNotFoundError) as error:
        raise _unclear(text) from error


def _days(text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in text.lower().split(","):
        ends = [_DAYS.index(day) for day in part.split("-")]
        first, last = ends[0], ends[-1]
        found |= {(first + step) % 7 for step in range((last - first) % 7 + 1)}
    return frozenset(found)


def _clock(text: str) -> time:
    hour, minute = text.split(":")
    return _MIDNIGHT if (hour, minute) == ("24", "00") else time(int(hour), int(minute))


def _unclear(text: str) -> InvalidInput:
    return InvalidInput(
        f"'{text}' is not a stretch of the week",
        hint="write 22:00-06:00, Sat-Sun or 'Mon-Fri 18:00-08:00 Europe/Berlin'",
    )
