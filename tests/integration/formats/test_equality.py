"""Ten thousand requests over all formats and predict paths answer what MLflow's pyfunc answers.

Each path has a model that is known to be on it; most requests have a row or two, some hundreds. Three quarters come one after
the other, the last one over connections to a real server, many in one turn of its loop, so that they share calls.

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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # noqa: TID253 - a test
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace.features.adapters.lmdb_online import LmdbOnlineStore
from millrace.serving.models.processes.environments import Environments
from tests.integration.formats.hot_server import Server
from tests.integration.formats.models_by_path import MANY_ROWS, Stage
from tests.integration.lane_servers import Client, Running
from tests.integration.lane_servers import request as raw_request
from tests.integration.priced_model import write_wheels

pytestmark = [pytest.mark.slow, pytest.mark.long]

# Model, path, requests.
ASKED: list[tuple[str, str, int]] = [
    ("pipeline", "onnx", 2000),
    ("trees", "onnx", 300),
    ("boosted", "onnx+xgboost", 4500),
    ("hinged", "xgboost", 1000),
    ("averaged", "lightgbm", 700),
    ("neighbours", "sklearn", 600),
    ("own", "pyfunc", 600),
    ("elsewhere", "process", 300),
]
AT_ONCE = 25  # connections
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


@pytest.fixture(scope="module")
def stage(models: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    root = tmp_path_factory.mktemp("stage")
    environments, proofs = Environments.of(root / "home"), root / "proofs"
    proofs.mkdir()
    server = Server(LmdbOnlineStore(root / "online"), environments=environments, proofs=proofs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UV_OFFLINE", "1")
        patch.setenv("UV_NO_INDEX", "1")
        patch.setenv("UV_FIND_LINKS", str(write_wheels(root / "wheels")))
        patch.setenv("UV_CACHE_DIR", str(root / "cache"))
        yield Stage(server, models, root, environments, proofs)
    server.end()
    server.online.close()


def said(body: bytes, headers: Mapping[str, str]) -> list[Any]:
    """The predictions of an answer, a row each, whatever the protocol."""
    content = json.loads(gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body)
    if "predictions" in content:
        return list(content["predictions"])
    outputs = {output["name"]: output["data"] for output in content["outputs"]}
    if list(outputs) == ["predict"]:
        return list(outputs["predict"])
    return [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]


def one_by_one(server: Any, requests: Sequence[Request]) -> list[Any]:
    replies = server.ask_all(requests)
    assert {reply.status for reply in replies} == {200}
    plain = [
        (reply.body, {name.decode(): value.decode() for name, value in reply.headers.items()}) for reply in replies
    ]
    return [answer for each in plain for answer in said(*each)]


def together(running: Running, requests: Sequence[Request]) -> list[Any]:
    """Over as many connections as there may be, of each a request in the same turn."""
    answers: list[Any] = []
    with ExitStack() as opened:
        connections = [opened.enter_context(running.connect()) for _ in range(AT_ONCE)]
        clients = [Client(connection) for connection in connections]
        for first in range(0, len(requests), AT_ONCE):
            turn = requests[first : first + AT_ONCE]
            with running.held():
                for connection, asked in zip(connections, turn, strict=False):
                    connection.sendall(sent(*asked))
            for client in clients[: len(turn)]:
                answer = client.answer()
                assert answer.status == 200, answer.body
                answers += said(answer.body, answer.heads)
    return answers


def sent(path: str, body: bytes, more: Mapping[str, Any]) -> bytes:
    heads = [*more.get("headers", []), (b"content-type", more.get("content_type", b"application/json"))]
    return raw_request(body, *(f"{name.decode()}: {value.decode()}" for name, value in heads), path=path)


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")  # MLflow's own, of each version another
@pytest.mark.parametrize(
    ("name", "path", "count"),
    [pytest.param(*each, marks=[pytest.mark.openmp] if "lightgbm" in each else []) for each in ASKED],
)
def test_answers_are_those_of_pyfunc(stage: Stage, tmp_path: Path, name: str, path: str, count: int) -> None:
    saved, asked = stage.serve(name)
    assert stage.server.app.paths()[name][f"{name}-3"].partition(":")[0] == path
    random = np.random.default_rng(count)
    sizes = random.choice([1, 1, 1, 2, 3], size=count)
    sizes[::40] = random.integers(10, 200, size=len(sizes[::40]), endpoint=True)
    rows = saved.inputs(random, int(sizes.sum()))
    offered = [each for each in FORMATS if each != "one tensor" or "region" not in rows]
    requests = [
        request(name, offered[number % len(offered)], rows.iloc[end - size : end], packed=number % 7 == 0)
        for number, (end, size) in enumerate(zip(np.cumsum(sizes), sizes, strict=True))
    ]
    alone = count * 3 // 4
    answers = one_by_one(stage.server, requests[:alone])
    assert asked.sizes == sizes[:alone].tolist()
    running = Running(tmp_path, hot=stage.server.app)
    try:
        answers += together(running, requests[alone:])
    finally:
        running.stop()
    assert answers == saved.expected(rows)
    assert len(set(map(str, answers))) > 1
    # Each row was asked for once, on this path, and those that came together in fewer calls than there were requests.
    assert sum(asked.sizes) == sizes.sum()
    assert alone < len(asked.sizes) < count
    assert min(asked.sizes) < MANY_ROWS <= max(asked.sizes)


def test_there_are_ten_thousand() -> None:
    assert sum(count for _, _, count in ASKED) == 10_000
    assert {path for _, path, _ in ASKED} == {
        "onnx",
        "onnx+xgboost",
        "xgboost",
        "lightgbm",
        "sklearn",
        "pyfunc",
        "process",
    }
