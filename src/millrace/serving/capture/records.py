"""The record that is kept of a request and its answer: as few steps as can be when it is written, columns when it is read.

A payload is either a description, JSON, or a record: four lengths, then a head, the request's bytes, the response's
bytes, and the model's numeric inputs as doubles, row after row. A head is a JSON list, since names would be half of it:
the fields of `Record` down to its rows, which texts are too long, and, where there are rows, what is of each row.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import orjson

from millrace.serving.port import Reply
from millrace.serving.types import Description

# Longer texts are left out, as Databricks does.
LONGEST_TEXT = 1 << 20
REQUEST_TOO_LONG, RESPONSE_TOO_LONG = "MAX_REQUEST_SIZE_EXCEEDED", "MAX_RESPONSE_SIZE_EXCEEDED"
_DESCRIPTION, _RECORD = b"D", b"R"
_LENGTHS = struct.Struct("<cIIII")
_NUMBER_BYTES = 8
_OPTIONS = orjson.OPT_SERIALIZE_NUMPY


# Not frozen: one is made for each request, and freezing triples what that takes.
@dataclass(slots=True)
class Request:
    """What is kept of a request beside its answer.

    Attributes:
        raw: the body; None for one that was too large to read.
        dialect: the name of the dialect that it is written in.
    """

    id: str
    raw: bytes | None
    dialect: str
    at_us: int
    requester: str


class Record(NamedTuple):
    """A record, read. A tuple is made in half the time of a frozen dataclass, and a drain makes one a request.

    What is of each row is kept as it was written: of the rows of thousands of records, columns are made at once.

    Attributes:
        description: its id.
        reached: whether the described entity was chosen for this request.
        caller: a digest of what keeps the caller with that entity; None where nothing does, or where nothing was to be chosen.
        rows: how many the answer has.
        request: None where it was too long.
        response: None where it was too long.
        keys: a row's lookup keys, in the description's order.
        sources: where a row's looked-up features came from.
        numbers: the model's numeric inputs: doubles, row after row.
        texts: its text inputs by column, each with a value a row.
        labels: one a row, of a model.
        probabilities: one a row, or a list with that of each class; None where the model has no such thing.
        payload: what it was read from.
    """

    description: str
    id: str
    client_request_id: str | None
    time_us: int
    status: int
    duration_us: int
    requester: str
    reached: bool
    caller: str | None
    dialect: str
    rows: int
    request: bytes | None
    response: bytes | None
    keys: Sequence[Sequence[object]]
    sources: Sequence[Sequence[Any]]
    numbers: bytes
    texts: Sequence[Sequence[str | None]]
    labels: Sequence[object]
    probabilities: Sequence[object] | None
    payload: bytes


# How many fields of a record its head begins with; the last of them is `rows`.
_FACTS = Record._fields.index("request")


def record_payload(reply: Reply, request: Request, duration_us: int) -> tuple[bytes, ...]:
    """The record of a reply whose entity has a description; in parts, as bodies may be large."""
    description = reply.served.description
    assert description is not None  # noqa: S101 - the caller asks only where there is capture
    raw, body = request.raw, reply.body
    caller = None if reply.key is None else blake2b(reply.key, digest_size=8).hexdigest()
    rows, content, numbers = _of_rows(reply)
    too_long: tuple[str, ...] = ()
    if raw is None or len(raw) > LONGEST_TEXT:
        raw, too_long = b"", (REQUEST_TOO_LONG,)
    if len(body) > LONGEST_TEXT:
        body, too_long = b"", (*too_long, RESPONSE_TOO_LONG)
    head = _written(
        (
            description.id,
            request.id,
            reply.client_request_id,
            request.at_us,
            reply.status,
            duration_us,
            request.requester,
            reply.reached,
            caller,
            request.dialect,
            rows,
            too_long,
            *content,
        )
    )
    return _LENGTHS.pack(_RECORD, len(head), len(raw), len(body), len(numbers)), head, raw, body, numbers


def description_payload(description: Description) -> bytes:
    """What goes once into each segment that has records of this description."""
    return _DESCRIPTION + orjson.dumps(asdict(description))


def read_payload(payload: bytes) -> Record | Description:
    """Read a payload again.

    Raises:
        ValueError, LookupError, TypeError, struct.error: it is neither.
    """
    if payload[:1] == _DESCRIPTION:
        return _description(orjson.loads(payload[1:]))
    kind, head_bytes, request_bytes, response_bytes, numbers_bytes = _LENGTHS.unpack_from(payload)
    request_at = _LENGTHS.size + head_bytes
    response_at = request_at + request_bytes
    numbers_at = response_at + response_bytes
    if kind != _RECORD or numbers_at + numbers_bytes != len(payload):
        raise ValueError("not a record")
    head = orjson.loads(payload[_LENGTHS.size : request_at])
    too_long, rows = head[_FACTS], head[_FACTS - 1]
    content = _read_of_rows(head[_FACTS + 1 :], rows, payload[numbers_at:])
    request = None if REQUEST_TOO_LONG in too_long else payload[request_at:response_at]
    response = None if RESPONSE_TOO_LONG in too_long else payload[response_at:numbers_at]
    return Record._make((*head[:_FACTS], request, response, *content, payload))


def _of_rows(reply: Reply) -> tuple[int, tuple[object, ...], bytes]:
    """How many rows were answered, what a head has of each: keys, sources, texts, labels, probabilities; and the numbers."""
    if reply.answered is None:
        return 0, (), b""
    captured = reply.answered.captured()
    inputs, prediction = captured.inputs, captured.prediction
    # Keys and sources of a model that looks nothing up are as good as none.
    if inputs is None or prediction is None:
        return len(captured.keys), (captured.keys, captured.sources, None, (), None), b""
    content = captured.keys, captured.sources, inputs.texts, prediction.labels, prediction.probabilities
    return len(inputs), content, inputs.numbers.tobytes()


def _written(head: object) -> bytes:
    try:
        return orjson.dumps(head, _plain, _OPTIONS)
    except TypeError:
        # A whole number beyond 64 bits, say: CSV has them, and a decimal key may be one.
        return orjson.dumps(_as_text(head), _plain, _OPTIONS)


def _as_text(value: object) -> object:
    """The same, with text in place of what JSON can't have."""
    if isinstance(value, dict):
        return {str(name): _as_text(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_as_text(one) for one in value]
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return value if not isinstance(value, int) or -(2**63) <= value < 2**64 else str(value)


def _plain(value: object) -> object:
    """What JSON does not have: keys of a binary request, arrays that are views."""
    return value.tolist() if isinstance(value, np.ndarray) else str(value)


def _read_of_rows(content: list[Any], rows: int, numbers: bytes) -> tuple[Any, ...]:
    """From `keys` to `probabilities`, as a record has them."""
    if not content:
        return (), (), b"", (), (), None
    keys, sources, texts, labels, probabilities = content
    none = [()] * rows
    if texts is None:
        return keys or none, sources or none, b"", (), (), None
    if not rows or len(numbers) % (rows * _NUMBER_BYTES):
        raise ValueError("no whole rows")
    return keys or none, sources or none, numbers, tuple(texts), labels, probabilities


def _description(content: Mapping[str, Any]) -> Description:
    pairs = {name: tuple((column, kind) for column, kind in content[name]) for name in ("keys", "inputs")}
    return Description(**{**content, **pairs})
