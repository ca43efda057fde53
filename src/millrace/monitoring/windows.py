"""Windows of time: half-open, aligned in UTC, numbered so that neighbours are one apart."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from millrace.core.clock import epoch_us, from_epoch_us, utc
from millrace.core.errors import InvalidInput

_UNITS = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
}
_MONTHS = {"month": 1, "year": 12}
_SYNTAX = re.compile(r"([1-9][0-9]{0,3}) (minute|hour|day|week|month|year)s?")
# 1970-01-01 was a Thursday; weeks begin on Monday.
_MONDAY_US = epoch_us(datetime(1970, 1, 5))  # noqa: DTZ001 - epoch_us reads it as UTC
_YEAR = timedelta(days=365)
_MEAN_MONTH = timedelta(days=365.2425) / 12  # of the Gregorian calendar
_DAY = timedelta(days=1)
_FIRST_YEAR, _LAST_YEAR = 1, 9999


@dataclass(frozen=True, slots=True)
class Granularity:
    """The length of a window: `count` times `unit`. Months and years are those of the calendar, in UTC like all others."""

    count: int
    unit: str

    @classmethod
    def parse(cls, text: str) -> Granularity:
        """Read `1 day`, `5 minutes`, `2 weeks`, `1 month`.

        Raises:
            InvalidInput: anything else.
        """
        found = _SYNTAX.fullmatch(text.strip())
        if not found:
            hint = "write 5 minutes, 1 hour, 1 day, 1 week, 1 month or 1 year"
            raise InvalidInput(f"'{text}' is not a granularity", hint=hint)
        return cls(int(found[1]), found[2])

    def __str__(self) -> str:
        """As Databricks writes it: `1 day`, `5 minutes`."""
        return self.span(1)

    @property
    def length(self) -> timedelta:
        """How long one window is; months and years on average."""
        return self.count * (_UNITS[self.unit] if self.unit in _UNITS else _MONTHS[self.unit] * _MEAN_MONTH)

    @property
    def windows_per_year(self) -> float:
        """How often a window ends in 365 days; of months and years, in a year."""
        return 12 / self._months if self.unit in _MONTHS else _YEAR / self.length

    def span(self, windows: int) -> str:
        """So many windows, in words: `7 days`."""
        total = windows * self.count
        return f"{total} {self.unit}" + ("s" if total > 1 else "")

    def number(self, at: datetime) -> int:
        """The number of the window that holds the instant."""
        if self.unit in _MONTHS:
            moment = utc(at)
            return ((moment.year - 1970) * 12 + moment.month - 1) // self._months
        return (epoch_us(at) - self._offset_us) // self._length_us

    def numbers(self, times_us: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The numbers of the windows that hold the instants, given in microseconds since 1970."""
        numbers: npt.NDArray[np.int64]
        if self.unit in _MONTHS:
            numbers = times_us.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64) // self._months
        else:
            numbers = (times_us - self._offset_us) // self._length_us
        return numbers

    def start(self, number: int) -> datetime:
        """Where a window begins; it ends where the next one begins."""
        if self.unit in _MONTHS:
            years, months = divmod(number * self._months, 12)
            return datetime(min(max(1970 + years, _FIRST_YEAR), _LAST_YEAR), months + 1, 1, tzinfo=UTC)
        return from_epoch_us(number * self._length_us + self._offset_us)

    def nests_in(self, longer: Granularity) -> bool:
        """Whether each of the longer windows is made of whole windows of this one."""
        if self.unit in _MONTHS:
            return longer.unit in _MONTHS and longer._months % self._months == 0
        if longer.unit in _MONTHS:
            return self._nests_in(_DAY, 0)
        return self._nests_in(longer.length, longer._offset_us)

    def _nests_in(self, length: timedelta, offset_us: int) -> bool:
        return length % self.length == timedelta(0) and (offset_us - self._offset_us) % self._length_us == 0

    @property
    def _months(self) -> int:
        return self.count * _MONTHS[self.unit]

    @property
    def _length_us(self) -> int:
        return self.length // timedelta(microseconds=1)

    @property
    def _offset_us(self) -> int:
        return _MONDAY_US if self.unit == "week" else 0


def base_of(granularities: Sequence[Granularity]) -> Granularity:
    """The windows that all the others are sums of: the finest, or a day where that does not nest in all (weeks in months).

    Raises:
        InvalidInput: there is none, as for 7 minutes beside an hour.
    """
    ordered = sorted(granularities, key=lambda one: one.length)
    for base in (ordered[0], Granularity(1, "day")):
        if all(base.nests_in(one) for one in ordered):
            return base
    odd = next(one for one in ordered if not ordered[0].nests_in(one))
    raise InvalidInput(
        f"windows of {odd} are not made of whole windows of {ordered[0]}",
        hint="choose lengths of which the shortest divides all others",
    )
