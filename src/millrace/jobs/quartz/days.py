"""Which days of a month a schedule means."""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import date

_SATURDAY, _SUNDAY = 5, 6  # as Python counts weekdays
_WEEK = 7


@dataclass(frozen=True, slots=True)
class OnDays:
    """These days of the month."""

    days: tuple[int, ...]

    def of(self, year: int, month: int) -> tuple[int, ...]:
        """The days in a month, ascending."""
        last = monthrange(year, month)[1]
        return tuple(day for day in self.days if day <= last)


@dataclass(frozen=True, slots=True)
class LastDay:
    """So many days before the last of the month; `weekday`: the weekday that is nearest to it, in the month."""

    before: int = 0
    weekday: bool = False

    def of(self, year: int, month: int) -> tuple[int, ...]:
        """The day in a month, where it has so many."""
        day = monthrange(year, month)[1] - self.before
        if day < 1:
            return ()
        return (_nearest(year, month, day) if self.weekday else day,)


@dataclass(frozen=True, slots=True)
class NearestWeekday:
    """The weekday that is nearest to a day, in the same month; a month without that day has none."""

    day: int

    def of(self, year: int, month: int) -> tuple[int, ...]:
        """The day in a month, where it has that one."""
        return (_nearest(year, month, self.day),) if self.day <= monthrange(year, month)[1] else ()


@dataclass(frozen=True, slots=True)
class OnWeekdays:
    """These days of the week, 1 being Sunday."""

    weekdays: tuple[int, ...]

    def of(self, year: int, month: int) -> tuple[int, ...]:
        """The days in a month, ascending."""
        first, length = monthrange(year, month)
        wanted = {_python_weekday(weekday) for weekday in self.weekdays}
        return tuple(day for day in range(1, length + 1) if (first + day - 1) % _WEEK in wanted)


@dataclass(frozen=True, slots=True)
class LastWeekday:
    """The last such day of the week in the month."""

    weekday: int

    def of(self, year: int, month: int) -> tuple[int, ...]:
        """The day in a month."""
        return OnWeekdays((self.weekday,)).of(year, month)[-1:]


@dataclass(frozen=True, slots=True)
class NthWeekday:
    """The first to fifth such day of the week in the month."""

    weekday: int
    nth: int

    def of(self, year: int, month: int) -> tuple[int, ...]:
        """The day in a month, where it has so many."""
        return OnWeekdays((self.weekday,)).of(year, month)[self.nth - 1 : self.nth]


DayRule = OnDays | LastDay | NearestWeekday | OnWeekdays | LastWeekday | NthWeekday


def _python_weekday(weekday: int) -> int:
    return (weekday - 2) % _WEEK


def _nearest(year: int, month: int, day: int) -> int:
    weekday = date(year, month, day).weekday()
    if weekday == _SATURDAY:
        return day + 2 if day == 1 else day - 1
    if weekday == _SUNDAY:
        return day - 2 if day == monthrange(year, month)[1] else day + 1
    return day
