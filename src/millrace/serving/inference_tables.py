"""The tables that an endpoint's traffic ends in: one row a request, and one row a prediction.

A record always finds its place: where a value does not fit its column's type it becomes null there, and the request's own
text beside it still has it. A drain that stopped at such a record would hold up all that come after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import pyarrow as pa

from millrace.core.clock import from_epoch_us, iso
from millrace.core.errors import InvalidInput
from millrace.features.defaults import arrow_type
from millrace.features.online.keys import key_reader
from millrace.serving.types import Description

Record = Mapping[str, Any]
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
        # Ours: what the model was given and what it thought, a JSON object a row.
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
    rows = [_payload_row(description, record) for record in records]
    return pa.Table.from_pylist(rows, schema=PAYLOAD)


def predictions_schema(description: Description, records: Sequence[Record] = ()) -> pa.Schema:
    """The columns of the predictions table that this description needs.

    Keys are in the type of the feature table's key, inputs are doubles and strings as the model takes them. `prediction` is
    a string where the model's labels are texts, else a double.
    """
    keys = [(column_name(name), arrow_type(kind)) for name, kind in description.keys]
    taken = {name for name, _ in description.keys}
    inputs = [
        (column_name(name), pa.float64() if kind == "double" else pa.string())
        for name, kind in description.inputs
        if name not in taken
    ]
    schema = pa.schema([*_HEAD, *keys, *inputs, *_TAIL])
    if any(isinstance(row[2], str) for record in records for row in record["rows"]):
        place = schema.get_field_index("prediction")
        schema = schema.set(place, pa.field("prediction", pa.string()))
    return schema


def predictions_table(description: Description, records: Sequence[Record], schema: pa.Schema) -> pa.Table:
    """One row a prediction, in the columns of the schema (those that this description has; no others)."""
    columns: dict[str, list[object]] = {name: [] for name in predictions_schema(description).names}
    for record in records:
        for number, row in enumerate(record["rows"]):
            for name, value in _prediction_row(description, record, number, row).items():
                columns[name].append(value)
    fields = [schema.field(name) for name in columns]
    arrays = [_fitting(values, field.type) for values, field in zip(columns.values(), fields, strict=True)]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def column_name(name: str) -> str:
    """The column for a key or an input: its own name, or `input_<name>` where that is one of ours (in any case)."""
    return f"input_{name}" if name.lower() in _OURS else name


def _payload_row(description: Description, record: Record) -> dict[str, object]:
    at = from_epoch_us(record["time_us"])
    return {
        "databricks_request_id": record["id"],
        "request_date": at.date(),
        "client_request_id": record["client_request_id"],
        "request_time": at,
        "status_code": record["status"],
        "sampling_fraction": 1.0,
        "execution_duration_ms": round(record["duration_ms"]),
        "request": record["request"],
        "response": record["response"],
        "logging_error_codes": [] if record["request"] is not None else ["MAX_REQUEST_SIZE_EXCEEDED"],
        "served_entity_id": description.entity if record["reached"] else None,
        "requester": record["requester"],
        "request_metadata": _metadata(description),
        "features": _features_text(description, record["rows"]),
    }


def _metadata(description: Description) -> list[tuple[str, str | None]]:
    endpoint = ("endpoint_name", description.endpoint)
    if description.kind == "features":
        return [endpoint, ("feature_spec", description.model_name)]
    return [endpoint, ("model_name", description.model_name), ("model_version", description.model_version)]


def _features_text(description: Description, rows: Sequence[Sequence[Any]]) -> str:
    """JSON: for each row of the request the inputs by name, the probability, and where the looked-up ones came from.

    Where features were served, only the last: the response has the features.
    """
    if description.kind == "features":
        return orjson.dumps([{"sources": _sources(sources)} for *_, sources in rows]).decode()
    names = [name for name, _ in description.inputs]
    return orjson.dumps(
        [
            {
                "inputs": dict(zip(names, inputs, strict=True)),
                "probability": probability,
                "sources": _sources(sources),
            }
            for _, inputs, _, probability, sources in rows
        ]
    ).decode()


def _prediction_row(description: Description, record: Record, number: int, row: Sequence[Any]) -> dict[str, object]:
    keys, inputs, label, probability, sources = row
    return {
        "request_id": record["id"],
        "row": number,
        "timestamp": from_epoch_us(record["time_us"]),
        "client_request_id": record["client_request_id"],
        "endpoint": description.endpoint,
        "model_name": description.model_name,
        "model_version": description.model_version,
        **{column_name(name): value for (name, _), value in zip(description.inputs, inputs, strict=True)},
        **{
            column_name(name): _key(name, kind, value)
            for (name, kind), value in zip(description.keys, keys, strict=True)
        },
        "prediction": label,
        "probability": probability,
        "actual_label": None,
        "label_time": None,
        "features": _sources_text(sources),
    }


def _key(name: str, kind: str, value: object) -> object:
    try:
        return key_reader(name, kind)(value)
    except InvalidInput:
        return None


def _sources_text(sources: Sequence[Sequence[Any]]) -> str:
    """JSON: which row of which version each looked-up feature came from."""
    return orjson.dumps(_sources(sources)).decode()


def _sources(sources: Sequence[Sequence[Any]]) -> list[dict[str, object]]:
    return [
        {"table": table, "event_time": None if at is None else iso(from_epoch_us(at)), "version": version}
        for table, at, version in sources
    ]


def _fitting(values: list[object], kind: pa.DataType) -> pa.Array:
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
