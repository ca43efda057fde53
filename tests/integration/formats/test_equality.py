"""Ten thousand requests over all formats and predict paths answer what MLflow's pyfunc answers.

Where MLflow's scoring server itself differs, by what it was seen to do:
- CSV: it reads `NA` or `None` in a text column as missing; here only an empty cell is. The rows below have such texts, and
  expected is what pyfunc says of the texts themselves.
- `instances` with rows as lists, Arrow bodies, gzip and tensors it does not take at all; expected is what pyfunc says of the same rows.
- A missing value in a column of whole numbers is refused by both, so the rows have none.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd  # noqa: TID253 - a test
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.long]

REQUESTS = {"boosted": 8000, "trees": 100, "pipeline": 1000, "own": 900}
_DATATYPES = {
    "float64": "FP64",
    "float32": "FP32",
    "int64": "INT64",
    "int32": "INT32",
    "bool": "BOOL",
    "object": "BYTES",
}
Request = tuple[str, bytes, dict[str, Any]]


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """As a JSON client has them: Python's own values, None for what is missing."""
    return [
        {str(name): None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
        for row in frame.to_dict("records")
    ]


def records(frame: pd.DataFrame) -> bytes:
    return json.dumps({"dataframe_records": rows_of(frame)}).encode()


def split(frame: pd.DataFrame) -> bytes:
    turned = frame[frame.columns[::-1]]
    content = {"columns": list(turned.columns), "data": [list(row.values()) for row in rows_of(turned)]}
    return json.dumps({"dataframe_split": content}).encode()


def instances(frame: pd.DataFrame) -> bytes:
    return json.dumps({"instances": rows_of(frame)}).encode()


def lists(frame: pd.DataFrame) -> bytes:
    return json.dumps({"instances": [list(row.values()) for row in rows_of(frame)]}).encode()


def inputs(frame: pd.DataFrame) -> bytes:
    rows = rows_of(frame)
    return json.dumps({"inputs": {name: [row[name] for row in rows] for name in rows[0]}}).encode()


def as_csv(frame: pd.DataFrame) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, frame.columns)
    writer.writeheader()
    writer.writerows(rows_of(frame))
    return text.getvalue().encode()


def table_of(frame: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(frame, preserve_index=False)


def parquet(frame: pd.DataFrame) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table_of(frame), sink)
    return sink.getvalue()


def stream(frame: pd.DataFrame) -> bytes:
    sink, table = io.BytesIO(), table_of(frame)
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def arrow_file(frame: pd.DataFrame) -> bytes:
    sink, table = io.BytesIO(), table_of(frame)
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
        writer.write_table(table)
    return sink.getvalue()


def tensors(frame: pd.DataFrame) -> bytes:
    rows = rows_of(frame)
    columns = [
        {
            "name": name,
            "shape": [len(rows)],
            "datatype": _DATATYPES[str(frame[name].dtype)],
            "data": [row[name] for row in rows],
        }
        for name in rows[0]
    ]
    return json.dumps({"inputs": columns}).encode()


def one_tensor(frame: pd.DataFrame) -> bytes:
    flat = [None if value is None else float(value) for row in rows_of(frame) for value in row.values()]
    return json.dumps(
        {"inputs": [{"name": "x", "shape": list(frame.shape), "datatype": "FP64", "data": flat}]}
    ).encode()


FORMATS: dict[str, tuple[Callable[[pd.DataFrame], bytes], str]] = {
    "dataframe_records": (records, "application/json"),
    "dataframe_split": (split, "application/json"),
    "instances": (instances, "application/json; charset=utf-8"),
    "lists": (lists, "application/json"),
    "inputs": (inputs, "application/json"),
    "csv": (as_csv, "text/csv"),
    "parquet": (parquet, "application/vnd.apache.parquet"),
    "arrow stream": (stream, "application/vnd.apache.arrow.stream"),
    "arrow file": (arrow_file, "application/vnd.apache.arrow.file"),
    "tensors": (tensors, ""),
    "one tensor": (one_tensor, ""),
}


def request(model: str, name: str, frame: pd.DataFrame, *, packed: bool) -> Request:
    write, content_type = FORMATS[name]
    body = write(frame)
    more: dict[str, Any] = {"content_type": content_type.encode()} if content_type else {}
    if packed:
        body, more["headers"] = gzip.compress(body, 1), [(b"content-encoding", b"gzip"), (b"accept-encoding", b"gzip")]
    path = f"/serving-endpoints/{model}/invocations" if content_type else f"/v2/models/{model}/infer"
    return path, body, more


def said(reply: Any) -> list[Any]:
    """The predictions of an answer, a row each, whatever the protocol."""
    assert reply.status == 200, reply.body
    content = reply.json
    if "predictions" in content:
        return list(content["predictions"])
    outputs = {output["name"]: output["data"] for output in content["outputs"]}
    if list(outputs) == ["predict"]:
        return list(outputs["predict"])
    return [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]


def check(server: Any, name: str, saved: Any, count: int) -> None:
    random = np.random.default_rng(count)
    sizes = random.choice([1, 1, 1, 2, 3], size=count)
    rows = saved.inputs(random, int(sizes.sum()))
    ends = np.cumsum(sizes)
    offered = [each for each in FORMATS if each != "one tensor" or "region" not in rows]
    requests = [
        request(name, offered[number % len(offered)], rows.iloc[end - size : end], packed=number % 7 == 0)
        for number, (end, size) in enumerate(zip(ends, sizes, strict=True))
    ]
    answers = [answer for reply in server.ask_all(requests) for answer in said(reply)]
    assert answers == saved.expected(rows)


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")  # MLflow's own, of each version another
@pytest.mark.parametrize("name", REQUESTS)
def test_answers_are_those_of_pyfunc(server: Any, models: Any, name: str) -> None:
    assert sum(REQUESTS.values()) == 10_000
    check(server, name, models[name], REQUESTS[name])


@pytest.mark.openmp
@pytest.mark.filterwarnings("ignore")  # MLflow's own, of each version another
def test_answers_of_lightgbm_are_those_of_pyfunc(server: Any, models: Any, tmp_path: Any) -> None:
    import mlflow
    from lightgbm import LGBMClassifier

    saved = models["boosted"]
    frame = saved.inputs(np.random.default_rng(5), 500)
    model = LGBMClassifier(n_estimators=20, verbose=-1, n_jobs=1).fit(frame, frame["b"].fillna(0) > 0)
    signature = mlflow.models.infer_signature(frame, model.predict(frame))
    mlflow.lightgbm.save_model(model, tmp_path / "lightgbm", signature=signature, pip_requirements=["lightgbm"])
    server.serve("lightgbm", tmp_path / "lightgbm")
    check(server, "lightgbm", type(saved)(tmp_path / "lightgbm", saved.inputs), 1000)
    server.app.remove("lightgbm")
