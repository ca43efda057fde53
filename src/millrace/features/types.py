"""Lookups, feature specs and training sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from millrace.core.errors import InvalidInput
from millrace.core.names import TableName
from millrace.lake.types import DateStandsFor, Location, TableVersion, Version

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class FeatureLookup:
    """Features of one table, found for each request row by key and time.

    Attributes:
        table_name: the feature table, one to three levels.
        lookup_key: request columns, in the order of the table's primary keys; their names may differ.
        feature_names: which columns; None is all but keys and time.
        rename_outputs: feature name to output column name.
        timestamp_lookup_key: request column with the time of the question; None: as of the read.
        lookback_window: how old a value may be, inclusive; None is unbounded, zero an exact match.
        default_values: output name to the value that stands in for null.
    """

    table_name: str
    lookup_key: str | Sequence[str]
    feature_names: Sequence[str] | None = None
    rename_outputs: Mapping[str, str] = field(default_factory=dict)
    timestamp_lookup_key: str | None = None
    lookback_window: timedelta | None = None
    default_values: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        TableName.parse(self.table_name)
        if self.lookback_window is not None and self.lookback_window < timedelta(0):
            raise InvalidInput(
                "lookback_window is negative", hint="give a positive timedelta, zero for an exact match, or None"
            )
        if self.lookback_window is not None and self.timestamp_lookup_key is None:
            raise InvalidInput(
                "lookback_window without timestamp_lookup_key", hint="name the request column that holds the time"
            )

    @property
    def keys(self) -> tuple[str, ...]:
        """The lookup key as a tuple."""
        return (self.lookup_key,) if isinstance(self.lookup_key, str) else tuple(self.lookup_key)


@dataclass(frozen=True, slots=True)
class FeatureSource:
    """A feature table as a lookup reads it: pinned, with the rules that its definition sets.

    Attributes:
        files: the version's Parquet files.
        schema: Arrow schema of the version.
    """

    table: TableVersion
    location: Location
    files: Sequence[str]
    schema: pa.Schema
    primary_keys: tuple[str, ...]
    timeseries_column: str | None
    available_after: timedelta
    date_stands_for: DateStandsFor


@dataclass(frozen=True, slots=True)
class ResolvedLookup:
    """A lookup checked against its pinned table: what an engine needs, with nothing left to decide.

    Attributes:
        columns: feature column in the table to output column, in output order.
    """

    source: FeatureSource
    keys: tuple[str, ...]
    columns: Mapping[str, str]
    timestamp_key: str | None
    lookback: timedelta | None
    defaults: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """What a model carries: how its features are found. JSON by `to_json` and `from_json` in `features/spec.py`.

    Attributes:
        lookups: in the order of the training set.
        label: the label column, never a feature.
        exclude: columns that the training set had and the model did not see.
        inputs: the model's input columns in order: looked-up outputs and request columns.
        request_columns: inputs that the request itself must carry (not looked up).
    """

    lookups: tuple[FeatureLookup, ...]
    label: str | None
    exclude: tuple[str, ...]
    inputs: tuple[str, ...]
    request_columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """Everything that a training set was made from, enough to make it again.

    Attributes:
        tables: pinned versions that were read, labels included.
        as_of: Clock time that the reads were cut at.
        rows: row count.
        fingerprint: SHA-256 over the rows, their order and types.
        spec: JSON of the feature spec.
        warnings: what was accepted with a doubt (a source without history).
        split: where these are some rows of a larger training set, how they were taken out of it, JSON-compatible; see
            `features/splits.py`.
    """

    tables: tuple[TableVersion, ...]
    as_of: datetime
    rows: int
    fingerprint: str
    spec: str
    warnings: tuple[str, ...] = ()
    split: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OnlineTable:
    """What the online store knows of a published table: the rules for reading it and what it holds.

    Attributes:
        types: column to Arrow type name, keys and time included, so that values come back as they went in.
        version: the Delta version of the last publish.
        published_at: Clock time of the last publish.
        keys: how many distinct keys.
        newest_us: the newest event time (end of day for dates), microseconds; None without rows or time.
    """

    name: TableName
    primary_keys: tuple[str, ...]
    timeseries_column: str | None
    available_after: timedelta
    types: Mapping[str, str]
    version: Version
    published_at: datetime
    keys: int
    newest_us: int | None


@dataclass(frozen=True, slots=True)
class OnlineRow:
    """One stored row of a key: its event time (already the end of the day for dates) and its values by column."""

    ts_us: int | None
    values: Mapping[str, object]
    version: Version
