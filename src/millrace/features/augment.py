"""Batch scoring: the rows to score with their features; what the request brings itself wins."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import pyarrow as pa

from millrace.core.clock import utc
from millrace.core.errors import InvalidInput
from millrace.core.names import TableName, did_you_mean
from millrace.features.attach import attach
from millrace.features.port import AsOfJoin
from millrace.features.resolve import resolve_all
from millrace.features.types import FeatureSpec
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
    for name in spec.request_columns:
        if name not in requests.column_names:
            raise InvalidInput(
                f"the request has no column '{name}', which the model takes as it is",
                hint=did_you_mean(name, requests.column_names),
                column=name,
            )
    as_of = utc(as_of)
    resolved = [
        found for _, found in resolve_all(lake, spec.lookups, requests.schema, as_of, versions, request_wins=True)
    ]
    tables = dict.fromkeys(found.source.table for found in resolved)
    return attach(join, requests, resolved, as_of), tuple(tables)
