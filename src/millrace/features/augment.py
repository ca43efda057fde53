"""Batch scoring: the rows to score with their features; what the request brings itself wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import pyarrow as pa

from millrace.core.clock import utc
from millrace.core.errors import InvalidInput
from millrace.core.names import TableName, did_you_mean
from millrace.features.attach import attach
from millrace.features.functions import add_functions, check_functions, columns_read, needed
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
    check_functions(functions, columns_after(requests.schema, resolved))
    tables = dict.fromkeys(found.source.table for found in resolved)
    return add_functions(attach(join, requests, resolved, as_of), functions), tuple(tables)


def _check_request(spec: FeatureSpec, functions: Sequence[BoundFunction], columns: Sequence[str]) -> None:
    read = columns_read(functions)
    for name in spec.request_columns:
        if name not in columns and (name in spec.inputs or name in read):
            reader = "the model takes as it is" if name in spec.inputs else "a feature function reads"
            raise InvalidInput(
                f"the request has no column '{name}', which {reader}", hint=did_you_mean(name, columns), column=name
            )
