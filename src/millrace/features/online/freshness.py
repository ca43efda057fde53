"""How fresh what is online is: against the table that it was published from, and against the time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from millrace.core.clock import Clock, from_epoch_us
from millrace.core.names import TableName
from millrace.features.port import OnlineStore
from millrace.features.types import OnlineTable
from millrace.lake.lake import Lake
from millrace.lake.types import Version

_UPKEEP = ("OPTIMIZE", "VACUUM", "CREATE")  # commits that leave the rows as they are


@dataclass(frozen=True, slots=True)
class OnlineFreshness:
    """A published table at a time.

    Attributes:
        keys: how many keys are online.
        newest: the newest event time online (for a date, the end of its day, or what the table says); None without rows or time.
        age: from `newest` until now, zero where it is still to come; None without one.
        published_at: as of when it was published last.
        version: the Delta version that was published.
        behind: how many later commits that changed rows are not online; None where the table is gone from the lake.
        waiting_since: when the first of these was made; None where there is none.
    """

    name: TableName
    keys: int
    newest: datetime | None
    age: timedelta | None
    published_at: datetime
    version: Version
    behind: int | None
    waiting_since: datetime | None


def online_freshness(online: OnlineStore, lake: Lake, clock: Clock) -> Sequence[OnlineFreshness]:
    """The freshness of every published table, by name.

    Raises:
        InvalidState: the online store can't be reached.
    """
    now = clock.now()
    return [_freshness(table, lake, now) for table in online.tables()]


def _freshness(table: OnlineTable, lake: Lake, now: datetime) -> OnlineFreshness:
    newest = None if table.newest_us is None else from_epoch_us(table.newest_us)
    entry = lake.catalog.find(table.name)
    same = entry is not None and table.source.startswith(f"{entry.id}/")
    later = [
        info
        for info in (lake.history(table.name) if same else ())
        if info.version > table.version and not info.operation.startswith(_UPKEEP)
    ]
    return OnlineFreshness(
        name=table.name,
        keys=table.keys,
        newest=newest,
        age=None if newest is None else max(now - newest, timedelta(0)),
        published_at=table.published_at,
        version=table.version,
        behind=len(later) if same else None,
        waiting_since=next((info.at for info in later if info.at is not None), None),
    )
