"""A request, parsed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from millrace.serving.bodies.rows import Rows


@dataclass(frozen=True, slots=True)
class Body:
    """A parsed request.

    Attributes:
        rows: at least one.
        client_request_id: the caller's own id.
        predict_proba: whether the caller asked for probabilities (`"params": {"predict_proba": true}`).
    """

    rows: Rows
    client_request_id: str | None = None
    predict_proba: bool = False


@dataclass(frozen=True, slots=True)
class Dialect:
    """A way to ask and to answer.

    Attributes:
        read: bytes to a body; raises InvalidInput, with columns and never values in the message.
        write: the content of an answer to bytes of JSON.
        error: error code and message to bytes of JSON.
    """

    name: str
    read: Callable[[bytes], Body]
    write: Callable[[Mapping[str, object]], bytes]
    error: Callable[[str, str], bytes]
