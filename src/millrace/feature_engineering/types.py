"""What the client gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from millrace.features import splits, training_set
from millrace.features.saved_sets import save_training_set
from millrace.features.types import TrainingRecord
from millrace.lake.lake import Lake
from millrace.lake.port import SparkEngine
from millrace.lake.types import DateStandsFor, TableEntry, TableVersion, VersionInfo

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from pyspark.sql import DataFrame


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """A feature table. `features` are its columns but keys and time, with their Arrow types as text.

    Attributes:
        available_after: a row with event time `ts` can be seen from `ts + available_after`.
        date_stands_for: which end of the day a DATE event time means.
        freshness: how old the newest available row may be; None where nobody said.
    """

    name: str
    table_id: str
    description: str
    primary_keys: list[str]
    timeseries_columns: list[str]
    partition_columns: list[str]
    features: list[str]
    column_data_types: Mapping[str, str]
    tags: Mapping[str, str]
    owner: str
    created_at: datetime
    updated_at: datetime
    available_after: timedelta
    date_stands_for: DateStandsFor
    freshness: timedelta | None

    @classmethod
    def of(cls, entry: TableEntry, schema: pa.Schema) -> FeatureTable:
        """From the catalog's entry and the newest schema."""
        definition = entry.definition
        times = [definition.timeseries_column] if definition.timeseries_column else []
        identity = {*definition.primary_keys, *times}
        return cls(
            name=str(entry.name),
            table_id=entry.id,
            description=definition.description,
            primary_keys=list(definition.primary_keys),
            timeseries_columns=times,
            partition_columns=list(definition.partition_columns),
            features=[name for name in schema.names if name not in identity],
            column_data_types={field.name: str(field.type) for field in schema},
            tags=dict(definition.tags),
            owner=entry.owner,
            created_at=entry.created_at,
            updated_at=entry.updated_at,
            available_after=definition.available_after,
            date_stands_for=definition.date_stands_for,
            freshness=definition.freshness,
        )


@dataclass(frozen=True, slots=True)
class TableChange:
    """One version of a table: who made it, when by the Clock, why, and what it did to the rows.

    Attributes:
        at: None for a commit that millrace did not make; so is `by`.
        operation: `WRITE`, `MERGE`, `DELETE`, `OVERWRITE`, `OPTIMIZE`, `CREATE TABLE`, ...
        inserted, updated, deleted: rows that the commit touched; None where the log does not say.
        rows: how many the table had after it.
    """

    version: int
    at: datetime | None
    by: str | None
    operation: str
    why: str
    inserted: int | None
    updated: int | None
    deleted: int | None
    rows: int

    @classmethod
    def of(cls, info: VersionInfo, rows: int) -> TableChange:
        """From the log's line, and the table's rows at that version."""
        return cls(
            version=int(info.version),
            at=info.at,
            by=info.by,
            operation=info.operation,
            why=info.why,
            inserted=info.inserted,
            updated=info.updated,
            deleted=info.deleted,
            rows=rows,
        )


@dataclass(frozen=True, slots=True, repr=False)
class TrainingSet:
    """Rows with their features, and the record of what they were made from."""

    built: training_set.TrainingSet
    spark: SparkEngine
    lake: Lake

    def __repr__(self) -> str:
        """What a notebook shows: the size, the label, what was read, and the doubts in full."""
        tables = ", ".join(map(str, self.record.tables)) or "no table"
        columns = ", ".join(self.to_arrow().column_names)
        lines = [
            f"TrainingSet of {self.record.rows:,} rows: {columns}",
            f"label {self.built.spec.label}, from {tables}",
        ]
        return "\n  ".join([*lines, *(f"doubt: {doubt}" for doubt in self.record.warnings)])

    @property
    def record(self) -> TrainingRecord:
        """Pinned tables, rows, fingerprint, warnings."""
        return self.built.record

    def load_df(self) -> DataFrame:
        """As a PySpark frame, without the excluded columns."""
        return self.spark.session().createDataFrame(self.to_arrow())

    def to_pandas(self) -> pd.DataFrame:
        """As a pandas frame, rows in the order of the request, without the excluded columns."""
        return self.to_arrow().to_pandas()

    def to_arrow(self) -> pa.Table:
        """As an Arrow table, rows in the order of the request, without the excluded columns."""
        return self.built.visible()

    def inputs(self) -> pd.DataFrame:
        """What a model is trained on: its inputs in order, float64 or text."""
        return self.built.features()

    def split_by_time(
        self,
        *,
        time: str | None = None,
        at: datetime | tuple[datetime, datetime] | None = None,
        last: splits.Reach | None = None,
        known_after: timedelta = timedelta(0),
    ) -> tuple[TrainingSet, ...]:
        """Earlier rows train, later ones judge; a row whose label is known only after its part's end is in neither.

        Args:
            time: the column with each row's time; None is the one that the lookups ask by.
            at: where the test part begins; two times make a validation part between them.
            last: instead of `at`, the share of rows, or the time back from the newest row, that is for the test; two
                values for validation and test.
            known_after: how long after its time a row's label is known.
        """
        found = splits.split_by_time(self.built, time=time, at=at, last=last, known_after=known_after)
        return self._each(found)

    def split_by_group(
        self, *, group: str | Sequence[str], test: splits.Share = 0.2, seed: int = 0
    ) -> tuple[TrainingSet, ...]:
        """All rows of a group are in one part, which a hash of the group and the seed decides.

        Args:
            group: the column, or columns, that name the group.
            test: the share of groups in the test part; two values for validation and test.
            seed: another seed, another choice.
        """
        return self._each(splits.split_by_group(self.built, group=group, test=test, seed=seed))

    def split_at_random(
        self, *, test: splits.Share = 0.2, seed: int = 0, stratify: bool = False
    ) -> tuple[TrainingSet, ...]:
        """Rows are drawn; rows of one key come to both sides, which the record then says.

        Args:
            test: the share of rows in the test part; two values for validation and test.
            seed: another seed, another draw.
            stratify: draw from each label value on its own.
        """
        return self._each(splits.split_at_random(self.built, test=test, seed=seed, stratify=stratify))

    def save(self, name: str, *, description: str = "", owner: str | None = None) -> TableVersion:
        """Make a table of this training set; the client's `load_training_set` reads it back, row for row.

        Raises:
            AlreadyExists: there is a table of that name.
            InvalidInput: a column that a table can't hold.
        """
        return save_training_set(self.lake, self.built, name, description=description, owner=owner)

    def _each(self, parts: Sequence[training_set.TrainingSet]) -> tuple[TrainingSet, ...]:
        return tuple(TrainingSet(part, self.spark, self.lake) for part in parts)


@dataclass(frozen=True, slots=True)
class LoggedModel:
    """A stored model. `version` is None where it was not registered."""

    model_uri: str
    run_id: str
    registered_model_name: str | None
    version: str | None
