"""What a table is, and what a commit, a version and a reading of it are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, NewType

from millrace.core.names import TableName
from millrace.core.principal import Principal

TableId = NewType("TableId", str)
Location = NewType("Location", str)
Version = NewType("Version", int)

History = Literal["append", "snapshot", "scd2", "none"]
DateStandsFor = Literal["end", "start"]


@dataclass(frozen=True, slots=True)
class TableDefinition:
    """What its maker said of a table, beyond its columns.

    Attributes:
        description: for people.
        tags: free key and value.
        primary_keys: columns that, with the timeseries column, identify a row; empty for a plain table.
        timeseries_column: the event time column; None for a table without time.
        available_after: a row with event time `ts` can be seen from `ts + available_after`.
        date_stands_for: which end of the day a DATE event time means.
        partition_columns: Delta partition columns.
        freshness: how old the newest available row may be before the table counts as late; None where nobody said.
        role: `table`, `features`, `labels`, `training_set`, `inference_log`, `metrics`.
        properties: facts that other parts keep with the table, JSON-compatible.
    """

    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    primary_keys: tuple[str, ...] = ()
    timeseries_column: str | None = None
    available_after: timedelta = timedelta(0)
    date_stands_for: DateStandsFor = "end"
    partition_columns: tuple[str, ...] = ()
    freshness: timedelta | None = None
    role: str = "table"
    properties: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TableEntry:
    """A table in the catalog."""

    id: TableId
    name: TableName
    location: Location
    owner: str
    created_at: datetime
    updated_at: datetime
    definition: TableDefinition


@dataclass(frozen=True, slots=True)
class CommitInfo:
    """Who commits, when by the Clock, and why; kept in the Delta log with the commit.

    Attributes:
        transaction: `(application id, version)`: a commit whose pair is already in the log is skipped, so that a
            repeated write happens once.
    """

    at: datetime
    by: Principal
    why: str = ""
    transaction: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """One version of a table, from its log. `at` is Clock time; None for a commit that millrace did not make.

    Attributes:
        operation: as Delta names it (`WRITE`, `MERGE`, `DELETE`, `OPTIMIZE`, ...), but `OVERWRITE` for a write that replaced
            rows instead of adding some, whoever made it.
        inserted: rows added; None where the log does not say.
        updated: rows replaced by another with the same key; None where the log does not say.
        deleted: rows removed; None where the log does not say.
    """

    version: Version
    at: datetime | None
    operation: str
    by: str | None
    why: str
    inserted: int | None = None
    updated: int | None = None
    deleted: int | None = None


@dataclass(frozen=True, slots=True)
class TableVersion:
    """A table pinned: what a training set, a score or a replay has read."""

    name: TableName
    version: Version

    def __str__(self) -> str:
        """`bronze.transactions@12`."""
        return f"{self.name}@{self.version}"


@dataclass(frozen=True, slots=True)
class FileChanges:
    """The files between two versions of a table that hold what changed; paths are relative to the table.

    A row that is in the newer version and was not in the older one is in an `added` file, or in a file beside rows of
    `removed` ones. A row of the older version that the newer one lacks is in a `removed` file. A removed file's other rows may live on.
    """

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
