"""The client's part for feature tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from millrace.core.errors import InvalidInput
from millrace.feature_engineering import frames
from millrace.feature_engineering.options import only_default
from millrace.feature_engineering.types import FeatureTable
from millrace.features.tables import create_feature_table, write_feature_rows
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
    ) -> FeatureTable:
        """Make a feature table, and fill it where `df` is given.

        Args:
            name: one to three levels.
            primary_keys: key columns; the timeseries column may be among them.
            df: rows: a PySpark, pandas, Polars or Arrow frame.
            timeseries_column: event time, where rows are a time series.
            partition_columns: Delta partition columns.
            schema: a PySpark or Arrow schema, where there is no `df`.
            description: for people.
            tags: free key and value.

        Raises:
            AlreadyExists: a table of that name exists.
            InvalidInput: neither `df` nor `schema`, a missing key, duplicate or null keys.
        """
        rows = None if df is None else frames.to_arrow(df)
        found = rows.schema if rows is not None else frames.to_schema(schema)
        lake = self._workspace.lake
        create_feature_table(
            lake,
            name,
            found,
            primary_keys=primary_keys,
            timeseries_column=timeseries_column,
            partition_columns=[partition_columns]
            if isinstance(partition_columns, str)
            else list(partition_columns or ()),
            description=description or "",
            tags=tags or {},
        )
        if rows is not None:
            try:
                write_feature_rows(lake, name, rows, why="create")
            except InvalidInput:
                lake.drop(name)
                raise
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
