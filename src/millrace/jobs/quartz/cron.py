"""When a schedule fires."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from millrace.core.clock import utc
from millrace.jobs.quartz.days import DayRule
from millrace.jobs.quartz.fields import HOURS, MINUTES
from millrace.jobs.quartz.words import describe
from millrace.jobs.quartz.zones import Piece, pieces

_SECOND, _NONE = timedelta(seconds=1), timedelta()
# More than any clock was ever moved by.
_MARGIN = timedelta(days=2)
_HOUR_S, _MINUTE_S = 3600, 60


@dataclass(frozen=True, slots=True)
class QuartzCron:
    """An expression in a zone; `parse` makes it.

    When clocks change, each time of the day that the schedule names fires once: one that is left out, as soon as the gap is
    over; one that comes twice, the first time. But a schedule that looks the same when it is moved by what the clocks are
    moved by (each hour, each quarter of an hour) goes on in real time.

    Attributes:
        expression: as it was written, in capitals and with single blanks.
        timezone: the zone's IANA name.
        seconds, minutes, hours, months, years: what matches, ascending.
        days: which days of a month match.
    """

    expression: str
    timezone: str
    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: DayRule
    months: tuple[int, ...]
    years: tuple[int, ...]

    def next_after(self, moment: datetime) -> datetime | None:
        """The first fire after a moment, aware, UTC; None where there is none any more. Takes milliseconds at worst."""
        at = utc(moment).replace(microsecond=0, tzinfo=None) + _SECOND
        found = self._next(at)
        return None if found is None else found.replace(tzinfo=UTC)

    def between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """The fires after one moment, up to and including another, in order."""
        fire = self.next_after(after)
        while fire is not None and fire <= until:
            yield fire
            fire = self.next_after(fire)

    def last_between(self, after: datetime, until: datetime) -> datetime | None:
        """The last of them, found without walking through all."""
        last, high = self.next_after(after), utc(until).replace(microsecond=0)
        if last is None or last > high:
            return None
        while high > last:
            middle = (last + (high - last) / 2).replace(microsecond=0)
            fire = self.next_after(middle)
            if fire is not None and fire <= high:
                last = fire
            elif middle == last:
                break
            else:
                high = middle
        return last

    def describe(self) -> str:
        """In plain words: `at 06:00 every day (Europe/Berlin)`."""
        words = describe((self.seconds, self.minutes, self.hours), self.days, self.months, self.years)
        return f"{words} ({self.timezone})"

    def _next(self, at: datetime) -> datetime | None:
        """The first fire at `at` or later; naive in UTC."""
        while True:
            for piece in pieces(ZoneInfo(self.timezone), at):
                if at <= piece.begins and self._is_left_out(piece):
                    return piece.begins
                start = max(at, piece.begins)
                found = self._next_local(self._local(piece, start))
                fire = None if found is None else found - piece.offset
                if fire is not None and fire < piece.ends:
                    return fire
                if start > piece.ends - _MARGIN:
                    continue  # clocks that are put back may bring a time again
                if fire is None:
                    return None
                if fire > piece.ends + _MARGIN:
                    at = fire - _MARGIN  # there is nothing between: on to shortly before it
                    break
            else:
                return None

    def _is_left_out(self, piece: Piece) -> bool:
        """Whether the gap before a piece swallowed a fire."""
        if piece.shift <= _NONE or self._goes_on(piece.shift):
            return False
        found = self._next_local(piece.begins + piece.before)
        return found is not None and found < piece.begins + piece.offset

    def _local(self, piece: Piece, start: datetime) -> datetime:
        """What the zone's clocks show at the start, or from when on they show what they have not shown before."""
        if piece.shift >= _NONE or self._goes_on(piece.shift):
            return start + piece.offset
        return max(start + piece.offset, piece.begins + piece.before)

    def _next_local(self, start: datetime) -> datetime | None:
        """The first time by the zone's own clocks, at `start` or later, as if they never changed."""
        first_year = bisect_left(self.years, start.year)
        for year in self.years[first_year:]:
            for month in self.months:
                if (year, month) < (start.year, start.month):
                    continue
                for day in self.days.of(year, month):
                    found = self._on(year, month, day, start)
                    if found is not None:
                        return found
        return None

    def _on(self, year: int, month: int, day: int, start: datetime) -> datetime | None:
        """The first time on a day, at `start` or later."""
        if (year, month, day) < (start.year, start.month, start.day):
            return None
        time: tuple[int, int, int] | None = (self.hours[0], self.minutes[0], self.seconds[0])
        if (year, month, day) == (start.year, start.month, start.day):
            time = self._time_from(start.hour, start.minute, start.second)
        return None if time is None else datetime(year, month, day, *time)  # noqa: DTZ001 - by the zone's own clocks

    def _time_from(self, hour: int, minute: int, second: int) -> tuple[int, int, int] | None:
        if hour in self.hours:
            if minute in self.minutes and second <= self.seconds[-1]:
                return hour, minute, _first_from(self.seconds, second)
            if minute < self.minutes[-1]:
                return hour, _first_from(self.minutes, minute + 1), self.seconds[0]
        if hour < self.hours[-1]:
            return _first_from(self.hours, hour + 1), self.minutes[0], self.seconds[0]
        return None

    def _goes_on(self, shift: timedelta) -> bool:
        """Whether the times of the day are the same ones when they are moved by this much."""
        hours, rest = divmod(abs(int(shift.total_seconds())), _HOUR_S)
        minutes, seconds = divmod(rest, _MINUTE_S)
        each_hour, each_minute = len(self.hours) == HOURS.high + 1, len(self.minutes) == MINUTES.high + 1
        if seconds:
            return each_hour and each_minute and _is_turned(self.seconds, seconds, _MINUTE_S)
        if minutes:
            return each_hour and _is_turned(self.minutes, minutes, MINUTES.high + 1)
        return each_hour or (hours <= HOURS.high and _is_turned(self.hours, hours, HOURS.high + 1))


def _first_from(values: tuple[int, ...], value: int) -> int:
    return values[bisect_left(values, value)]


def _is_turned(values: tuple[int, ...], by: int, size: int) -> bool:
    return {(value + by) % size for value in values} == set(values)
