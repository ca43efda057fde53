"""One request to an endpoint on its way to the reply, step by step; whoever takes the steps says when and where."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from millrace.core.errors import InvalidInput, InvalidState, MillraceError, NotFound
from millrace.features.port import StoreAway
from millrace.serving.bodies.body import Body, Dialect, Envelope, NotNow, Origin, TooLarge
from millrace.serving.bodies.rows import Records
from millrace.serving.inputs import Inputs
from millrace.serving.models.turns import Busy, TooSlow, Unavailable
from millrace.serving.port import Call, Model, Opened, Reply, Served
from millrace.serving.requests.generations import ServedEndpoint
from millrace.serving.types import CallSignature, Prediction

_LOG = logging.getLogger(__name__)
_LONGEST_NAME = 100
OVER_SIZE = "MAX_REQUEST_SIZE_EXCEEDED"
OK, BAD_REQUEST, NOT_FOUND, TOO_LARGE, BUSY, FAILED, UNAVAILABLE, TOO_SLOW = 200, 400, 404, 413, 429, 500, 503, 504


# Not frozen, here and below: these are made for each request, and freezing triples what that takes.
@dataclass(slots=True, eq=False)
class Question:
    """A request as it came.

    Attributes:
        client_id: the caller's own id for it, where a header has one.
    """

    raw: bytes
    dialect: Dialect
    envelope: Envelope
    client_id: str | None = None


class Exchange:
    """A request to an endpoint, or, where `entity` names one, to that served entity.

    `read`, `choose`, `open`, the prediction of `inputs` by `model`, and `reply`, in this order; `failed` in place of what
    is left as soon as one of them raises. No I/O but the lookup in `open`.

    Attributes:
        endpoint: who is asked.
        served: who answers, once it is chosen; before, the endpoint's first.
        rows: how many were sent; 0 before they are read.
        inputs: what is to be predicted, once it is open; None where no model is asked.
        model: who predicts it; None where no model is asked.
    """

    __slots__ = (
        "_body",
        "_entity",
        "_key",
        "_now",
        "_opened",
        "_reached",
        "endpoint",
        "inputs",
        "model",
        "question",
        "rows",
        "served",
    )

    def __init__(self, endpoint: ServedEndpoint, entity: str | None, question: Question, now: datetime) -> None:
        self.question, self.rows = question, 0
        self.endpoint, self._entity, self._now = endpoint, entity, now
        self.served: Served = endpoint.first
        self._reached = False
        self._body: Body | None = None
        self._key: bytes | None = None
        self._opened: Opened | None = None
        self.inputs: Inputs | None = None
        self.model: Model | None = None

    @property
    def is_read(self) -> bool:
        """Whether `read` is done."""
        return self._body is not None

    @property
    def is_chosen(self) -> bool:
        """Whether `choose` is done."""
        return self._reached

    @property
    def is_open(self) -> bool:
        """Whether `open` is done."""
        return self._opened is not None

    @property
    def may_wait(self) -> bool:
        """Whether `open` may wait for others, and has to be taken as `answer` does."""
        return self.endpoint.lookups is not None

    def read(self) -> None:
        """Parse the body. Raises InvalidInput, TooLarge, NotNow."""
        self._body = body = self.question.dialect.read(self.question.raw, self.question.envelope)
        self.rows = len(body.rows)

    def choose(self) -> None:
        """Choose who answers."""
        body, endpoint = self._read_body(), self.endpoint
        if self._entity is None and not endpoint.is_undivided:
            self._key = _sticky(endpoint, body)
        self.served = endpoint.entities[self._entity or endpoint.router.choose(self._key)]
        self._reached = True

    def open(self) -> None:
        """Look up, and check what was sent; before, choose who answers, where nobody did yet.

        Raises:
            InvalidInput, NotFound, InvalidState: as `Served.open`.
        """
        if not self._reached:
            self.choose()
        (opened,) = self.served.open([self.call()])
        self.take(opened)

    def call(self) -> Call:
        """What the entity is asked. Raises InvalidInput for what the endpoint doesn't take."""
        body = self._read_body()
        if self.endpoint.is_strict:
            _check_columns(body, self.served.signature, self.endpoint.known)
        return Call(body, self._now)

    def take(self, opened: Opened) -> None:
        """What the entity made of the call: now it is open."""
        self._opened, self.inputs, self.model = opened, opened.inputs, self.served.model

    def reply(self, prediction: Prediction | None, predict_s: float) -> Reply:
        """The reply, once predicted (None where no model is asked) in so many seconds.

        Raises:
            InvalidInput: the body asks for what the answer has not.
        """
        assert self._opened is not None  # noqa: S101 - that is the order
        body, served = self._read_body(), self.served
        answered = self._opened.answered(prediction, predict_s)
        origin = Origin(self.endpoint.name, served.plan.entity.entity_version)
        written = self.question.dialect.write(answered.content(body), body, origin)
        return Reply(OK, written, served, True, self._client_request_id(), answered, self._key)

    def failed(self, error: Exception) -> Reply:
        """The reply when a step failed.

        What is wrong with the request becomes a 400 (or a 404, for a key that has no features where the endpoint wants
        that) that names columns and no values, what goes wrong in the entity a 500 that says no more than that.
        """
        status, code, message = self._told(error)
        body = self.question.dialect.error(code, message)
        return Reply(status, body, self.served, self._reached, self._client_request_id(), key=self._key)

    def _read_body(self) -> Body:
        assert self._body is not None  # noqa: S101 - that is the order
        return self._body

    def _client_request_id(self) -> str | None:
        said = None if self._body is None else self._body.client_request_id
        return self.question.client_id if said is None else said

    def _told(self, error: Exception) -> tuple[int, str, str]:
        """Status, code and message. What nobody could foresee is logged."""
        entity = self.served.plan.entity.name
        if isinstance(error, StoreAway):
            _LOG.error("entity %s can't answer: %s", entity, error.message)
            return (
                UNAVAILABLE,
                "TEMPORARILY_UNAVAILABLE",
                f"'{entity}' can't answer now: the online store does not answer",
            )
        if isinstance(error, InvalidInput | NotFound | InvalidState | TooLarge):
            if isinstance(error, InvalidState):
                _LOG.error("entity %s can't answer: %s", entity, error.message)
            return _expected(error, self.question)
        if isinstance(error, Busy):
            return BUSY, "RESOURCE_EXHAUSTED", f"too many requests wait for '{entity}'"
        if isinstance(error, Unavailable | NotNow):
            return UNAVAILABLE, "TEMPORARILY_UNAVAILABLE", f"'{entity}' can't answer now: {error}"
        if isinstance(error, TooSlow):
            return TOO_SLOW, "DEADLINE_EXCEEDED", f"'{entity}' did not answer in time"
        _LOG.error("endpoint %s: entity %s failed", self.endpoint.name, entity, exc_info=error)
        return FAILED, "INTERNAL_ERROR", f"served entity '{entity}' could not answer; the server's log says why"


