"""Small feature tables for tests of engines: real Delta tables, made in one line, pinned as a lookup reads them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from millrace.core.names import TableName
from millrace.core.principal import system
from millrace.features.types import FeatureSource, ResolvedLookup
from millrace.lake.adapters.delta import DeltaTableStore
from millrace.lake.types import CommitInfo, DateStandsFor, Location, TableDefinition, TableVersion, Version

STAMP = pa.timestamp("us", "UTC")
INT = pa.int64()
LATE = datetime(2100, 1, 1, tzinfo=UTC)
_COMMIT = CommitInfo(datetime(2024, 1, 1, tzinfo=UTC), system("test"))


class FeatureTables:
    """Makes tables under a folder, each under a name of its own. Nothing is checked on writing: broken tables can be made too."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self.store = DeltaTableStore()

    def make(
        self,
        rows: pa.Table,
        *,
        keys: Sequence[str] = ("k",),
        time: str | None = "ts",
        available_after: timedelta = timedelta(0),
        date_stands_for: DateStandsFor = "end",
        commits: int = 1,
        partitions: Sequence[str] = (),
    ) -> FeatureSource:
        """The rows as a table, in as many commits (each with files of its own) as are asked for."""
        location = Location(str(self._folder / f"table {next(self._numbers)}"))
        definition = TableDefinition(partition_columns=tuple(partitions))
        self.store.create(location, rows.schema, definition, _COMMIT)
        for part in range(commits):
            self.store.append(location, rows.take(pa.array(range(part, len(rows), commits), INT)), _COMMIT)
        return self._pinned(location, rows, (keys, time), available_after, date_stands_for)

    def foreign(self, rows: pa.Table, *, keys: Sequence[str] = ("k",), time: str | None = "ts") -> FeatureSource:
        """The rows as another program writes them: times without a zone stay so, and columns that can't be null are said to be."""
        from deltalake import write_deltalake

        location = Location(str(self._folder / f"foreign {next(self._numbers)}"))
        write_deltalake(location, rows)
        return self._pinned(location, rows, (keys, time))

    def _pinned(
        self,
        location: Location,
        rows: pa.Table,
        identity: tuple[Sequence[str], str | None],
        available_after: timedelta = timedelta(0),
        date_stands_for: DateStandsFor = "end",
    ) -> FeatureSource:
        source = FeatureSource(
            table=TableVersion(TableName.parse("f.t"), Version(0)),
            location=location,
            files=(),
            schema=rows.schema,
            primary_keys=tuple(identity[0]),
            timeseries_column=identity[1],
            available_after=available_after,
            date_stands_for=date_stands_for,
        )
        return self.newest(source)

    def newest(self, source: FeatureSource) -> FeatureSource:
        """The same table, pinned to what is its newest version now."""
        return self.at(source, self.store.version(source.location))

    def at(self, source: FeatureSource, version: Version) -> FeatureSource:
        """The same table, pinned to another version."""
        return replace(
            source,
            table=replace(source.table, version=version),
            files=self.store.files(source.location, version),
            schema=self.store.schema(source.location, version),
        )

    def append(self, source: FeatureSource, rows: pa.Table) -> FeatureSource:
        """The same table with more rows, and columns, pinned to that version."""
        self.store.append(source.location, rows, _COMMIT)
        return self.newest(source)

    def merge(self, source: FeatureSource, rows: pa.Table) -> FeatureSource:
        """The same table with the rows upserted by identity, pinned to that version."""
        identity = [*source.primary_keys, *([source.timeseries_column] if source.timeseries_column else [])]
        self.store.merge(source.location, rows, identity, _COMMIT)
        return self.newest(source)


def lookup(where: FeatureSource, **changes: Any) -> ResolvedLookup:
    """All features of a table, asked by columns named as its keys and a time `t`."""
    features = [name for name in where.schema.names if name not in (*where.primary_keys, where.timeseries_column)]
    plain = ResolvedLookup(
        source=where,
        keys=where.primary_keys,
        columns={name: name for name in features},
        timestamp_key="t" if where.timeseries_column else None,
        lookback=None,
        defaults={},
    )
    return replace(plain, **changes)


def features(
    rows: Sequence[tuple[Any, ...]], names: Sequence[str] = ("k", "ts", "v"), **types: pa.DataType
) -> pa.Table:
    """Feature rows: key `k`, time `ts`, value `v`, unless told otherwise."""
    kinds = {"k": INT, "ts": STAMP, "v": INT} | types
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    return pa.table({name: pa.array(values, kinds[name]) for name, values in zip(names, columns, strict=True)})


def requests(*rows: tuple[Any, Any], key: pa.DataType = INT, time: pa.DataType = STAMP) -> pa.Table:
    """Request rows: key `k`, time `t`."""
    return pa.table({"k": pa.array([k for k, _ in rows], key), "t": pa.array([t for _, t in rows], time)})


def day(text: str) -> datetime:
    """An ISO date or time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
