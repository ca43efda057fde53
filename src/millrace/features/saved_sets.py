"""A training set as a table of its own: its rows in order, and its record in the table's properties."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import fields

import numpy as np
import pyarrow as pa

from millrace.core.clock import iso, parse_time
from millrace.core.errors import InvalidInput, LawBroken
from millrace.core.names import TableName
from millrace.features.fingerprint import fingerprint
from millrace.features.spec import from_json
from millrace.features.training_set import TrainingSet
from millrace.features.types import TrainingRecord
from millrace.lake.lake import Lake
from millrace.lake.types import TableDefinition, TableVersion, Version

ORDINAL = "row_number"
_ROLE = "training_set"
_RECORD = "training_record"
_SCHEMA = "arrow_schema"


def save_training_set(
    lake: Lake, built: TrainingSet, name: str | TableName, *, description: str = "", owner: str | None = None
) -> TableVersion:
    """Make a table of a training set, in one commit. Excluded columns are in it, too: they tell rows apart.

    Columns are stored as the lake stores them (times in UTC, for example); `load_training_set` gives the types back that
    the set had. A column `row_number`, from 0, keeps the order.

    Raises:
        AlreadyExists: there is a table of that name.
        InvalidInput: a column that a table can't hold, or one that is called `row_number`.
    """
    rows = _stored(built.table)
    definition = TableDefinition(
        description=description,
        role=_ROLE,
        properties={
            _RECORD: record_document(built.record),
            _SCHEMA: base64.b64encode(built.table.schema.serialize().to_pybytes()).decode(),
        },
    )
    entry = lake.create(name, rows.schema, definition, rows=rows, owner=owner)
    return TableVersion(entry.name, Version(0))


def load_training_set(lake: Lake, name: str | TableName) -> TrainingSet:
    """The training set that `save_training_set` stored: the same rows, order, types, record.

    Raises:
        NotFound: no such table.
        InvalidInput: the table is no saved training set.
        LawBroken: its rows are not those that were saved.
    """
    entry = lake.entry(name)
    known = entry.definition.properties
    if entry.definition.role != _ROLE or _RECORD not in known:
        raise InvalidInput(
            f"table {entry.name} is no saved training set", hint="save one: training_set.save(NAME)", table=str(name)
        )
    record = read_record(known[_RECORD])
    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(str(known[_SCHEMA]))))
    rows = _restored(lake.read(entry.name, version=0).sort_by(ORDINAL), schema)
    if fingerprint(rows) != record.fingerprint:
        raise LawBroken(
            f"the rows of {entry.name} are not those that were saved",
            hint="its files were changed by somebody else: build the training set again from its record",
            table=str(entry.name),
        )
    return TrainingSet(rows, record, from_json(record.spec))


def record_document(record: TrainingRecord) -> Mapping[str, object]:
    """A training record in JSON's own types."""
    body = {field.name: getattr(record, field.name) for field in fields(record)}
    plain = {name: dict(value) for name, value in body.items() if isinstance(value, Mapping)}
    return {
        **body,
        **plain,
        "tables": [[str(table.name), int(table.version)] for table in record.tables],
        "as_of": iso(record.as_of),
        "warnings": list(record.warnings),
    }


def read_record(document: object) -> TrainingRecord:
    """The record that `record_document` wrote.

    Raises:
        InvalidInput: it is none.
    """
    try:
        body = dict(document)  # type: ignore[call-overload]
        body["tables"] = tuple(TableVersion(TableName.parse(name), Version(at)) for name, at in body["tables"])
        body["as_of"] = parse_time(body["as_of"])
        body["warnings"] = tuple(body["warnings"])
        return TrainingRecord(**body)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput("this is not a training record", hint="was it written by a newer millrace?") from error


def _stored(table: pa.Table) -> pa.Table:
    if ORDINAL in (name.lower() for name in table.column_names):
        raise InvalidInput(
            f"the training set has a column '{ORDINAL}', which keeps the order in a table", hint="rename it"
        )
    # A column of nothing but nulls has no type that a table knows; it comes back from the schema.
    typed = table.drop_columns([field.name for field in table.schema if pa.types.is_null(field.type)])
    return typed.append_column(ORDINAL, pa.array(np.arange(len(table)), pa.int64()))


def _restored(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        pa.chunked_array([pa.nulls(len(rows))])
        if pa.types.is_null(field.type)
        else _as_it_was(rows.column(field.name), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _as_it_was(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_dictionary(kind):
        return column.cast(kind.value_type).cast(kind)
    return column.cast(kind)
