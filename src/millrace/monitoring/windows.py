"""Windows of time: half-open, aligned in UTC, numbered so that neighbours are one apart."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from millrace.core.clock import epoch_us, from_epoch_us
from millrace.core.errors import InvalidInput

_UNITS = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
}
_SYNTAX = re.compile(r"([1-9][0-9]{0,3}) (minute|hour|day|week)s?")
# 1970-01-01 was a Thursday; weeks begin on Monday.
_MONDAY_US = epoch_us(datetime(1970, 1, 5))  # noqa: DTZ001 - epoch_us reads it as UTC
_YEAR = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Granularity:
    """The length of a window: `count` times `unit`."""

    count: int
    unit: str

    @classmethod
    def parse(cls, text: str) -> Granularity:
        """Read `1 day`, `5 minutes`, `2 weeks`.

        Raises:
            InvalidInput: anything else.
        """
        found = _SYNTAX.fullmatch(text.strip())
        if not found:
            raise InvalidInput(f"'{text}' is not a granularity", hint="write 5 minutes, 1 hour, 1 day or 1 week")
        return cls(int(found[1]), found[2])

    def __str__(self) -> str:
        """As Databricks writes it: `1 day`, `5 minutes`."""
        return self.span(1)

    @property
    def length(self) -> timedelta:
        """How long one window is."""
        return self.count * _UNITS[self.unit]

    @property
    def windows_per_year(self) -> float:
        """How often a window ends in 365 days."""
        return _YEAR / self.length

    def span(self, windows: int) -> str:
        """So many windows, in words: `7 days`."""
        total = windows * self.count
        return f"{total} {self.unit}" + ("s" if total > 1 else "")

    def number(self, at: datetime) -> int:
        """The number of the window that holds the instant."""
        return (epoch_us(at) - self._offset_us) // self._length_us

    def numbers(self, times_us: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The numbers of the windows that hold the instants, given in microseconds since 1970."""
        numbers: npt.NDArray[np.int64] = (times_us - self._offset_us) // self._length_us
        return numbers

    def start(self, number: int) -> datetime:
        """Where a window begins; it ends where the next one begins."""
        return from_epoch_us(number * self._length_us + self._offset_us)

    @property
    def _length_us(self) -> int:
        return self.length // timedelta(microseconds=1)

    @property
    def _offset_us(self) -> int:
        return _MONDAY_US if self.unit == "week" else 0
