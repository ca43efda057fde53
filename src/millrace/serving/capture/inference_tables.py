"""The tables that an endpoint's traffic ends in: one row a request, and one row a prediction.

A record always finds its place: where a value does not fit its column's type it becomes null there, and the request's own
text beside it still has it. A drain that stopped at such a record would hold up all that come after it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from millrace.core.errors import InvalidInput
from millrace.features.defaults import arrow_type
from millrace.features.online.keys import key_reader
from millrace.serving.capture.features_text import features_texts, inputs_of, probabilities, sources_of, sources_text
from millrace.serving.capture.records import Record
from millrace.serving.capture.request_text import texts
from millrace.serving.types import Description

GENERATION, CALLER = "endpoint_generation", "caller"  # in request_metadata
_TIME = pa.timestamp("us", "UTC")

PAYLOAD = pa.schema(
    [
        ("databricks_request_id", pa.string()),
        ("request_date", pa.date32()),
        ("client_request_id", pa.string()),
        ("request_time", _TIME),
        ("status_code", pa.int32()),
        ("sampling_fraction", pa.float64()),
        ("execution_duration_ms", pa.int64()),
        ("request", pa.string()),
        ("response", pa.string()),
        ("logging_error_codes", pa.list_(pa.string())),
        ("served_entity_id", pa.string()),
        ("requester", pa.string()),
        ("request_metadata", pa.map_(pa.string(), pa.string())),
        # Ours. A whole millisecond is long for an answer: what is compared between versions are microseconds.
        ("execution_duration_us", pa.int64()),
        # What the model was given and what it thought, a JSON object a row.
        ("features", pa.string()),
    ]
)
_HEAD = [
    ("request_id", pa.string()),
    ("row", pa.int32()),
    ("timestamp", _TIME),
    ("client_request_id", pa.string()),
    ("endpoint", pa.string()),
    ("model_name", pa.string()),
    ("model_version", pa.string()),
]
_TAIL = [
    ("prediction", pa.float64()),
    ("probability", pa.float64()),
    ("actual_label", pa.float64()),
    ("label_time", _TIME),
    ("features", pa.string()),
]
_OURS = {name for name, _ in (*_HEAD, *_TAIL)}


class _Column(NamedTuple):
    """Values, and which of them stands in each row; None: each in one, in order."""

    values: Sequence[Any] | np.ndarray
    places: np.ndarray | None = None


def payload_table(description: Description, records: Sequence[Record]) -> pa.Table:
    """One row a request, in the columns of `PAYLOAD`."""
    requests, responses, codes = zip(*map(texts, records), strict=True)
    times = pa.array([record.time_us for record in records], _TIME)
    columns: dict[str, Any] = {
        "databricks_request_id": [record.id for record in records],
        "request_date": times.cast(pa.date32()),
        "client_request_id": [record.client_request_id for record in records],
        "request_time": times,
        "status_code": [record.status for record in records],
        "sampling_fraction": pa.repeat(1.0, len(records)),
        "execution_duration_ms": [round(record.duration_us / 1000) for record in records],
        "request": _texts(requests),
        "response": _texts(responses),
        "logging_error_codes": codes,
        "served_entity_id": [description.entity if record.reached else None for record in records],
        "requester": [record.requester for record in records],
        "request_metadata": _metadata(description, records),
        "execution_duration_us": [record.duration_us for record in records],
        "features": features_texts(description, records),
    }
    return pa.Table.from_pydict(columns, PAYLOAD)


def predictions_schema(description: Description, records: Sequence[Record] = ()) -> pa.Schema:
    """The columns of the predictions table that this description needs.

    Keys are in the type of the feature table's key, inputs are doubles and strings as the model takes them. `prediction` and
    `actual_label` are strings where the model's labels are texts, else doubles.
    """
    keys = [(column_name(name), arrow_type(kind)) for name, kind in description.keys]
    taken = {name for name, _ in description.keys}
    inputs = [
        (column_name(name), pa.float64() if kind == "double" else pa.string())
        for name, kind in description.inputs
        if name not in taken
    ]
    schema = pa.schema([*_HEAD, *keys, *inputs, *_TAIL])
    if any(isinstance(label, str) for record in records for label in record.labels):
        for name in ("prediction", "actual_label"):
            schema = schema.set(schema.get_field_index(name), pa.field(name, pa.string()))
    return schema


def predictions_table(schema: pa.Schema, description: Description, records: Sequence[Record]) -> pa.Table:
    """One row a prediction, in the columns of the schema (those that this description has; no others)."""
    columns = _columns(description, [record for record in records if record.rows])
    fields = [schema.field(name) for name in predictions_schema(description).names]
    arrays = [_array(columns[field.name], field.type) for field in fields]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def column_name(name: str) -> str:
    """The column for a key or an input: its own name, or `input_<name>` where that is one of ours (in any case)."""
    return f"input_{name}" if name.lower() in _OURS else name


def _metadata(description: Description, records: Sequence[Record]) -> pa.Array:
    facts: list[tuple[str, str | None]] = [
        ("endpoint_name", description.endpoint),
        (GENERATION, str(description.generation)),
    ]
    if description.kind == "features":
        facts.append(("feature_spec", description.model_name))
    else:
        facts += [("model_name", description.model_name), ("model_version", description.model_version)]
    callers = _distinct(record.caller for record in records)
    values = [facts if caller is None else [*facts, (CALLER, caller)] for caller in callers.values]
    return _array(_Column(values, callers.places), PAYLOAD.field("request_metadata").type)


def _columns(description: Description, records: Sequence[Record]) -> dict[str, _Column]:
    """The columns of the predictions table."""
    rows = np.array([record.rows for record in records], np.int64)
    places, everywhere = np.repeat(np.arange(len(records)), rows), np.zeros(rows.sum(), np.int64)
    keys = [row for record in records for row in record.keys]
    sources = _distinct(sources_of(records))
    columns = {
        "request_id": _Column([record.id for record in records], places),
        "row": _Column([number for record in records for number in range(record.rows)]),
        "timestamp": _Column([record.time_us for record in records], places),
        "client_request_id": _Column([record.client_request_id for record in records], places),
        "endpoint": _Column([description.endpoint], everywhere),
        "model_name": _Column([description.model_name], everywhere),
        "model_version": _Column([description.model_version], everywhere),
        "prediction": _Column([label for record in records for label in record.labels]),
        "probability": _Column(probabilities(records)),
        "actual_label": _Column([None], everywhere),
        "label_time": _Column([None], everywhere),
        "features": _Column([sources_text(each) for each in sources.values], sources.places),
        **_inputs(description, records),
    }
    for place, (name, kind) in enumerate(description.keys):
        columns[column_name(name)] = _Column(_keys(name, kind, [row[place] for row in keys]))
    return columns


def _inputs(description: Description, records: Sequence[Record]) -> dict[str, _Column]:
    """The model's inputs by column: doubles where missing is NaN, texts where it is None."""
    given = inputs_of(description, records)
    numbers, texts = iter(given.numbers.T), iter(given.texts)
    return {
        column_name(name): _Column(next(numbers) if kind == "double" else next(texts))
        for name, kind in description.inputs
    }


