"""Asks MLServer by gRPC, for the serving benchmark; run by the Python of its own environment, in place of wrk.

    serving_grpc.py SETTINGS answer BODY
    serving_grpc.py SETTINGS load FOLDER COUNT CONNECTIONS SECONDS

SETTINGS is the server's settings.json, which has its port. A body is a file of float64, row by row: it is sent as the protocol's
raw contents. `answer` prints the labels of one body, `load` asks with the bodies 0, 1, 2, ... of a folder and prints what wrk's script prints.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import grpc
from mlserver.grpc.dataplane_pb2 import ModelInferRequest, ModelInferResponse

_METHOD, _WIDTH, _FLOAT = "/inference.GRPCInferenceService/ModelInfer", 20, 8
_FORMATS = {"INT64": "<q", "INT32": "<i", "FP32": "<f", "FP64": "<d"}
# Else all channels of a process share one connection.
_OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]


def request(body: Path) -> bytes:
    """What is sent."""
    raw = body.read_bytes()
    shape = [len(raw) // _FLOAT // _WIDTH, _WIDTH]
    tensor = ModelInferRequest.InferInputTensor(name="x", datatype="FP64", shape=shape)
    return bytes(ModelInferRequest(model_name="model", inputs=[tensor], raw_input_contents=[raw]).SerializeToString())


def answer(address: str, body: Path) -> Sequence[float]:
    """The labels of one body."""
    with grpc.insecure_channel(address) as channel:
        said = ModelInferResponse.FromString(channel.unary_unary(_METHOD)(request(body)))
    if said.raw_output_contents:  # as the request came
        return [
            value for (value,) in struct.iter_unpack(_FORMATS[said.outputs[0].datatype], said.raw_output_contents[0])
        ]
    return [value for _, values in said.outputs[0].contents.ListFields() for value in values]


async def load(address: str, requests: Sequence[bytes], connections: int, seconds: float) -> dict[str, float]:
    """Each connection asks again as soon as it is answered."""
    turn, took_s = itertools.cycle(requests), list[float]()
    begun = time.perf_counter()
    failed = await asyncio.gather(*(_connection(address, turn, took_s, begun + seconds) for _ in range(connections)))
    spent_s, took_s = time.perf_counter() - begun, sorted(took_s)
    at = [took_s[int(len(took_s) * share)] * 1000 if took_s else 0.0 for share in (0.5, 0.99)]
    return {"requests": len(took_s), "seconds": spent_s, "p50_ms": at[0], "p99_ms": at[1], "errors": sum(failed)}


async def _connection(address: str, turn: Iterator[bytes], took_s: list[float], until: float) -> int:
    failed = 0
    async with grpc.aio.insecure_channel(address, options=_OWN_CONNECTION) as channel:
        ask = channel.unary_unary(_METHOD)
        while (asked := time.perf_counter()) < until:
            try:
                await ask(next(turn))
            except grpc.RpcError:
                failed += 1
            else:
                took_s.append(time.perf_counter() - asked)
    return failed


def main(settings: str, what: str, place: str, *numbers: str) -> None:
    """See the module."""
    address = f"127.0.0.1:{json.loads(Path(settings).read_text())['grpc_port']}"
    if what == "answer":
        told: object = answer(address, Path(place))
    else:
        count, connections, seconds = map(int, numbers)
        requests = [request(Path(place) / str(number)) for number in range(count)]
        told = asyncio.run(load(address, requests, connections, seconds))
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
