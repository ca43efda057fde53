"""Puts a feature table into the online store: per key the newest row that is available, and those that will be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.core.clock import epoch_us, iso, utc
from millrace.core.errors import Conflict, InvalidInput, NotFound
from millrace.core.names import TableName
from millrace.features.identity import MICROSECOND, key_family
from millrace.features.online.changes import changed_keys
from millrace.features.online.codec import RowCodec, can_store
from millrace.features.online.key_bytes import encode_keys
from millrace.features.online.rows import KeptRows, event_times, identified, newest, widened
from millrace.features.online.table import feature_types
from millrace.features.port import OnlineStore
from millrace.features.types import OnlineTable
from millrace.lake.lake import Lake
from millrace.lake.types import TableEntry

__all__ = ["PublishMode", "Published", "publish", "publish_table"]

PublishMode = Literal["SNAPSHOT", "TRIGGERED"]
Told = Callable[[int, int], None]

LONG_HISTORY = 2_000_000
"""Rows from which on a table's keys and times are read first, to see how far back the rest is needed."""

_ATTEMPTS = 5
_MOST_FILTERED = 100_000  # keys: looking for more of them takes longer than reading all rows


@dataclass(frozen=True, slots=True)
class Published:
    """What a publish did.

    Attributes:
        table: as it is online now.
        mode: what was done.
        written: how many keys were written.
        removed: how many keys were dropped because the table has no row of them any more; None for a snapshot, which does not count them.
        why: why the whole table was published where only changes were asked for; else empty.
    """

    table: OnlineTable
    mode: PublishMode
    written: int
    removed: int | None = None
    why: str = ""

    @property
    def online_table_name(self) -> str:
        """The table's name online: the same as in the lake."""
        return str(self.table.name)


def publish(
    lake: Lake,
    online: OnlineStore,
    name: str | TableName,
    *,
    as_of: datetime,
    versions: Mapping[TableName, int] | None = None,
) -> OnlineTable:
    """Replace what the online store has of a table with its rows as of a time. See `publish_table`."""
    return publish_table(lake, online, name, as_of=as_of, versions=versions).table


def publish_table(
    lake: Lake,
    online: OnlineStore,
    name: str | TableName,
    *,
    as_of: datetime,
    versions: Mapping[TableName, int] | None = None,
    mode: PublishMode = "SNAPSHOT",
    told: Told | None = None,
) -> Published:
    """Bring what the online store has of a table to what the table has as of a time.

    Both modes end with the same content. `SNAPSHOT` writes all keys. `TRIGGERED` writes the keys that changed since the last
    publish, or of which a row became available since, and drops those that are gone; where that can't be known it
    publishes the whole table and says why. Columns of nested types stay out: no model can take them.

    Args:
        lake: where the table is.
        online: where to put it.
        name: the table.
        as_of: the version, and what is available, are those of this time.
        versions: publishes the table at this version instead.
        mode: `SNAPSHOT` or `TRIGGERED`.
        told: called with the keys written so far and how many there are.

    Raises:
        NotFound: no such table, or no version at that time.
        InvalidInput: the table has no primary keys.
        Conflict: other processes publish the same table all the time.
    """
    entry = lake.entry(name)
    if not entry.definition.primary_keys:
        raise InvalidInput(
            f"table {entry.name} has no primary keys, so it can't be published",
            hint="create it as a feature table, with primary keys",
            table=str(entry.name),
        )
    target = _target(lake, entry, utc(as_of), versions)
    for attempt in range(_ATTEMPTS):
        try:
            return _Publishing(lake, online, entry, target, told).run(mode)
        except Conflict:
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError


def _target(lake: Lake, entry: TableEntry, as_of: datetime, versions: Mapping[TableName, int] | None) -> OnlineTable:
    """The table as it is to be, but for what its rows say."""
    pinned = lake.pin(entry.name, as_of, versions)
    schema, definition = lake.schema(entry.name, pinned.version), entry.definition
    return OnlineTable(
        name=entry.name,
        primary_keys=definition.primary_keys,
        timeseries_column=definition.timeseries_column,
        available_after=definition.available_after,
        types={field.name: str(field.type) for field in schema if can_store(str(field.type))},
        version=pinned.version,
        published_at=as_of,
        keys=0,
        newest_us=None,
        source=f"{entry.id}/{definition.date_stands_for}",
    )


