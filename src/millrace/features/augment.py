"""Batch scoring: the rows to score with their features; what the request brings itself wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import pyarrow as pa

from millrace.core.clock import utc
from millrace.core.errors import InvalidInput
from millrace.core.names import TableName, did_you_mean
from millrace.features.attach import attach
from millrace.features.defaults import arrow_type
from millrace.features.functions.compiled import add_functions, check_functions, columns_read, needed
from millrace.features.identity import question_us
from millrace.features.port import AsOfJoin
from millrace.features.resolve import columns_after, resolve_all
from millrace.features.types import BoundFunction, FeatureSpec
from millrace.lake.lake import Lake
from millrace.lake.types import TableVersion


def augment(
    lake: Lake,
    join: AsOfJoin,
    spec: FeatureSpec,
    requests: pa.Table,
    *,
    as_of: datetime,
    versions: Mapping[TableName, int] | None = None,
) -> pa.Table:
    """The request columns, then the features that the request does not have, as known at each row's time.

    Functions whose columns no model input depends on are not called.

    `model_frame(result, spec.inputs)` is what the model takes.

    Raises:
        NotFound: an unknown table, or no version at that time.
        InvalidInput: a key, a time or an input that the request must carry is missing or of the wrong type.
    """
    return augment_pinned(lake, join, spec, requests, as_of=as_of, versions=versions)[0]


def augment_pinned(
    lake: Lake,
    join: AsOfJoin,
    spec: FeatureSpec,
    requests: pa.Table,
    *,
    as_of: datetime,
    versions: Mapping[TableName, int] | None = None,
) -> tuple[pa.Table, tuple[TableVersion, ...]]:
    """As `augment`, with the table versions that were read."""
    functions = needed(spec.functions, spec.inputs, requests.column_names)
    _check_request(spec, functions, requests.column_names)
    as_of = utc(as_of)
    resolved = [
        found for _, found in resolve_all(lake, spec.lookups, requests.schema, as_of, versions, request_wins=True)
    ]
    tables = dict.fromkeys(found.source.table for found in resolved)
    as_trained = _times_as_trained(requests, spec, functions)
    check_functions(functions, columns_after(as_trained.schema, resolved))
    table = attach(join, requests, resolved, as_of)
    return _computed(table, as_trained, functions), tuple(tables)


def _computed(table: pa.Table, as_trained: pa.Table, functions: Sequence[BoundFunction]) -> pa.Table:
    seen = table
    for name in as_trained.column_names:
        if as_trained.schema.field(name).type != table.schema.field(name).type:
            seen = seen.set_column(seen.column_names.index(name), name, as_trained.column(name))
    made = add_functions(seen, functions)
    for function in functions:
        table = table.append_column(made.schema.field(function.output), made.column(function.output))
    return table


def _times_as_trained(requests: pa.Table, spec: FeatureSpec, functions: Sequence[BoundFunction]) -> pa.Table:
    """The requests with the times of the question as functions knew them: a day where they were days, else an instant."""
    times = {lookup.timestamp_lookup_key for lookup in spec.lookups} & set(requests.column_names)
    for function in functions:
        for parameter, name in function.bindings.items():
            trained = arrow_type(function.types[parameter])
            if name in times and pa.types.is_date(trained) != pa.types.is_date(requests.schema.field(name).type):
                place = requests.column_names.index(name)
                asked = question_us(requests.column(name), name).cast(pa.timestamp("us", "UTC"))
                day = asked.cast(pa.timestamp("us")).cast(pa.date32())
                requests = requests.set_column(place, name, day if pa.types.is_date(trained) else asked)
    return requests


def _check_request(spec: FeatureSpec, functions: Sequence[BoundFunction], columns: Sequence[str]) -> None:
    read = columns_read(functions)
    for name in spec.request_columns:
        if name not in columns and (name in spec.inputs or name in read):
            reader = "the model takes as it is" if name in spec.inputs else "a feature function reads"
            raise InvalidInput(
                f"the request has no column '{name}', which {reader}", hint=did_you_mean(name, columns), column=name
            )
