"""Bodies that are right, in all dialects."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ROWS: dict[str, list[Any]] = {"a": [1.5, None], "b": [2.0, 3.0], "n": [3, -4], "region": ["north", None]}
# `a` and `region` are looked up by `shop`; of the second there is nothing.
KEYED: dict[str, list[Any]] = {"shop": [5, 6], "b": [2.0, 3.0], "n": [3, -4]}
ROWS_OF = {"pipeline": ROWS, "own": ROWS, "looked-up": KEYED}
DATATYPES = {"a": "FP64", "b": "FP32", "n": "INT64", "region": "BYTES", "shop": "INT64"}
STREAM, FILE = b"application/vnd.apache.arrow.stream", b"application/vnd.apache.arrow.file"
PARQUET, CSV, JSON = b"application/vnd.apache.parquet", b"text/csv", b"application/json"


def arrow(make: Callable[..., Any], columns: dict[str, list[Any]], **options: Any) -> bytes:
    sink, table = io.BytesIO(), pa.table(columns)
    with make(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return sink.getvalue()


def parquet(columns: dict[str, list[Any]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def csv(columns: dict[str, list[Any]]) -> bytes:
    lines = [
        ",".join("" if value is None else str(value) for value in row) for row in zip(*columns.values(), strict=True)
    ]
    return "\n".join([",".join(columns), *lines]).encode()


def _tensors(columns: dict[str, list[Any]]) -> dict[str, Any]:
    return {
        "inputs": [
            {"name": name, "shape": [len(values)], "datatype": DATATYPES.get(name, "BYTES"), "data": values}
            for name, values in columns.items()
        ]
    }


def _records(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def documents(columns: dict[str, list[Any]]) -> list[tuple[str, dict[str, Any]]]:
    """The JSON bodies: what follows the model's name in the path (or is instead of it), and the content."""
    rows = _records(columns)
    found: list[tuple[str, dict[str, Any]]] = [
        ("", {"dataframe_records": rows}),
        ("", {"dataframe_split": {"columns": list(columns), "data": [list(row.values()) for row in rows]}}),
        ("", {"instances": rows, "params": {"predict_proba": False}, "client_request_id": "r-1"}),
        ("", {"inputs": dict(columns)}),
        ("/infer", {**_tensors(columns), "id": "r-1", "parameters": {}, "outputs": [{"name": "predict"}]}),
    ]
    # Without names: for who looks nothing up.
    return found if columns is KEYED else [*found, ("", {"instances": [list(row.values()) for row in rows]})]


def valid(columns: dict[str, list[Any]]) -> list[tuple[str, bytes, bytes]]:
    """Bodies that are right, in all dialects: protocol, content type, body."""
    return [
        *((v2, JSON, json.dumps(content).encode()) for v2, content in documents(columns)),
        ("", CSV, csv(columns)),
        ("", PARQUET, parquet(columns)),
        ("", STREAM, arrow(pa.ipc.new_stream, columns)),
        ("", STREAM, arrow(pa.ipc.new_stream, {**columns, "n": [1, 2]}, compression="zstd")),
        ("", FILE, arrow(pa.ipc.new_file, columns)),
        ("", FILE, arrow(pa.ipc.new_file, columns, compression="lz4")),
    ]
