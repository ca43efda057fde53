"""Captured records into the inference tables of their endpoint, a commit a table."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from millrace.core.errors import MillraceError
from millrace.lake.lake import Lake
from millrace.lake.types import TableDefinition
from millrace.serving.capture.records import Record
from millrace.serving.types import Description

if TYPE_CHECKING:
    import pyarrow as pa

Built = TypeVar("Built")
_PART_BYTES = 1 << 20
# What inference tables are in the catalog, and the property that names whose they are.
ROLE, ENDPOINT = "inference_log", "endpoint"


@dataclass(frozen=True, slots=True)
class Group:
    """Records that have a description in common, in the order in which they were written."""

    description: Description
    records: list[Record]


def append_payload(lake: Lake, prefix: str, groups: Sequence[Group], transaction: tuple[str, int]) -> list[Group]:
    """One row a request; the records that could not be converted. A transaction that the table has is skipped.

    Raises:
        MillraceError: the table can't take the rows.
    """
    import pyarrow as pa

    from millrace.serving.capture import inference_tables as tables

    name, endpoint = f"{prefix}_payload", groups[-1].description.endpoint
    built, unfit = _built(groups, tables.payload_table)
    lake.ensure(name, tables.PAYLOAD, _definition(f"Requests to the endpoint {endpoint}", endpoint))
    if built:
        lake.append(name, pa.concat_tables(built), f"requests to {endpoint}", transaction)
    return unfit


def append_predictions(lake: Lake, prefix: str, groups: Sequence[Group], transaction: tuple[str, int]) -> list[Group]:
    """One row a prediction; else as `append_payload`."""
    import pyarrow as pa

    from millrace.serving.capture import inference_tables as tables

    name, endpoint = f"{prefix}_predictions", groups[-1].description.endpoint
    wanted = _merged([tables.predictions_schema(group.description, group.records) for group in groups])
    lake.ensure(name, wanted, _definition(f"Predictions of the endpoint {endpoint}, row by row", endpoint))
    schema = _stored_types(lake.schema(name), wanted)
    built, unfit = _built(groups, partial(tables.predictions_table, schema))
    if built:
        rows = pa.concat_tables(built, promote_options="default")
        lake.append(name, rows, f"predictions of {endpoint}", transaction)
    return unfit


def _built(
    groups: Sequence[Group], build: Callable[[Description, Sequence[Record]], Built]
) -> tuple[list[Built], list[Group]]:
    """What each group becomes without the records of which nothing can be made, and those."""
    built, unfit = [], []
    for group in groups:
        for records in _parts(group.records):
            made, bad = _fitting(group.description, records, build)
            built += made
            if bad:
                unfit.append(Group(group.description, bad))
    return built, unfit


def _parts(records: Sequence[Record]) -> Iterator[list[Record]]:
    """Some records at a time: as Python's objects their values take many times the room that columns do."""
    part: list[Record] = []
    size = 0
    for record in records:
        part.append(record)
        size += len(record.payload)
        if size >= _PART_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _fitting(
    description: Description, records: list[Record], build: Callable[[Description, Sequence[Record]], Built]
) -> tuple[list[Built], list[Record]]:
    import pyarrow as pa

    try:
        return [build(description, records)], []
    except (ArithmeticError, LookupError, TypeError, ValueError, struct.error, pa.ArrowException, MillraceError):
        if len(records) == 1:
            return [], records
    # Halves: the few that are unfit are found in a few steps.
    middle = len(records) // 2
    first, second = (_fitting(description, part, build) for part in (records[:middle], records[middle:]))
    return first[0] + second[0], first[1] + second[1]


def _definition(description: str, endpoint: str) -> TableDefinition:
    return TableDefinition(description=description, role=ROLE, properties={ENDPOINT: endpoint})


def _merged(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """All columns; the first type of each counts."""
    import pyarrow as pa

    fields: dict[str, pa.Field] = {}
    for schema in schemas:
        for field in schema:
            fields.setdefault(field.name, field)
    return pa.schema(fields.values())


def _stored_types(stored: pa.Schema, wanted: pa.Schema) -> pa.Schema:
    """The wanted columns, those that are stored already in the stored type."""
    import pyarrow as pa

    known = set(stored.names)
    return pa.schema([stored.field(field.name) if field.name in known else field for field in wanted])
