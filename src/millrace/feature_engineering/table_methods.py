"""The client's part for feature tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from millrace.core.errors import InvalidInput
from millrace.feature_engineering import frames
from millrace.feature_engineering.options import names, only_default
from millrace.feature_engineering.types import FeatureTable, TableChange, TrainingSet
from millrace.features.freshness import Freshness, table_freshness
from millrace.features.saved_sets import load_training_set
from millrace.features.tables import (
    create_feature_table,
    delete_feature_rows,
    update_feature_table,
    write_feature_rows,
)
from millrace.lake.types import DateStandsFor
from millrace.workspace import Workspace

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class TableMethods:
    """Making, writing, reading and describing feature tables."""

    _workspace: Workspace

    def create_table(
        self,
        *,
        name: str,
        primary_keys: str | Sequence[str],
        df: object = None,
        timeseries_column: str | None = None,
        partition_columns: str | Sequence[str] | None = None,
        schema: object = None,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        available_after: timedelta = timedelta(0),
        date_stands_for: DateStandsFor = "end",
        freshness: timedelta | None = None,
        owner: str | None = None,
        timeseries_columns: str | Sequence[str] | None = None,
    ) -> FeatureTable:
        """Make a feature table, with the rows of `df` where it is given: with all of them, or not at all.

        Args:
            name: one to three levels.
            primary_keys: key columns; the timeseries column may be among them.
            df: rows: a PySpark, pandas, Polars or Arrow frame.
            timeseries_column: event time, where rows are a time series.
            partition_columns: Delta partition columns; the best are keys.
            schema: a PySpark or Arrow schema; with `df`, the types that the rows are stored in.
            description: for people.
            tags: free key and value.
            available_after: how long after its event time a row can be seen.
            date_stands_for: which end of its day a DATE event time means: `end` or `start`.
            freshness: how old the newest available row may be before the table counts as late.
            owner: who answers for the table; None is who makes it.
            timeseries_columns: `timeseries_column` under another name; one column.

        Raises:
            AlreadyExists: a table of that name exists.
            InvalidInput: two times, neither `df` nor `schema`, a missing key, duplicate or null keys.
        """
        rows = None if df is None else frames.to_arrow(df)
        found = rows.schema if rows is not None and schema is None else frames.to_schema(schema)
        create_feature_table(
            self._workspace.lake,
            name,
            found,
            primary_keys=primary_keys,
            timeseries_column=_one_time(timeseries_column, timeseries_columns),
            available_after=available_after,
            date_stands_for=date_stands_for,
            partition_columns=names(partition_columns),
            freshness=freshness,
            description=description or "",
            tags=tags or {},
            owner=owner,
            rows=rows,
        )
        return self.get_table(name=name)

    def write_table(
        self,
        *,
        name: str,
        df: object,
        mode: str = "merge",
        checkpoint_location: str | None = None,
        trigger: Mapping[str, object] | None = None,
    ) -> None:
        """Upsert rows on keys and time. `mode` is `merge`; streams (`checkpoint_location`, `trigger`) are not taken."""
        only_default(checkpoint_location=checkpoint_location, trigger=trigger)
        write_feature_rows(self._workspace.lake, name, frames.to_arrow(df), mode=mode)

    def read_table(self, *, name: str, version: int | None = None) -> DataFrame:
        """A PySpark frame over the newest version, or the one asked for."""
        pinned = self._workspace.lake.pin(
            name, None, None if version is None else {self._workspace.lake.entry(name).name: version}
        )
        return self._workspace.spark.read(self._workspace.lake.entry(name).location, pinned.version)

    def get_table(self, *, name: str) -> FeatureTable:
        """What is known of a feature table."""
        return FeatureTable.of(self._workspace.lake.entry(name), self._workspace.lake.schema(name))

    def update_table(
        self,
        *,
        name: str,
        description: str | None = None,
        owner: str | None = None,
        freshness: timedelta | None = None,
    ) -> FeatureTable:
        """Change what changes no answer: the description, the owner, the freshness that is expected."""
        update_feature_table(self._workspace.lake, name, description=description, owner=owner, freshness=freshness)
        return self.get_table(name=name)

    def delete_rows(self, *, name: str, keys: object) -> int:
        """Remove the rows of the given keys in one commit, and say how many they were.

        Args:
            name: the feature table.
            keys: a frame of primary keys: all of a key's rows are removed. With the timeseries column beside them,
                only the rows at those times.

        Raises:
            InvalidInput: a key column is missing, null or of another type than the table's, or a column is no key.
        """
        return delete_feature_rows(self._workspace.lake, name, frames.to_arrow(keys)).rows

    def table_history(self, *, name: str, limit: int | None = None) -> list[TableChange]:
        """The versions of a table, newest first: when, who, why, what, and how many rows. `limit`: only the newest."""
        lake = self._workspace.lake
        newest_first = list(reversed(lake.history(name)))[: None if limit is None else max(limit, 0)]
        return [TableChange.of(info, lake.rows(name, info.version)) for info in newest_first]

    def table_freshness(self, *, name: str) -> Freshness:
        """How old the newest row is that can be seen now, and whether that is late."""
        return table_freshness(self._workspace.lake, name)

    def load_training_set(self, *, name: str) -> TrainingSet:
        """A training set that was saved as a table: the same rows, order, types and record.

        Raises:
            NotFound: no such table.
            InvalidInput: the table is no saved training set.
        """
        workspace = self._workspace
        return TrainingSet(load_training_set(workspace.lake, name), workspace.spark, workspace.lake)

    def drop_table(self, *, name: str) -> None:
        """Drop a table here, its files, and what the online store has of it."""
        entry = self._workspace.lake.entry(name)
        self._workspace.online.remove(entry.name)
        self._workspace.lake.drop(name)

    def set_feature_table_tag(self, *, name: str, key: str, value: str) -> None:
        """Set one tag."""
        tags = self._workspace.lake.entry(name).definition.tags
        self._workspace.lake.describe(name, tags={**tags, key: value})

    def delete_feature_table_tag(self, *, name: str, key: str) -> None:
        """Remove one tag; nothing where it isn't there."""
        tags = self._workspace.lake.entry(name).definition.tags
        self._workspace.lake.describe(name, tags={k: v for k, v in tags.items() if k != key})


def _one_time(column: str | None, columns: str | Sequence[str] | None) -> str | None:
    named = [*([column] if column else []), *names(columns)]
    if len(named) > 1:
        raise InvalidInput(
            f"a feature table has one timeseries column, not {len(named)}", hint="name one: timeseries_column='ts'"
        )
    return named[0] if named else None