def open_together(exchanges: Sequence[Exchange]) -> None:
    """`Exchange.open` of several, one at least, for which the same entity was chosen: one look-up for all of them.

    Raises:
        InvalidInput, NotFound, InvalidState: as `Served.open`, where one of them is wrong; then none is open.
    """
    calls = [exchange.call() for exchange in exchanges]
    for exchange, opened in zip(exchanges, exchanges[0].served.open(calls), strict=True):
        exchange.take(opened)


def too_large(most_bytes: int) -> str:
    """What is said of a body that is over the limit."""
    return f"the request is over {most_bytes} bytes; send fewer rows at a time"


def _sticky(endpoint: ServedEndpoint, body: Body) -> bytes | None:
    """What keeps a caller with one entity: the first row's keys, else its own request id, which most make anew for each request."""
    row = body.rows.typed(endpoint.first.signature.columns).first()
    keys = None if row is None else endpoint.first.keys.encoded(row)
    if keys is None and body.client_request_id is not None:
        return body.client_request_id.encode()
    return keys


def _check_columns(body: Body, signature: CallSignature, known: frozenset[str]) -> None:
    """Raise InvalidInput for a column that none of the endpoint's entities reads. Rows without names have none."""
    rows = body.rows.typed(signature.columns)
    first = rows.first()
    if first is None:
        return
    named = rows.rows if isinstance(rows, Records) else [first]  # of all others each row has the same
    extra = next((name for record in named for name in record if name not in known), None)
    if extra is not None:
        shown = extra if len(extra) <= _LONGEST_NAME else f"{extra[:_LONGEST_NAME]}..."
        raise InvalidInput(
            f"column '{shown}' is not known here", hint=f"send {', '.join(signature.columns)}", column=shown
        )


def _expected(error: InvalidInput | NotFound | InvalidState | TooLarge, question: Question) -> tuple[int, str, str]:
    if isinstance(error, TooLarge):
        return TOO_LARGE, OVER_SIZE, too_large(question.envelope.most_bytes)
    if isinstance(error, InvalidInput):
        return BAD_REQUEST, "BAD_REQUEST", _sentence(error)
    return NOT_FOUND if isinstance(error, NotFound) else FAILED, error.error_code, _sentence(error)


def _sentence(error: MillraceError) -> str:
    return f"{error.message}; {error.hint}" if error.hint else error.message
