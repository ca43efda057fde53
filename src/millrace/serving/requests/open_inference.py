"""What is told of the server and its models in Open Inference Protocol v2."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import version

from millrace.serving.bodies.rows import ValueKind
from millrace.serving.port import Served
from millrace.serving.requests.generations import ServedEndpoint

_DATATYPES: Mapping[ValueKind, str] = {"number": "FP64", "whole": "INT64", "boolean": "BOOL", "text": "BYTES"}


def server_metadata() -> Mapping[str, object]:
    """Of the server. It has no extensions that change what a request means."""
    return {"name": "millrace", "version": version("millrace"), "extensions": []}


def model_metadata(endpoint: ServedEndpoint, served: Served) -> Mapping[str, object]:
    """Of an endpoint: its versions, and what one of its entities is asked with and answers with."""
    versions = [each.plan.entity.entity_version for each in endpoint.entities.values()]
    signature = served.signature
    return {
        "name": endpoint.name,
        "versions": [each for each in versions if each is not None],
        "platform": served.plan.flavor,
        "inputs": _tensors({name: signature.columns[name] for name in signature.required if name in signature.columns}),
        "outputs": _tensors(signature.outputs),
    }


def repository_index(served: Iterable[str], waiting: Mapping[str, str]) -> list[dict[str, str]]:
    """Of all endpoints: which answer, and why the others don't."""
    ready = [{"name": name, "state": "READY", "reason": ""} for name in served]
    return ready + [{"name": name, "state": "UNAVAILABLE", "reason": why} for name, why in waiting.items()]


def _tensors(columns: Mapping[str, ValueKind]) -> list[Mapping[str, object]]:
    return [{"name": name, "datatype": _DATATYPES[kind], "shape": [-1]} for name, kind in columns.items()]
