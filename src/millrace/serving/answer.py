"""From a request's bytes to a response's bytes. No I/O but the lookup."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime

from millrace.core.errors import InvalidInput, InvalidState, MillraceError, NotFound
from millrace.serving.bodies.body import Body, Dialect, Envelope, Origin, TooLarge
from millrace.serving.generations import ServedEndpoint
from millrace.serving.port import Answer, Served
from millrace.serving.turns import Busy, TooSlow, Unavailable

_LOG = logging.getLogger(__name__)
# Larger bodies are read beside the event loop, so that others are answered meanwhile.
_MOST_ON_LOOP = 256 << 10
OVER_SIZE = "MAX_REQUEST_SIZE_EXCEEDED"
OK, BAD_REQUEST, NOT_FOUND, TOO_LARGE, BUSY, FAILED, UNAVAILABLE, TOO_SLOW = 200, 400, 404, 413, 429, 500, 503, 504


@dataclass(frozen=True, slots=True)
class Question:
    """A request as it came."""

    raw: bytes
    dialect: Dialect
    envelope: Envelope


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back, and what it came from.

    Attributes:
        served: who answered, or, for a request that reached no entity, the endpoint's first (for its log table).
        reached: whether `served` was chosen for this request.
        answered: None where there is no answer but an error.
        key: what keeps the caller with who answered; None where nothing does, or where nothing has to be chosen.
    """

    status: int
    body: bytes
    served: Served
    reached: bool
    client_request_id: str | None = None
    answered: Answer | None = None
    key: bytes | None = None


async def answer(endpoint: ServedEndpoint, entity: str | None, question: Question, now: datetime) -> Reply:
    """Answer a request to an endpoint, or, where `entity` names one, to that served entity.

    Never raises: what is wrong with the request becomes a 400 (or a 404, for a key that has no features where the endpoint
    wants that) that names columns and no values, what goes wrong in the entity a 500 that says no more than that.
    """
    served, reached, client_request_id, key = endpoint.first, False, None, None

    def failed(status: int, code: str, message: str) -> Reply:
        return Reply(status, question.dialect.error(code, message), served, reached, client_request_id, key=key)

    try:
        body = await _read(question)
        client_request_id = body.client_request_id
        key = None if entity or endpoint.is_undivided else _sticky(endpoint, body)
        served, reached = endpoint.entities[entity or endpoint.router.choose(key)], True
        answered = await served.answer(body, now)
        origin = Origin(endpoint.name, served.plan.entity.entity_version)
        written = question.dialect.write(answered.content(body), body, origin)
        return Reply(OK, written, served, reached, client_request_id, answered, key)
    except (InvalidInput, NotFound, InvalidState, TooLarge) as error:
        if isinstance(error, InvalidState):
            _LOG.error("entity %s can't answer: %s", served.plan.entity.name, error.message)
        return failed(*_expected(error, question))
    except Busy:
        return failed(BUSY, "RESOURCE_EXHAUSTED", f"too many requests wait for '{served.plan.entity.name}'")
    except Unavailable as error:
        return failed(UNAVAILABLE, "TEMPORARILY_UNAVAILABLE", f"'{served.plan.entity.name}' can't answer now: {error}")
    except TooSlow:
        return failed(TOO_SLOW, "DEADLINE_EXCEEDED", f"'{served.plan.entity.name}' did not answer in time")
    except Exception:  # noqa: BLE001 - the boundary of a request: a foreign model may raise anything
        _LOG.exception("endpoint %s: entity %s failed", endpoint.name, served.plan.entity.name)
        message = f"served entity '{served.plan.entity.name}' could not answer; the server's log says why"
        return failed(FAILED, "INTERNAL_ERROR", message)


def too_large(most_bytes: int) -> str:
    """What is said of a body that is over the limit."""
    return f"the request is over {most_bytes} bytes; send fewer rows at a time"


async def _read(question: Question) -> Body:
    read, raw = question.dialect.read, question.raw
    if len(raw) <= _MOST_ON_LOOP:
        return read(raw, question.envelope)
    return await asyncio.to_thread(read, raw, question.envelope)


def _sticky(endpoint: ServedEndpoint, body: Body) -> bytes | None:
    """What keeps a caller with one entity: its own request id, else the first row's keys."""
    if body.client_request_id is not None:
        return body.client_request_id.encode()
    row = body.rows.typed(endpoint.first.signature.columns).first()
    return None if row is None else endpoint.first.keys.encoded(row)


def _expected(error: InvalidInput | NotFound | InvalidState | TooLarge, question: Question) -> tuple[int, str, str]:
    if isinstance(error, TooLarge):
        return TOO_LARGE, OVER_SIZE, too_large(question.envelope.most_bytes)
    if isinstance(error, InvalidInput):
        return BAD_REQUEST, "BAD_REQUEST", _sentence(error)
    return NOT_FOUND if isinstance(error, NotFound) else FAILED, error.error_code, _sentence(error)


def _sentence(error: MillraceError) -> str:
    return f"{error.message}; {error.hint}" if error.hint else error.message
