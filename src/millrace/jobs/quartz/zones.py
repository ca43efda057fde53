"""A time zone as pieces of constant offset: where its clocks change, and by how much."""

from __future__ import annotations

import zoneinfo
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean

_DAY, _SECOND = timedelta(days=1), timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Piece:
    """A time without a change of clocks, `begins` to before `ends`, naive in UTC; `before`: the offset that was until it began."""

    begins: datetime
    ends: datetime
    offset: timedelta
    before: timedelta

    @property
    def shift(self) -> timedelta:
        """By how much clocks were moved when it began: positive leaves a gap, negative repeats."""
        return self.offset - self.before


def zone(name: str) -> ZoneInfo:
    """The zone of an IANA name.

    Raises:
        InvalidInput: there is none of that name.
    """
    with suppress(KeyError, ValueError, OSError):
        return ZoneInfo(name)
    known = zoneinfo.available_timezones()
    same = next((each for each in known if each.casefold() == name.strip().replace(" ", "_").casefold()), None)
    hint = f"did you mean '{same}'?" if same else _nearest(name, known)
    raise InvalidInput(f"there is no time zone '{name}'", hint=hint, timezone=name)


def pieces(of: ZoneInfo, since: datetime) -> Iterator[Piece]:
    """The pieces from the one that holds this time on, cut at each new year as well; they end with Python's calendar."""
    for year in range(since.year, MAXYEAR):
        yield from (piece for piece in _year(of, year) if piece.ends > since)


def _nearest(name: str, known: set[str]) -> str:
    # A city alone is what people write.
    cities = {each.rpartition("/")[2].casefold(): each for each in sorted(known)}
    city = cities.get(name.strip().replace(" ", "_").casefold())
    if city:
        return f"did you mean '{city}'?"
    hint = did_you_mean(name, known)
    return hint if hint.startswith("did") else "write an IANA name, as Europe/Berlin, America/New_York or UTC"


@lru_cache(maxsize=512)
def _year(of: ZoneInfo, year: int) -> tuple[Piece, ...]:
    begins, end = datetime(year, 1, 1), datetime(year + 1, 1, 1)  # noqa: DTZ001 - naive in UTC
    found, day, before = list[Piece](), begins, _offset(of, begins - _SECOND)
    while day < end:
        after = day + _DAY
        if _offset(of, after - _SECOND) != _offset(of, begins):
            change = _change(of, day, after - _SECOND)
            found.append(Piece(begins, change, _offset(of, begins), before))
            begins, before = change, _offset(of, begins)
        day = after
    return (*found, Piece(begins, end, _offset(of, begins), before))


def _change(of: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """The first second with the offset that is at `high`; at `low` there is another."""
    new = _offset(of, high)
    if _offset(of, low) == new:
        return low
    while high - low > _SECOND:
        middle = low + (high - low) // 2
        middle = middle.replace(microsecond=0)
        low, high = (low, middle) if _offset(of, middle) == new else (middle, high)
    return high


def _offset(of: ZoneInfo, moment: datetime) -> timedelta:
    offset = moment.replace(tzinfo=UTC).astimezone(of).utcoffset()
    return offset or timedelta()
