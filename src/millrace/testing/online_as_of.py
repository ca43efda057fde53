"""An online store as an `AsOfJoin`, so that the suites of the as-of join are run on it too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from millrace.core.clock import epoch_us, from_epoch_us, utc
from millrace.features.identity import MICROSECOND, question_us
from millrace.features.online.codec import RowCodec
from millrace.features.online.lookup import OnlineFeatures
from millrace.features.online.rows import KeptRows, event_times, identified
from millrace.features.online.table import feature_types
from millrace.features.port import OnlineStore
from millrace.features.types import FeatureLookup, FeatureSource, FeatureSpec, OnlineTable, ResolvedLookup
from millrace.lake.port import TableStore
from millrace.lake.types import TableDefinition


class OnlineAsOfJoin:
    """Publishes the table as of the earliest question, once, and then asks each question at its own time.

    So what became available between the questions has to come from rows that waited. Rows that were not available at the
    time of the reading are left out before, because a store is asked at the Clock's time only.

    Args:
        online: the store.
        tables: where the feature tables are.
    """

    def __init__(self, online: OnlineStore, tables: TableStore) -> None:
        self._online, self._tables = online, tables

    def lookup(self, requests: pa.Table, lookup: ResolvedLookup, as_of: datetime) -> pa.Table:
        """See `AsOfJoin.lookup`."""
        asked = _asked(requests, lookup, utc(as_of))
        times = [time for time in asked if time is not None]
        self._publish(lookup.source, min(times, default=utc(as_of)), utc(as_of))
        keys = [f"__key{number}" for number in range(len(lookup.keys))]
        features = OnlineFeatures(self._online, _spec(lookup, keys))
        values = [requests.column(name).to_pylist() for name in lookup.keys]
        records = [dict(zip(keys, row, strict=True)) for row in zip(*values, strict=True)]
        found = [_row(features, record, time) for record, time in zip(records, asked, strict=True)]
        return _table(found, lookup)

    def _publish(self, source: FeatureSource, at: datetime, as_of: datetime) -> None:
        definition = TableDefinition(
            primary_keys=source.primary_keys,
            timeseries_column=source.timeseries_column,
            available_after=source.available_after,
            date_stands_for=source.date_stands_for,
        )
        rows = identified(self._tables.read(source.location, source.table.version), definition)
        times = event_times(rows, definition)
        if times is not None:
            known = times + source.available_after // MICROSECOND <= epoch_us(as_of)
            rows = rows.filter(pa.array(known, pa.bool_()))
        table = OnlineTable(
            name=source.table.name,
            primary_keys=source.primary_keys,
            timeseries_column=source.timeseries_column,
            available_after=source.available_after,
            types={field.name: str(field.type) for field in rows.schema},
            version=source.table.version,
            published_at=at,
            keys=0,
            newest_us=None,
        )
        codec = RowCodec(feature_types(table))
        self._online.replace(table, KeptRows(rows.combine_chunks(), definition, epoch_us(at), codec))


def _asked(requests: pa.Table, lookup: ResolvedLookup, as_of: datetime) -> list[datetime | None]:
    if lookup.timestamp_key is None:
        return [as_of] * len(requests)
    column = requests.column(lookup.timestamp_key)
    if pa.types.is_null(column.type):
        return [None] * len(requests)
    microseconds = question_us(column, lookup.timestamp_key).to_pylist()
    return [None if time is None else from_epoch_us(time) for time in microseconds]


def _spec(lookup: ResolvedLookup, keys: Sequence[str]) -> FeatureSpec:
    one = FeatureLookup(
        table_name=str(lookup.source.table.name),
        lookup_key=tuple(keys),
        feature_names=tuple(lookup.columns),
        rename_outputs=lookup.columns,
        timestamp_lookup_key="__time" if lookup.timestamp_key else None,
        lookback_window=lookup.lookback,
        default_values=lookup.defaults,
    )
    return FeatureSpec((one,), None, (), tuple(lookup.columns.values()))


def _row(features: OnlineFeatures, record: Mapping[str, Any], now: datetime | None) -> Mapping[str, object]:
    if now is None:  # no Clock has no time: the question is one about a key that is not there
        record, now = dict.fromkeys(record), from_epoch_us(0)
    (row,) = features.find([record], now)
    return row.values


def _table(found: Sequence[Mapping[str, object]], lookup: ResolvedLookup) -> pa.Table:
    schema = lookup.source.schema
    kinds = {output: schema.field(feature).type for feature, output in lookup.columns.items()}
    return pa.table({name: pa.array([row[name] for row in found], kind) for name, kind in kinds.items()})