@dataclass(frozen=True, slots=True)
class _Publishing:
    lake: Lake
    online: OnlineStore
    entry: TableEntry
    target: OnlineTable
    told: Told | None

    def run(self, mode: PublishMode) -> Published:
        if mode == "SNAPSHOT":
            return self._all()
        base = self.online.table(self.entry.name)
        why = _why_all(base, self.target)
        if base is None or why:
            return self._all(why)
        try:
            changed = self._changed(base)
        except NotFound:
            return self._all(f"version {base.version}, which was published last, is gone")
        return self._some(base, changed)

    def _all(self, why: str = "") -> Published:
        kept = self._keep(self._read([*self.target.types], self._recent()))
        table = replace(self.target, newest_us=kept.newest_us)
        return Published(self.online.replace(table, kept), "SNAPSHOT", kept.keys, why=why)

    def _recent(self) -> object:
        """A condition for the rows since the oldest one that is kept: most of a long history need not be read."""
        time = self.entry.definition.timeseries_column
        if time is None or self.lake.rows(self.entry.name, self.target.version) < LONG_HISTORY:
            return None
        return self._since(self._read([*self.target.primary_keys, time]))

    def _since(self, identities: pa.Table) -> pc.Expression:
        """A condition for rows that are not older than all that would be kept of these."""
        time = self.target.timeseries_column
        oldest = pc.min(identities.column(time).take(pa.array(self._keep(identities).places)))
        return pc.field(time) >= oldest if oldest.is_valid else pc.scalar(value=False)

    def _changed(self, base: OnlineTable) -> pa.Table:
        """The keys to write anew, a table of their columns; a key may come more than once."""
        table, columns = self.target, [*self.target.types]
        if base.version == table.version:
            return widened(self.lake.schema(self.entry.name, table.version).empty_table().select([*table.primary_keys]))
        return changed_keys(self.lake, self.entry, base.version, table.version, columns)

    def _some(self, base: OnlineTable, changed: pa.Table) -> Published:
        keys, time = [*self.target.primary_keys], self.entry.definition.timeseries_column
        newest_us, every = base.newest_us, None
        if time is not None:
            every = self._read([*keys, time])
            times = event_times(every, self.entry.definition)
            newest_us = newest(times)
            waited = _became_available(times, base, self.target)
            changed = pa.concat_tables([changed, every.select(keys).filter(waited)])
        touched = pc.unique(encode_keys([changed.column(name) for name in keys]))
        kept = self._keep(self._rows_of(changed, touched, every))
        gone = touched.filter(pc.invert(pc.is_in(touched, value_set=kept.encoded_keys()))).to_pylist()
        table = replace(self.target, newest_us=newest_us)
        return Published(self.online.change(base, table, kept, gone), "TRIGGERED", kept.keys, len(gone))

    def _rows_of(self, changed: pa.Table, touched: pa.Array, every: pa.Table | None) -> pa.Table:
        """The rows of these keys, or all of them that may be kept. `every` has all keys and times."""
        keys, columns = [*self.target.primary_keys], [*self.target.types]
        if not len(touched):
            return self.lake.schema(self.entry.name, self.target.version).empty_table().select(columns)
        # With several key columns this finds more than is wanted, never less. Text is not compared while files are read:
        # the ones that a merge wrote hold it in a form for which pyarrow has no comparison.
        plain = [name for name in keys if not _is_text(changed.schema.field(name).type)]
        where = None if every is None or len(every) < LONG_HISTORY else self._since(self._only(every, touched))
        if plain and len(touched) <= _MOST_FILTERED:
            among = pc.field(plain[0]).isin(pc.unique(changed.column(plain[0])))
            where = among if where is None else where & among
        return self._only(self._read(columns, where), touched)

    def _only(self, rows: pa.Table, keys: pa.Array) -> pa.Table:
        """Those rows whose key, encoded, is one of these."""
        mine = encode_keys([rows.column(name) for name in self.target.primary_keys])
        return rows.filter(pc.is_in(mine, value_set=keys)).combine_chunks()

    def _read(self, columns: list[str], where: object = None) -> pa.Table:
        rows = widened(self.lake.read(self.entry.name, self.target.version, columns, where))
        return identified(rows, self.entry.definition).combine_chunks()

    def _keep(self, rows: pa.Table) -> KeptRows:
        codec = RowCodec(feature_types(self.target))
        return KeptRows(rows, self.entry.definition, epoch_us(self.target.published_at), codec, self.told)


def _why_all(base: OnlineTable | None, target: OnlineTable) -> str:
    """Why changes alone can't be published; empty where they can."""
    if base is None:
        return "it was not published before"
    rules = ("available_after", "timeseries_column", "primary_keys")
    reasons = {
        "another table of this name was published last": base.source != target.source,
        "its columns changed": base.types != target.types,
        "its definition changed": any(getattr(base, rule) != getattr(target, rule) for rule in rules),
        f"it was published as of {iso(base.published_at)}, which is later": base.published_at > target.published_at,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _became_available(times: np.ndarray | None, base: OnlineTable, target: OnlineTable) -> pa.Array:
    """Which rows were waiting at the last publish and are not any more: their keys' older rows are not needed now."""
    assert times is not None  # noqa: S101 - for the type checker: the table has a time
    available = times + target.available_after // MICROSECOND
    return pa.array((available > epoch_us(base.published_at)) & (available <= epoch_us(target.published_at)))


def _is_text(kind: pa.DataType) -> bool:
    return key_family(kind) in ("text", "binary")
