"""Training sets: label rows with the features that were known at each row's time, and a record to make them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from millrace.core.clock import utc
from millrace.core.errors import InvalidInput
from millrace.core.names import TableName, did_you_mean
from millrace.features.attach import attach
from millrace.features.fingerprint import fingerprint
from millrace.features.functions.compiled import FunctionFinder, add_functions, bind_functions, code_of, columns_read
from millrace.features.matrix import model_frame
from millrace.features.port import AsOfJoin
from millrace.features.resolve import columns_after, frozen, resolve_all
from millrace.features.spec import to_json
from millrace.features.types import (
    BoundFunction,
    FeatureFunction,
    FeatureLookup,
    FeatureSpec,
    ResolvedLookup,
    TrainingRecord,
    parted,
)
from millrace.lake.lake import Lake
from millrace.lake.types import TableVersion

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Rows, what they were made from, and how a model's features are found again.

    Attributes:
        table: the request columns as they were given, in their order, then the features in the order of the lookups, then
            those of functions. Excluded columns are in it, so that rows can be told apart and split by time.
        record: pinned tables, fingerprint, warnings.
        spec: label, model inputs, lookups.
    """

    table: pa.Table
    record: TrainingRecord
    spec: FeatureSpec

    def features(self) -> pd.DataFrame:
        """The model's inputs in order: float64 with NaN, text as objects."""
        return model_frame(self.table, self.spec.inputs)

    def visible(self) -> pa.Table:
        """The table without its excluded columns."""
        return self.table.drop_columns([name for name in self.spec.exclude if name in self.table.column_names])

    def where(self, mask: np.ndarray) -> TrainingSet:
        """The rows where `mask` (n booleans) holds, in order, with a record of their own."""
        rows = self.table.filter(pa.array(mask, pa.bool_()))
        return replace(self, table=rows, record=replace(self.record, rows=len(rows), fingerprint=fingerprint(rows)))


def build_training_set(
    lake: Lake,
    join: AsOfJoin,
    requests: pa.Table,
    features: Sequence[FeatureLookup | FeatureFunction],
    label: str | None,
    *,
    exclude: Sequence[str] = (),
    as_of: datetime,
    versions: Mapping[TableName, int] | None = None,
    read: Sequence[TableVersion] = (),
    warnings: Sequence[str] = (),
    functions: FunctionFinder | None = None,
    code: Mapping[str, str] | None = None,
) -> TrainingSet:
    """Look up the features of each request row as they were known at its time.

    Args:
        lake: where the feature tables are.
        join: the engine.
        requests: one row per example: keys, times, the label, and columns that are inputs as they are.
        features: lookups and functions. Columns are added in their order, those of the lookups first; a function may read
            what the request, any lookup, and the functions before it have.
        label: the column to predict; None where there is none.
        exclude: columns that the model does not see.
        as_of: no table version committed after it and no feature row available after it is used.
        versions: table versions that win over `as_of`.
        read: table versions that the requests were made from, for the record.
        warnings: doubts about how the requests were made, for the record.
        functions: finds registered functions by name; None where no feature is one.
        code: hashes of the code that made the requests and the tables, by name, for the record.

    Raises:
        NotFound: an unknown table or function, or no version at that time.
        InvalidInput: a lookup, a function, a label or an exclusion does not fit.
    """
    as_of = utc(as_of)
    _check_label(label, requests)
    lookups, called = parted(features)
    resolved = resolve_all(lake, lookups, requests.schema, as_of, versions, request_wins=False, label=label)
    found = [each for _, each in resolved]
    bound = bind_functions(called, functions, columns_after(requests.schema, found), label=label)
    table = add_functions(attach(join, requests, found, as_of), bound)
    _check_excluded(exclude, table.column_names, label)
    spec = _spec(requests, resolved, bound, table, label=label, exclude=tuple(exclude))
    tables = dict.fromkeys([*read, *(each.source.table for each in found)])
    record = TrainingRecord(
        tables=tuple(tables),
        as_of=as_of,
        rows=len(table),
        fingerprint=fingerprint(table),
        spec=to_json(spec),
        warnings=tuple(dict.fromkeys([*warnings, *_doubts(found)])),
        code={**(code or {}), **code_of(bound)},
    )
    return TrainingSet(table, record, spec)


def _spec(
    requests: pa.Table,
    resolved: Sequence[tuple[FeatureLookup, ResolvedLookup]],
    functions: tuple[BoundFunction, ...],
    table: pa.Table,
    *,
    label: str | None,
    exclude: tuple[str, ...],
) -> FeatureSpec:
    inputs = tuple(name for name in table.column_names if name != label and name not in exclude)
    times = {lookup.timestamp_lookup_key for lookup, _ in resolved}
    asked = [*inputs, *(name for name in columns_read(functions) if name not in times)]
    return FeatureSpec(
        lookups=tuple(frozen(lookup, found) for lookup, found in resolved),
        label=label,
        exclude=exclude,
        inputs=inputs,
        request_columns=tuple(name for name in dict.fromkeys(asked) if name in requests.column_names),
        functions=functions,
    )


def _check_label(label: str | None, requests: pa.Table) -> None:
    if label is not None and label not in requests.column_names:
        raise InvalidInput(
            f"the label column '{label}' is missing", hint=did_you_mean(label, requests.column_names), column=label
        )


def _check_excluded(exclude: Sequence[str], columns: Sequence[str], label: str | None) -> None:
    for name in exclude:
        if name == label:
            raise InvalidInput(f"the label '{name}' is excluded", hint="take it out of exclude", column=name)
        if name not in columns:
            raise InvalidInput(
                f"exclude names '{name}', which the training set does not have",
                hint=did_you_mean(name, columns),
                column=name,
            )


def _doubts(resolved: Sequence[ResolvedLookup]) -> list[str]:
    timeless = [
        f"{found.source.table.name} has no timeseries column: its values are those of version "
        f"{found.source.table.version}, whatever a row's time"
        for found in resolved
        if found.source.timeseries_column is None
    ]
    unasked = [
        f"{found.source.table.name} is looked up without timestamp_lookup_key: each row gets the newest values, "
        "which may be from after its time"
        for found in resolved
        if found.source.timeseries_column is not None and found.timestamp_key is None
    ]
    return [*timeless, *unasked]
