"""From a request's bytes to a response's bytes, and the record that is kept of both. No I/O but the lookup."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import orjson

from millrace.core.errors import InvalidInput, InvalidState, MillraceError
from millrace.serving.bodies import Body, parse_body
from millrace.serving.generations import ServedEndpoint
from millrace.serving.port import Answer, Served

_LOG = logging.getLogger(__name__)
OK, BAD_REQUEST, NOT_FOUND, TOO_LARGE, FAILED = 200, 400, 404, 413, 500


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back, and what it came from.

    Attributes:
        served: who answered, or, for a request that reached no entity, the endpoint's first (for its log table).
        reached: whether `served` was chosen for this request.
        answered: None where there is no answer but an error.
    """

    status: int
    body: bytes
    served: Served
    reached: bool
    client_request_id: str | None = None
    answered: Answer | None = None


def answer(endpoint: ServedEndpoint, entity: str | None, raw: bytes, now: datetime) -> Reply:
    """Answer a request to an endpoint, or, where `entity` names one, to that served entity.

    Never raises: what is wrong with the request becomes a 400 that names columns and no values, what goes wrong in the
    entity a 500 that says no more than that.
    """
    served, reached, client_request_id = endpoint.first, False, None
    try:
        body = parse_body(raw)
        client_request_id = body.client_request_id
        served, reached = endpoint.entities[entity or endpoint.router.choose(_sticky(endpoint, body))], True
        answered = served.answer(body, now)
        return Reply(OK, orjson.dumps(answered.content(body)), served, reached, client_request_id, answered)
    except InvalidInput as error:
        return Reply(BAD_REQUEST, error_body("BAD_REQUEST", _sentence(error)), served, reached, client_request_id)
    except InvalidState as error:
        return Reply(FAILED, error_body(error.error_code, _sentence(error)), served, reached, client_request_id)
    except Exception:  # noqa: BLE001 - the boundary of a request: a foreign model may raise anything
        _LOG.exception("endpoint %s: entity %s failed", endpoint.name, served.plan.entity.name)
        message = f"served entity '{served.plan.entity.name}' could not answer; the server's log says why"
        return Reply(FAILED, error_body("INTERNAL_ERROR", message), served, reached, client_request_id)


def error_body(code: str, message: str) -> bytes:
    """An error in the shape that MLflow and Databricks clients read."""
    return orjson.dumps({"error_code": code, "message": message})


@dataclass(frozen=True, slots=True)
class Request:
    """What is logged of a request beside its answer. `raw` is None for one that was too large to read."""

    id: str
    raw: bytes | None
    at_us: int
    requester: str


def record(reply: Reply, request: Request, duration_ms: float) -> dict[str, object]:
    """The reply as a capture record. Rows: [keys, inputs, label, probability, sources]."""
    description = reply.served.description
    assert description is not None  # noqa: S101 - the caller asks only where there is capture
    return {
        "description": description.id,
        "id": request.id,
        "client_request_id": reply.client_request_id,
        "time_us": request.at_us,
        "status": reply.status,
        "duration_ms": duration_ms,
        "request": None if request.raw is None else request.raw.decode("utf-8", errors="replace"),
        "response": reply.body.decode(),
        "requester": request.requester,
        "reached": reply.reached,
        "rows": [] if reply.answered is None else reply.answered.rows(),
    }


def _sticky(endpoint: ServedEndpoint, body: Body) -> bytes | None:
    """What keeps a caller with one entity: its own request id, else the first row's keys."""
    if body.client_request_id is not None:
        return body.client_request_id.encode()
    row = body.rows[0]
    if not isinstance(row, Mapping):
        return None
    keys = [key for key in endpoint.first.keys_of(row) if key is not None]
    return orjson.dumps(keys) if keys else None


def _sentence(error: MillraceError) -> str:
    return f"{error.message}; {error.hint}" if error.hint else error.message
