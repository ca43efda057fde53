"""The tables that an endpoint's traffic ends in: one row a request, and one row a prediction.

A record always finds its place: where a value does not fit its column's type it becomes null there, and the request's own
text beside it still has it. A drain that stopped at such a record would hold up all that come after it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from millrace.core.clock import from_epoch_us, iso
from millrace.core.errors import InvalidInput
from millrace.features.defaults import arrow_type
from millrace.features.online.keys import key_reader
from millrace.serving.capture.records import Record
from millrace.serving.capture.request_text import texts
from millrace.serving.inputs import split_inputs
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


def payload_table(description: Description, records: Sequence[Record]) -> pa.Table:
    """One row a request, in the columns of `PAYLOAD`."""
    written = [texts(record) for record in records]
    times = pa.array([record.time_us for record in records], _TIME)
    columns: dict[str, Any] = {
        "databricks_request_id": [record.id for record in records],
        "request_date": times.cast(pa.date32()),
        "client_request_id": [record.client_request_id for record in records],
        "request_time": times,
        "status_code": [record.status for record in records],
        "sampling_fraction": [1.0] * len(records),
        "execution_duration_ms": [round(record.duration_us / 1000) for record in records],
        "request": [request for request, _, _ in written],
        "response": [response for _, response, _ in written],
        "logging_error_codes": [codes for _, _, codes in written],
        "served_entity_id": [description.entity if record.reached else None for record in records],
        "requester": [record.requester for record in records],
        "request_metadata": _metadata(description, records),
        "execution_duration_us": [record.duration_us for record in records],
        "features": [_features_text(description, record) for record in records],
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
    if any(isinstance(label, str) for record in records for label in _labels(record)):
        for name in ("prediction", "actual_label"):
            schema = schema.set(schema.get_field_index(name), pa.field(name, pa.string()))
    return schema


def predictions_table(schema: pa.Schema, description: Description, records: Sequence[Record]) -> pa.Table:
    """One row a prediction, in the columns of the schema (those that this description has; no others)."""
    columns = _columns(description, [record for record in records if record.rows])
    fields = [schema.field(name) for name in predictions_schema(description).names]
    arrays = [_fitting(columns[field.name], field.type) for field in fields]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def column_name(name: str) -> str:
    """The column for a key or an input: its own name, or `input_<name>` where that is one of ours (in any case)."""
    return f"input_{name}" if name.lower() in _OURS else name


def _metadata(description: Description, records: Sequence[Record]) -> list[list[tuple[str, str | None]]]:
    facts: list[tuple[str, str | None]] = [
        ("endpoint_name", description.endpoint),
        (GENERATION, str(description.generation)),
    ]
    if description.kind == "features":
        facts.append(("feature_spec", description.model_name))
    else:
        facts += [("model_name", description.model_name), ("model_version", description.model_version)]
    return [facts if record.caller is None else [*facts, (CALLER, record.caller)] for record in records]


def _features_text(description: Description, record: Record) -> str:
    """JSON: for each row of the request the inputs by name, the probability, and where the looked-up ones came from.

    Where features were served, only the last: the response has the features.
    """
    captured = record.captured
    sources = [_sources(row) for row in captured.sources]
    if captured.inputs is None:
        return orjson.dumps([{"sources": row} for row in sources]).decode()
    names = [name for name, _ in description.inputs]
    rows = zip(split_inputs(captured.inputs, description.inputs), _probabilities(record), sources, strict=True)
    return orjson.dumps(
        [
            {"inputs": dict(zip(names, inputs, strict=True)), "probability": probability, "sources": looked_up}
            for inputs, probability, looked_up in rows
        ]
    ).decode()


def _columns(description: Description, records: Sequence[Record]) -> dict[str, Sequence[object] | np.ndarray]:
    """The values of the predictions table, by column."""

    def each(value: Callable[[Record], object]) -> list[Any]:
        return [one for record in records for one in [value(record)] * record.rows]

    def rows(values: Callable[[Record], Iterable[object]]) -> list[Any]:
        return [one for record in records for one in values(record)]

    keys = rows(lambda record: record.captured.keys)
    columns: dict[str, Sequence[object] | np.ndarray] = {
        "request_id": each(lambda record: record.id),
        "row": rows(lambda record: range(record.rows)),
        "timestamp": each(lambda record: record.time_us),
        "client_request_id": each(lambda record: record.client_request_id),
        "endpoint": each(lambda _: description.endpoint),
        "model_name": each(lambda _: description.model_name),
        "model_version": each(lambda _: description.model_version),
        "prediction": rows(_labels),
        "probability": rows(_probabilities),
        "actual_label": each(lambda _: None),
        "label_time": each(lambda _: None),
        "features": [_sources_text(tuple(map(tuple, row))) for row in rows(lambda record: record.captured.sources)],
        **_inputs(description, records),
    }
    for place, (name, kind) in enumerate(description.keys):
        columns[column_name(name)] = _keys(name, kind, [row[place] for row in keys])
    return columns


def _inputs(description: Description, records: Sequence[Record]) -> dict[str, Sequence[object] | np.ndarray]:
    """The model's inputs by column: doubles where missing is NaN, texts where it is None."""
    given = [record.captured.inputs for record in records if record.captured.inputs is not None]
    if not given:
        return {column_name(name): [] for name, _ in description.inputs}
    numbers, texts = iter(np.concatenate([inputs.numbers for inputs in given]).T), itertools.count()
    columns: dict[str, Sequence[object] | np.ndarray] = {}
    for name, kind in description.inputs:
        if kind == "double":
            columns[column_name(name)] = next(numbers)
        else:
            place = next(texts)
            columns[column_name(name)] = [value for inputs in given for value in inputs.texts[place]]
    return columns


def _labels(record: Record) -> Sequence[object]:
    prediction = record.captured.prediction
    return () if prediction is None else prediction.labels


def _probabilities(record: Record) -> Sequence[object]:
    """One number a row: of the second of two classes; where there are more, of the one that was predicted, the likeliest."""
    prediction = record.captured.prediction
    given = None if prediction is None else prediction.probabilities
    if given is None:
        return [None] * record.rows
    return [max(each) if isinstance(each, list) else each for each in given]  # lists come of JSON


def _keys(name: str, kind: str, values: Sequence[object]) -> list[object]:
    read = key_reader(name, kind)

    def known(value: object) -> object:
        try:
            return read(value)
        except InvalidInput:
            return None

    return [known(value) for value in values]


@lru_cache(maxsize=4096)
def _sources_text(sources: tuple[tuple[Any, ...], ...]) -> str:
    """JSON: which row of which version each looked-up feature came from. The same few stand in many rows."""
    return orjson.dumps(_sources(sources)).decode()


def _sources(sources: Sequence[Sequence[Any]]) -> list[dict[str, object]]:
    return [
        {"table": table, "event_time": None if at is None else _time(at), "version": version}
        for table, at, version in sources
    ]


@lru_cache(maxsize=4096)
def _time(at_us: int) -> str:
    """The same few event times stand in many rows."""
    return iso(from_epoch_us(at_us))


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
