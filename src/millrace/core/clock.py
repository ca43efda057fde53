"""Time is a parameter: who needs it is handed a Clock."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Protocol

from millrace.core.errors import InvalidInput


class Clock(Protocol):
    """Tells the time. Thread-safe; shared by all processes of a home when it is virtual."""

    def now(self) -> datetime:
        """The time, aware, UTC, microseconds."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The machine's time in UTC."""
        return datetime.now(UTC)


class ManualClock:
    """A clock that moves when it is told to, for tests and replays inside one process."""

    def __init__(self, start: datetime) -> None:
        self._now = utc(start)

    def now(self) -> datetime:
        """Where the clock was put last."""
        return self._now

    def set(self, to: datetime) -> None:
        """Move to a time, forward or back."""
        self._now = utc(to)

    def advance(self, by: timedelta) -> None:
        """Move by a duration."""
        self._now += by


def utc(moment: datetime) -> datetime:
    """The same instant, aware in UTC; a naive time is UTC."""
    if moment.tzinfo is UTC:
        return moment
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def parse_time(text: str) -> datetime:
    """Read an ISO date or time; a date is its first instant (`2025-03-01` = `2025-03-01T00:00:00Z`).

    Raises:
        InvalidInput: the text is not ISO 8601.
    """
    try:
        return utc(datetime.fromisoformat(text))
    except ValueError as error:
        raise InvalidInput(f"'{text}' is not a time", hint="write 2025-03-01 or 2025-03-01T06:00:00Z") from error


def parse_span(text: str) -> timedelta:
    """Read a span: `90d`, `12h`, `30m`, `45s` or `2w`.

    Raises:
        InvalidInput: it is not a whole number with one of these units, or is no time at all.
    """
    found = _SPAN.fullmatch(text.strip())
    if found is None or int(found[1]) == 0:
        raise InvalidInput(f"'{text}' is not a span of time", hint="write 90d, 12h, 30m, 45s or 2w")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC with a Z, microseconds only where there are any."""
    return utc(moment).isoformat().replace("+00:00", "Z")


def epoch_us(moment: datetime) -> int:
    """Microseconds since 1970-01-01 UTC, exact."""
    since = utc(moment) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_epoch_us(microseconds: int) -> datetime:
    """The instant that many microseconds after 1970-01-01 UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)


_SPAN = re.compile(r"(\d{1,6})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