def _keys(name: str, kind: str, values: Sequence[object]) -> list[object]:
    read = key_reader(name, kind)

    def known(value: object) -> object:
        try:
            return read(value)
        except InvalidInput:
            return None

    return [known(value) for value in values]


def _texts(values: Sequence[str | bytes | None]) -> pa.Array:
    try:
        return pa.array(values, pa.string())
    except pa.ArrowInvalid:  # bytes that are no UTF-8
        decoded = [each.decode(errors="replace") if isinstance(each, bytes) else each for each in values]
        return pa.array(decoded, pa.string())


def _distinct(values: Iterable[Hashable]) -> _Column:
    """Values of which few are different, each of these once."""
    known: dict[Hashable, int] = {}
    places = [known.setdefault(value, len(known)) for value in values]
    return _Column(list(known), np.array(places, np.int64))


def _array(column: _Column, kind: pa.DataType) -> pa.Array:
    values = _fitting(column.values, kind)
    return values if column.places is None else values.take(pa.array(column.places))


def _fitting(values: Sequence[object] | np.ndarray, kind: pa.DataType) -> pa.Array:
    if isinstance(values, np.ndarray):
        return pa.array(values, from_pandas=True).cast(kind)  # NaN is null
    try:
        return pa.array(values, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, ValueError):
        return pa.array([_fitted(value, kind) for value in values], kind)


def _fitted(value: object, kind: pa.DataType) -> object:
    if isinstance(value, bool) and pa.types.is_floating(kind):
        return float(value)
    if pa.types.is_string(kind) and value is not None and not isinstance(value, bytes):
        return str(value)
    try:
        return pa.scalar(value, kind).as_py()
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, ValueError):
        return None
