"""The grid of times on which snapshots are taken."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

# A Monday, so that weekly grids tick on Mondays at midnight UTC.
_ANCHOR = datetime(1970, 1, 5, tzinfo=UTC)


def last_tick(at: datetime, every: timedelta, anchor: datetime | None = None) -> datetime:
    """The newest tick at or before a time."""
    origin = anchor or _ANCHOR
    return origin + (at - origin) // every * every


def first_tick(at: datetime, every: timedelta, anchor: datetime | None = None) -> datetime:
    """The first tick at or after a time."""
    tick = last_tick(at, every, anchor)
    return tick if tick == at else tick + every


def ticks(first: datetime, last: datetime, every: timedelta) -> list[datetime]:
    """All ticks from `first` (which is one) to `last`, both inclusive; empty where `last` is earlier."""
    count = (last - first) // every + 1
    return [first + every * n for n in range(max(count, 0))]
