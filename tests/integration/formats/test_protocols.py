"""Paths, headers and parameters around the same core: MLflow's own path, Open Inference Protocol, gzip, limits."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from millrace.serving.models.turns import Limits

pytestmark = pytest.mark.slow

ROW = {"a": 1.5, "b": 2.0, "n": 3, "region": "north"}
URL = "/serving-endpoints/pipeline/invocations"
STREAM, PARQUET = b"application/vnd.apache.arrow.stream", b"application/vnd.apache.parquet"
TENSORS = [
    {"name": name, "shape": [1], "datatype": "BYTES" if name == "region" else "FP64", "data": [value]}
    for name, value in ROW.items()
]


def body(rows: int = 1, **more: Any) -> bytes:
    return json.dumps({"dataframe_records": [ROW] * rows, **more}).encode()


def stream(rows: int) -> bytes:
    sink, table = io.BytesIO(), pa.Table.from_pylist([ROW] * rows)
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def test_what_is_told_of_the_server_and_its_models(server: Any) -> None:
    told = server.ask("/v2", method="GET").json
    assert (told["name"], told["extensions"]) == ("millrace", [])
    assert server.ask("/v2/models/pipeline", method="GET").json == {
        "name": "pipeline",
        "versions": ["3"],
        "platform": "sklearn",
        "inputs": [
            {"name": "a", "datatype": "FP64", "shape": [-1]},
            {"name": "b", "datatype": "FP64", "shape": [-1]},
            {"name": "n", "datatype": "INT64", "shape": [-1]},
            {"name": "region", "datatype": "BYTES", "shape": [-1]},
        ],
        "outputs": [{"name": "predict", "datatype": "INT64", "shape": [-1]}],
    }
    assert server.ask("/v2/models/pipeline/versions/3", method="GET").json["versions"] == ["3"]
    assert server.ask("/v2/models/pipeline/ready", method="GET").json == {"name": "pipeline", "ready": True}
    index = server.ask("/v2/repository/index").json
    assert {"name": "own", "state": "READY", "reason": ""} in index


def test_health_needs_no_token_and_the_rest_does(server: Any) -> None:
    for path, said in (("live", {"live": True}), ("ready", {"ready": True})):
        reply = server.ask(f"/v2/health/{path}", method="GET", anonymous=True)
        assert (reply.status, reply.json) == (200, said)
    assert server.ask("/ping", method="GET", anonymous=True).status == 200
    for path, method in (
        ("/v2", "GET"),
        ("/v2/models/pipeline", "GET"),
        ("/v2/models/pipeline/infer", "POST"),
        ("/v2/repository/index", "POST"),
    ):
        reply = server.ask(path, method=method, anonymous=True)
        assert (reply.status, list(reply.json)) == (401, ["error"])


def test_a_version_is_asked_by_its_number(server: Any) -> None:
    asked = json.dumps({"id": "r-1", "inputs": TENSORS}).encode()
    reply = server.ask("/v2/models/pipeline/versions/3/infer", asked)
    assert {name: reply.json[name] for name in ("model_name", "model_version", "id")} == {
        "model_name": "pipeline",
        "model_version": "3",
        "id": "r-1",
    }
    missing = server.ask("/v2/models/pipeline/versions/4/infer", asked)
    assert (missing.status, missing.json) == (404, {"error": "endpoint 'pipeline' has no version '4'"})
    assert server.ask("/v2/models/nowhere/infer", asked).status == 404
    assert server.ask("/v2/models/pipeline/versions/4", method="GET").status == 404
    wrong = server.ask("/v2/models/pipeline/infer", method="GET")
    assert (wrong.status, wrong.headers[b"allow"]) == (405, b"POST")
    assert server.ask("/v2/models/pipeline/infer", asked, content_type=PARQUET).status == 415


def test_probabilities_in_each_dialect(server: Any) -> None:
    wanted = server.ask(URL, body(params={"predict_proba": True})).json["probabilities"]
    assert 0 < wanted[0] < 1
    csv = b"region,a,b,n\nnorth,1.5,2,3\n"
    for content, kind in ((csv, b"text/csv"), (stream(1), STREAM), (body(), b"application/json")):
        assert server.ask(f"{URL}?predict_proba=true", content, content_type=kind).json["probabilities"] == wanted
        assert "probabilities" not in server.ask(URL, content, content_type=kind).json
    for more in ({"outputs": [{"name": "predict_proba"}]}, {"parameters": {"predict_proba": True}}):
        outputs = server.ask("/v2/models/pipeline/infer", json.dumps({"inputs": TENSORS, **more}).encode()).json[
            "outputs"
        ]
        assert {each["name"]: each["data"] for each in outputs}["predict_proba"] == wanted
    none = server.ask(
        "/v2/models/own/infer", json.dumps({"inputs": TENSORS, "outputs": [{"name": "predict_proba"}]}).encode()
    )
    assert (none.status, "no probabilities" in none.json["error"]) == (400, True)


def test_gzip_both_ways(server: Any) -> None:
    plain = server.ask(URL, body(1000))
    both = [(b"content-encoding", b"gzip"), (b"accept-encoding", b"gzip, deflate")]
    reply = server.ask(URL, gzip.compress(body(1000)), headers=both)
    assert (reply.status, reply.headers[b"content-encoding"], reply.headers[b"vary"]) == (
        200,
        b"gzip",
        b"accept-encoding",
    )
    assert gzip.decompress(reply.body) == plain.body
    assert b"content-encoding" not in plain.headers
    small = server.ask(URL, gzip.compress(body()), headers=both)
    assert (small.status, b"content-encoding" in small.headers) == (200, False)
    unknown = server.ask(URL, body(), headers=[(b"content-encoding", b"br")])
    assert (unknown.status, unknown.headers[b"accept-encoding"]) == (415, b"gzip")
    assert server.ask(URL, body(), headers=[(b"content-encoding", b"gzip")]).status == 400


def test_what_is_too_large_once_it_is_unpacked(models: Any, server: Any, tmp_path: Path) -> None:
    small = type(server)(server.online, Limits(body_bytes=20_000))
    small.serve("pipeline", models["pipeline"].folder)
    packed = gzip.compress(body(1000))
    zeros, sink = pa.table({name: [0.0] * 50_000 for name in ROW}), io.BytesIO()
    pq.write_table(zeros, sink, compression="zstd")
    for content, kind, headers in (
        (packed, b"application/json", [(b"content-encoding", b"gzip")]),
        (sink.getvalue(), PARQUET, []),
    ):
        assert len(content) < 20_000
        reply = small.ask(URL, content, content_type=kind, headers=headers)
        assert (reply.status, reply.json["error_code"]) == (413, "MAX_REQUEST_SIZE_EXCEEDED")
    told = small.ask("/v2/models/pipeline/infer", body(1000))
    assert (told.status, list(told.json)) == (413, ["error"])
    small.loop.close()
    assert not list(tmp_path.iterdir())


def test_mlflows_own_path_where_there_is_one_endpoint(models: Any, server: Any) -> None:
    several = server.ask("/invocations", body())
    assert (several.status, "6 endpoints are served here; ask one" in several.json["message"]) == (404, True)
    alone = type(server)(server.online)
    assert alone.ask("/ping", method="GET").status == 404
    alone.serve("pipeline", models["pipeline"].folder)
    assert alone.ask("/invocations", body()).json == server.ask(URL, body()).json
    assert alone.ask("/ping", method="GET").status == 200
    alone.loop.close()
