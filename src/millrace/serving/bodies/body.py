"""A request, parsed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from millrace.core.errors import InvalidInput
from millrace.serving.bodies.rows import Rows


class TooLarge(Exception):
    """Unpacked, the body is over the limit."""


class NotNow(Exception):
    """The body can't be read now, and may be later; says why."""


def unreadable(what: str) -> InvalidInput:
    """A body that is no such thing, or a spoiled one."""
    return InvalidInput(f"the body is not {what} that can be read", hint="write it with Arrow's own writer")


@dataclass(frozen=True, slots=True)
class Envelope:
    """What is said of a request outside of its body, for formats that have no place for it in the body.

    Attributes:
        client_request_id: the caller's own id.
        predict_proba: whether the caller asked for probabilities.
        most_bytes: how large the body may become when it is unpacked.
    """

    client_request_id: str | None = None
    predict_proba: bool = False
    most_bytes: int = 16 << 20


PLAIN: Final = Envelope()


# Not frozen: one is made for each request, and freezing triples what that takes.
@dataclass(slots=True)
class Body:
    """A parsed request.

    Attributes:
        rows: at least one.
        client_request_id: the caller's own id.
        predict_proba: whether the caller asked for probabilities (`"params": {"predict_proba": true}`).
        outputs: what an answer in Open Inference Protocol is to hold; empty for all that there is.
    """

    rows: Rows
    client_request_id: str | None = None
    predict_proba: bool = False
    outputs: tuple[str, ...] = ()


@dataclass(slots=True)
class Origin:
    """Who answered: the endpoint, and the model version (None for a feature spec)."""

    endpoint: str
    version: str | None


@dataclass(frozen=True, slots=True)
class Dialect:
    """A way to ask and to answer.

    Attributes:
        read: bytes to a body; raises InvalidInput, with columns and never values in the message, TooLarge, and NotNow.
        write: the content of an answer to bytes of JSON; raises InvalidInput where the body asks for what it has not.
        error: error code and message to bytes of JSON.
        beside: whether any body, however small, is read beside the event loop: reading it waits for another process.
    """

    name: str
    read: Callable[[bytes, Envelope], Body]
    write: Callable[[Mapping[str, object], Body, Origin], bytes]
    error: Callable[[str, str], bytes]
    beside: bool = False
