"""The requests with the features of several lookups beside them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa

from millrace.core.errors import LawBroken
from millrace.features.port import AsOfJoin, SharedAsOfJoin
from millrace.features.types import ResolvedLookup


def attach(join: AsOfJoin, requests: pa.Table, lookups: Sequence[ResolvedLookup], as_of: datetime) -> pa.Table:
    """The requests with each lookup's columns added on the right; rows and their order stay.

    Raises:
        LawBroken: an engine returned another number of rows.
    """
    columns, fields = list(requests.columns), list(requests.schema)
    for lookup, found in zip(lookups, _found(join, requests, lookups, as_of), strict=True):
        if len(found) != len(requests) or found.column_names != list(lookup.columns.values()):
            raise LawBroken(
                f"the lookup of {lookup.source.table} gave {len(found)} rows for {len(requests)}",
                hint="this is a bug in the engine: please report it",
                table=str(lookup.source.table),
            )
        columns += found.columns
        fields += list(found.schema)
    return pa.table(columns, schema=pa.schema(fields, requests.schema.metadata))


def _found(
    join: AsOfJoin, requests: pa.Table, lookups: Sequence[ResolvedLookup], as_of: datetime
) -> Sequence[pa.Table]:
    if isinstance(join, SharedAsOfJoin):
        return join.lookup_all(requests, lookups, as_of)
    return [join.lookup(requests, lookup, as_of) for lookup in lookups]
