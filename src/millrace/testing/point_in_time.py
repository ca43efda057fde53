"""The point-in-time rules in plain Python, slowly: what every engine is measured against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING

from millrace.core.clock import utc
from millrace.core.errors import LawBroken
from millrace.lake.port import TableStore

if TYPE_CHECKING:
    import pyarrow as pa

    from millrace.features.types import ResolvedLookup

Row = Mapping[str, object]


def find(request: Row, rows: Sequence[Row], lookup: ResolvedLookup, as_of: datetime) -> dict[str, object]:
    """The output columns of one request row."""
    best = None
    for row in rows:
        if not _same_key(request, row, lookup):
            continue
        seen = _seen(row, lookup)
        if seen is None:
            best = row if lookup.source.timeseries_column is None else best
            continue
        asked = as_of if lookup.timestamp_key is None else _instant(request[lookup.timestamp_key], "start")
        if asked is None or seen > asked or seen > utc(as_of):
            continue
        if lookup.lookback is not None and asked - seen > lookup.lookback:
            continue
        if best is None or seen > (_seen(best, lookup) or seen):
            best = row
    return {output: _value(best, feature, output, lookup) for feature, output in lookup.columns.items()}


def _same_key(request: Row, row: Row, lookup: ResolvedLookup) -> bool:
    pairs = [(request[a], row[b]) for a, b in zip(lookup.keys, lookup.source.primary_keys, strict=True)]
    return all(a is not None and b is not None and a == b for a, b in pairs)


def _seen(row: Row, lookup: ResolvedLookup) -> datetime | None:
    column = lookup.source.timeseries_column
    instant = None if column is None else _instant(row[column], lookup.source.date_stands_for)
    return None if instant is None else instant + lookup.source.available_after


def _instant(value: object, date_stands_for: str) -> datetime | None:
    if isinstance(value, datetime):
        return utc(value)
    if isinstance(value, date):
        start = datetime.combine(value, time(), UTC)
        return start + timedelta(days=1) if date_stands_for == "end" else start
    return None


def _value(row: Row | None, feature: str, output: str, lookup: ResolvedLookup) -> object:
    value = None if row is None else row[feature]
    return lookup.defaults.get(output) if value is None else value


class PlainAsOfJoin:
    """The oracle as an `AsOfJoin` of its own, for tables of a few rows: every request row against every feature row."""

    def __init__(self, store: TableStore) -> None:
        self._store = store

    def lookup(self, requests: pa.Table, lookup: ResolvedLookup, as_of: datetime) -> pa.Table:
        """See `AsOfJoin.lookup`.

        Raises:
            LawBroken: two rows of the table have one identity.
        """
        import pyarrow as pa

        source = lookup.source
        rows = self._store.read(source.location, source.table.version).to_pylist() if source.files else []
        _refuse_ties(rows, lookup)
        found = [find(request, rows, lookup, as_of) for request in requests.to_pylist()]
        types = {output: source.schema.field(feature).type for feature, output in lookup.columns.items()}
        return pa.table({name: pa.array([row[name] for row in found], kind) for name, kind in types.items()})


def _refuse_ties(rows: Sequence[Row], lookup: ResolvedLookup) -> None:
    time = lookup.source.timeseries_column
    names = (*lookup.source.primary_keys, *([] if time is None else [time]))
    identities = [tuple(row[name] for name in names) for row in rows if all(row[name] is not None for name in names)]
    if len(set(identities)) < len(identities):
        raise LawBroken(f"the identities of {lookup.source.table} are not unique", hint="write each row once")
