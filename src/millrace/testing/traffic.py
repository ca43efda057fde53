"""Records as a worker keeps them, for tests of what becomes of them."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from millrace.serving.capture.records import Request, record_payload
from millrace.serving.inputs import join_inputs
from millrace.serving.port import Reply
from millrace.serving.requests.served import Answered
from millrace.serving.types import Description, Prediction

AT_US = 1_740_830_400_000_000  # 2025-03-01 12:00 UTC
# Lookup keys, model inputs, label, probability, sources.
Row = tuple[Sequence[object], Sequence[object], object, float | None, Sequence[Any]]


def kept(
    description: Description,
    request_id: str,
    rows: Sequence[Row],
    *,
    raw: bytes | None = b"{}",
    dialect: str = "json",
    body: bytes = b'{"predictions":[1]}',
    status: int = 200,
    client_request_id: str | None = None,
    at_us: int = AT_US,
    duration_us: int = 1600,
    reached: bool = True,
) -> bytes:
    """The payload that a worker writes for a request that was answered with these rows; none: with an error."""
    served: Any = SimpleNamespace(description=description)  # of who answered, nothing else is kept
    reply = Reply(status, body, served, reached, client_request_id, _answered(description, rows) if rows else None)
    return b"".join(record_payload(reply, Request(request_id, raw, dialect, at_us, "user:ada"), duration_us))


def _answered(description: Description, rows: Sequence[Row]) -> Answered:
    keys, inputs, labels, probabilities, sources = zip(*rows, strict=True)
    known = None if None in probabilities else list(probabilities)
    return Answered(Prediction(list(labels), known), keys, join_inputs(inputs, description.inputs), sources, 0.001)
