"""Puts a feature table into the online store: per key the newest row that is available, and those that will be."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from datetime import datetime

import numpy as np
import pyarrow as pa

from millrace.core.clock import epoch_us, utc
from millrace.core.errors import InvalidInput
from millrace.core.names import TableName
from millrace.features.identity import MICROSECOND, event_us, group_ids
from millrace.features.online_codec import can_store
from millrace.features.port import Key, OnlineStore
from millrace.features.types import OnlineRow, OnlineTable
from millrace.lake.lake import Lake
from millrace.lake.types import TableDefinition, Version

MOST_WAITING = 64
"""How many rows of a key that are not yet available are kept, the next ones to become available first."""

_BATCH = 20_000


def publish(
    lake: Lake,
    online: OnlineStore,
    name: str | TableName,
    *,
    as_of: datetime,
    versions: Mapping[TableName, int] | None = None,
) -> OnlineTable:
    """Replace what the online store has of a table with its rows as of a time.

    Columns of nested types stay out: no model can take them.

    Raises:
        NotFound: no such table, or no version at that time.
        InvalidInput: the table has no primary keys.
    """
    entry = lake.entry(name)
    if not entry.definition.primary_keys:
        raise InvalidInput(
            f"table {entry.name} has no primary keys, so it can't be published",
            hint="create it as a feature table, with primary keys",
            table=str(entry.name),
        )
    as_of = utc(as_of)
    pinned = lake.pin(entry.name, as_of, versions)
    schema = lake.schema(entry.name, pinned.version)
    stored = [field.name for field in schema if can_store(str(field.type))]
    rows = _identified(lake.read(entry.name, pinned.version, stored), entry.definition)
    times = _times(rows, entry.definition)
    kept, group = _kept(rows, times, entry.definition, epoch_us(as_of))
    table = OnlineTable(
        name=entry.name,
        primary_keys=entry.definition.primary_keys,
        timeseries_column=entry.definition.timeseries_column,
        available_after=entry.definition.available_after,
        types={field.name: str(field.type) for field in rows.schema},
        version=pinned.version,
        published_at=as_of,
        keys=len(np.unique(group)),
        newest_us=int(times[kept].max()) if times is not None and len(kept) else None,
    )
    online.publish(table, _by_key(rows, times, kept, group, table), replace=True)
    return online.table(entry.name) or table


def _identified(rows: pa.Table, definition: TableDefinition) -> pa.Table:
    """Rows with all of their identity; others, written by other programs, can never be found."""
    identity = [*definition.primary_keys]
    if definition.timeseries_column is not None:
        identity.append(definition.timeseries_column)
    valid = np.ones(len(rows), dtype=bool)
    for name in identity:
        valid &= rows.column(name).is_valid().to_numpy()
    return rows.filter(pa.array(valid, pa.bool_()))


def _times(rows: pa.Table, definition: TableDefinition) -> np.ndarray | None:
    name = definition.timeseries_column
    if name is None:
        return None
    times: np.ndarray = event_us(rows.column(name), name, definition.date_stands_for).to_numpy(zero_copy_only=False)
    return times


def _kept(
    rows: pa.Table, times: np.ndarray | None, definition: TableDefinition, as_of_us: int
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of the rows to store, by key and newest first, and the key's number of each."""
    group = group_ids([rows.column(name) for name in definition.primary_keys])
    if times is None:
        order = np.argsort(group, kind="stable")
        return order, group[order]
    order = np.lexsort((-times, group))
    group, available = group[order], times[order] + definition.available_after // MICROSECOND <= as_of_us
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    # 0 for the newest available row of a key, -1 for the next one to become available, and so on.
    age = np.arange(len(group)) - _first_available(available, starts, np.append(starts[1:], len(group)))
    keep = (age <= 0) & (age >= -MOST_WAITING)
    return order[keep], group[keep]


def _first_available(available: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """For each row the index of its key's first available row; the key's end where none is available."""
    waiting = np.add.reduceat(~available, starts) if len(starts) else np.zeros(0, dtype=np.int64)
    return np.repeat(starts + waiting, ends - starts)


def _by_key(
    rows: pa.Table, times: np.ndarray | None, kept: np.ndarray, group: np.ndarray, table: OnlineTable
) -> Iterator[tuple[Key, list[OnlineRow]]]:
    identity = {*table.primary_keys, table.timeseries_column}
    names = [name for name in rows.column_names if name not in identity]
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    for first in range(0, len(starts), _BATCH):
        begin = int(starts[first])
        end = int(starts[first + _BATCH]) if first + _BATCH < len(starts) else len(kept)
        part = rows.take(pa.array(kept[begin:end]))
        instants = [None] * len(part) if times is None else times[kept[begin:end]].tolist()
        yield from _batch(part, names, instants, group[begin:end], table)


def _batch(
    part: pa.Table, names: list[str], instants: list[int | None], group: np.ndarray, table: OnlineTable
) -> Iterator[tuple[Key, list[OnlineRow]]]:
    keys = list(zip(*(part.column(name).to_pylist() for name in table.primary_keys), strict=True))
    columns = [part.column(name).to_pylist() for name in names]
    values = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)] or [{} for _ in keys]
    edges = [*np.flatnonzero(np.diff(group, prepend=-1)).tolist(), len(part)]
    for begin, end in itertools.pairwise(edges):
        yield (
            keys[begin],
            [OnlineRow(instants[at], values[at], Version(table.version)) for at in range(begin, end)],
        )
