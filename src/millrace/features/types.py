"""Lookups, feature specs and training sets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, TypeAlias

from millrace.core.errors import InvalidInput
from millrace.core.names import TableName
from millrace.lake.types import DateStandsFor, Location, TableVersion, Version

if TYPE_CHECKING:
    import pyarrow as pa

ScalarType: TypeAlias = Literal["float", "int", "str", "bool", "date", "datetime", "Decimal"]
MissingKeys: TypeAlias = Literal["null", "default", "404"]
"""What a lookup inside a request gives for a key without a row: nulls, the lookup's `default_values`, or the refusal of the request."""


def check_duration(name: str, given: object) -> None:
    """Refuse a length of time that is a number or a text: nobody can know its unit. None is left to the caller.

    Raises:
        InvalidInput: it is no timedelta.
    """
    if given is not None and not isinstance(given, timedelta):
        raise InvalidInput(f"{name} is {given!r}, not a timedelta", hint=f"say its unit: {name}=timedelta(days=7)")


def _named(name: str, given: object) -> Mapping[str, object]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise InvalidInput(f"{name} is {given!r}, not a mapping", hint=f'write {name}={{"feature": ...}}')
    return given


@dataclass(frozen=True, slots=True)
class FeatureLookup:
    """Features of one table, found for each request row by key and time.

    Attributes:
        table_name: the feature table, one to three levels.
        lookup_key: request columns, in the order of the table's primary keys; their names may differ.
        feature_names: which columns, one or several; None is all but keys and time.
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
        if isinstance(self.feature_names, str):
            object.__setattr__(self, "feature_names", (self.feature_names,))
        for name in ("rename_outputs", "default_values"):
            object.__setattr__(self, name, _named(name, getattr(self, name)))
        check_duration("lookback_window", self.lookback_window)
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
class FeatureFunction:
    """A feature that a registered Python function computes from other columns, row by row.

    Attributes:
        udf_name: the function's name, one to three levels.
        input_bindings: parameter to column: of the request, of a lookup, or of a function earlier in the list.
        output_name: the column that it makes; None: the last part of `udf_name`.
    """

    udf_name: str
    input_bindings: Mapping[str, str] | None = None
    output_name: str | None = None

    def __post_init__(self) -> None:
        if self.output_name is not None and not self.output_name:
            raise InvalidInput("output_name is empty", hint="name the column, or leave output_name out")

    @property
    def bindings(self) -> Mapping[str, str]:
        """Parameter to column, empty where none was given."""
        return self.input_bindings or {}

    @property
    def output(self) -> str:
        """The column that it makes."""
        return self.output_name or self.udf_name.rpartition(".")[2]


def parted(
    features: Sequence[FeatureLookup | FeatureFunction],
) -> tuple[list[FeatureLookup], list[FeatureFunction]]:
    """The lookups and the functions, each in their order.

    Raises:
        InvalidInput: it is no list, or one of them is neither: passed over, nobody would notice what is missing.
    """
    hint = 'give [FeatureLookup("ml.features.spend", lookup_key="customer_id"), ...]'
    if isinstance(features, str | FeatureLookup | FeatureFunction):
        raise InvalidInput(f"the features are one {type(features).__name__}, not a list", hint=hint)
    other: list[object] = [each for each in features if type(each) not in {FeatureLookup, FeatureFunction}]
    if other:
        raise InvalidInput(f"{other[0]!r} is neither a FeatureLookup nor a FeatureFunction", hint=hint)
    lookups = [each for each in features if isinstance(each, FeatureLookup)]
    return lookups, [each for each in features if isinstance(each, FeatureFunction)]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a feature function.

    Attributes:
        nullable: whether the function is called with None; where it is not, a null makes the result null without a call.
        required: whether it has no default and has to be bound.
    """

    name: str
    type: ScalarType
    nullable: bool
    required: bool


@dataclass(frozen=True, slots=True)
class FunctionDefinition:
    """A feature function as it is kept: its source, and what its annotations say.

    Attributes:
        name: one to three levels, in its short form.
        entry: what the source calls it.
        source: its text without decorators, complete in itself.
        returns: the type of its result.
        returns_null: whether the result may be None.
        code_hash: SHA-256 of the code without comments and layout, and its types.
    """

    name: str
    entry: str
    source: str
    parameters: tuple[Parameter, ...]
    returns: ScalarType
    returns_null: bool
    code_hash: str


@dataclass(frozen=True, slots=True)
class FunctionVersion:
    """A registered function. Versions count from 1; what a version says never changes."""

    definition: FunctionDefinition
    version: int
    description: str
    owner: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class BoundFunction:
    """A function with its columns, as a model carries it: the code that it was trained with.

    Attributes:
        version: in the home where it was bound.
        bindings: parameter to column, in the order of the parameters.
        output: the column that it makes.
        types: parameter to the Arrow type name of its column when it was bound. A request's values are read as that
            type, so that the function is given what it was given in training.
    """

    function: FunctionDefinition
    version: int
    bindings: Mapping[str, str]
    output: str
    types: Mapping[str, str]


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
        request_columns: what the request itself must carry: inputs that are not looked up, and columns that functions
            read. The times of the question are not among them: a lookup inside a request is asked at the Clock's time.
        functions: in the order in which they are computed, after the lookups.
    """

    lookups: tuple[FeatureLookup, ...]
    label: str | None
    exclude: tuple[str, ...]
    inputs: tuple[str, ...]
    request_columns: tuple[str, ...] = ()
    functions: tuple[BoundFunction, ...] = ()


@dataclass(frozen=True, slots=True)
class NamedFeatureSpec:
    """A feature spec that is kept under a name. `spec` holds the code of its functions as it was when it was made."""

    name: str
    spec: FeatureSpec
    description: str
    owner: str
    created_at: datetime
    updated_at: datetime


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
        code: SHA-256 of each piece of code that the rows depend on: feature functions by name, and what the caller
            named beside them (a pipeline's feature tables).
    """

    tables: tuple[TableVersion, ...]
    as_of: datetime
    rows: int
    fingerprint: str
    spec: str
    warnings: tuple[str, ...] = ()
    split: Mapping[str, object] = field(default_factory=dict)
    code: Mapping[str, str] = field(default_factory=dict)

    @property
    def code_hash(self) -> str | None:
        """One SHA-256 over all of `code`; None where the rows depend on none that is known."""
        lines = "".join(f"{name}={self.code[name]}\n" for name in sorted(self.code))
        return hashlib.sha256(lines.encode()).hexdigest() if lines else None


@dataclass(frozen=True, slots=True)
class OnlineTable:
    """What the online store knows of a published table: the rules for reading it and what it holds.

    Attributes:
        types: column to Arrow type name, keys and time included, so that values come back as they went in.
        version: the Delta version of the last publish.
        published_at: Clock time of the last publish.
        keys: how many distinct keys.
        newest_us: the newest event time (end of day for dates), microseconds; None without rows or time.
        source: which table it was published from, and how its times are read: changes can be published on top of it only
            from the same one.
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
    source: str = ""


@dataclass(frozen=True, slots=True)
class OnlineRow:
    """One stored row of a key: its event time (already the end of the day for dates) and its values by column.

    Attributes:
        version: a Delta version of the table that has this row as it is here: the one that was published last.
    """

    ts_us: int | None
    values: Mapping[str, object]
    version: Version
