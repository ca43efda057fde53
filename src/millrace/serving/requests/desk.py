"""What is done with every request before it is answered and after, whichever way it came."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import datetime

from millrace.access.types import Caller
from millrace.core.clock import Clock, epoch_us
from millrace.serving.bodies.body import Dialect, Envelope
from millrace.serving.capture.capture_log import CaptureLog, Kept
from millrace.serving.capture.records import Request, record_payload
from millrace.serving.models.turns import Limits, Unavailable
from millrace.serving.port import Reply
from millrace.serving.request_log import Name
from millrace.serving.requests.admission import LATER, Headers, Sent, client_id_of, dialect_for, envelope_of
from millrace.serving.requests.content_coding import packed
from millrace.serving.requests.counts import RequestCounts
from millrace.serving.requests.directory import Directory
from millrace.serving.requests.exchange import (
    BUSY,
    FAILED,
    OVER_SIZE,
    TOO_LARGE,
    UNAVAILABLE,
    Exchange,
    Question,
    too_large,
)
from millrace.serving.requests.generations import ServedEndpoint
from millrace.serving.requests.request_ids import RequestIds
from millrace.serving.requests.routes import Route
from millrace.serving.requests.shadows import Shadows

_LOG = logging.getLogger(__name__)
_REQUEST_ID, _SERVED = b"databricks-request-id", b"served-model-name"
_IN_GZIP = [(b"content-encoding", b"gzip"), (b"vary", b"accept-encoding")]
_DROPPED = (b"x-millrace-capture", b"dropped")


@dataclass(slots=True, eq=False)
class Admission:
    """Who asks what, and how."""

    requester: str
    endpoint: ServedEndpoint
    entity: str | None
    dialect: Dialect
    envelope: Envelope


@dataclass(slots=True, eq=False)
class Visit:
    """A request from when it is whole until it is answered.

    Attributes:
        exchange: None for a body that was too large to read.
        started: by time.perf_counter.
        own_s: how long it took but for what was done for others of its turn alone; None where it was answered alone.
    """

    asked: Admission
    sent: Sent
    request: Request
    exchange: Exchange | None
    now: datetime
    started: float
    own_s: float | None = None

    @property
    def name(self) -> Name:
        """What log lines about it are marked with, as in `CURRENT`."""
        return self.request.id, self.asked.endpoint.name


@dataclass(slots=True, eq=False)
class Response:
    """What goes back to the caller, but for what HTTP itself adds. The body is JSON."""

    status: int
    body: bytes
    headers: Headers


class Desk:
    """Admits requests, and sees them off: ids, counts, the record for the capture, the response.

    Args:
        clock: tells when a request is asked, for lookups and for the log.
        directory: what is served.
        capture: where requests are kept; None keeps nothing, whatever the endpoints say.
        limits: what is taken on.

    Attributes:
        asked_s: when somebody asked last, by time.perf_counter; before, when it was made.
    """

    def __init__(self, clock: Clock, directory: Directory, capture: CaptureLog | None, limits: Limits) -> None:
        self.directory, self.capture, self.limits, self.counts = directory, capture, limits, RequestCounts()
        self.shadows = Shadows(self._keep_copy, lambda: self.counts.answering)
        self._clock, self._ids = clock, RequestIds()
        self._envelope = Envelope(most_bytes=limits.body_bytes)
        self.asked_s = time.perf_counter()

    def admit(self, route: Route, caller: Caller, sent: Sent, query: bytes) -> Admission:
        """What is asked, before the body is there. Raises Refused."""
        endpoint = self.directory.endpoint(route, caller)
        entity = self.directory.entity(route, endpoint)
        return Admission(caller.name, endpoint, entity, dialect_for(route, sent), envelope_of(query, self._envelope))

    def begin(self, asked: Admission, sent: Sent, raw: bytes | None) -> Visit:
        """The body is there, or (None) over the limit. To be ended by `end`."""
        request_id, now = self._ids.next(), self._clock.now()
        request = Request(request_id, raw, asked.dialect.name, epoch_us(now), asked.requester)
        exchange = None
        if raw is not None:
            question = Question(raw, asked.dialect, asked.envelope, client_id_of(sent))
            exchange = Exchange(asked.endpoint, asked.entity, question, now)
        self.counts.begin(asked.endpoint.name)
        self.asked_s = started = time.perf_counter()
        return Visit(asked, sent, request, exchange, now, started)

    def end(self, visit: Visit) -> None:
        """It is not answered any more, whatever came of it."""
        self.counts.end(visit.asked.endpoint.name)

    def too_large(self, visit: Visit) -> Reply:
        """The reply to a body over the limit."""
        asked = visit.asked
        body = asked.dialect.error(OVER_SIZE, too_large(self.limits.body_bytes))
        return Reply(TOO_LARGE, body, asked.endpoint.first, False, client_id_of(visit.sent))

    def record(self, visit: Visit, reply: Reply) -> Kept | None:
        """What is to be kept of it; None where its endpoint keeps nothing."""
        own_s = time.perf_counter() - visit.started if visit.own_s is None else visit.own_s
        return self._record(reply, visit.request, own_s)

    def response(self, visit: Visit, reply: Reply, *, kept: bool) -> Response:
        """Count it, and make what goes back; `kept` tells whether it is kept where it should be."""
        self._count(visit, reply)
        headers = [(_REQUEST_ID, visit.request.id.encode())]
        if reply.reached:
            headers.append((_SERVED, reply.served.plan.entity.name.encode()))
        if reply.status in {BUSY, UNAVAILABLE}:
            headers += LATER
        if not kept:
            headers.append(_DROPPED)
        small = packed(reply.body, visit.sent.get(b"accept-encoding", b""))
        if small is None:
            return Response(reply.status, reply.body, headers)
        return Response(reply.status, small, [*headers, *_IN_GZIP])

    def broken(self, visit: Visit, error: Exception) -> Response:
        """What goes back when nobody foresaw what went wrong; it is logged."""
        name = visit.asked.endpoint.name
        _LOG.error("endpoint %s: a request could not be answered", name, exc_info=error)
        self.counts.refused(name, FAILED)
        body = visit.asked.dialect.error(
            "INTERNAL_ERROR", "the request could not be answered; the server's log says why"
        )
        return Response(FAILED, body, [(_REQUEST_ID, visit.request.id.encode())])

    def stopped(self, visit: Visit) -> Response:
        """What goes back where the server stops before there is an answer, and waits no longer; nor does its capture."""
        stops = Unavailable("the server stops")
        reply = self.too_large(visit) if visit.exchange is None else visit.exchange.failed(stops)
        is_lost = self.record(visit, reply) is not None
        if is_lost and self.capture is not None:
            self.capture.lose(1, "the server stops")
        return self.response(visit, reply, kept=not is_lost)

    def copy(self, visit: Visit, reply: Reply) -> None:
        """Let shadows have their copies, once the caller has the answer."""
        asked = visit.asked
        if visit.exchange is not None and reply.reached and asked.entity is None and asked.endpoint.shadows:
            self.shadows.offer(asked.endpoint, reply, visit.exchange.question, visit.request, visit.now)

    def _record(self, reply: Reply, request: Request, duration_s: float) -> Kept | None:
        description = reply.served.description
        if self.capture is None or description is None:
            return None
        return record_payload(reply, request, round(duration_s * 1e6)), description

    async def _keep_copy(self, reply: Reply, request: Request, started: float) -> None:
        record = self._record(reply, request, time.perf_counter() - started)
        if record is not None and self.capture is not None:
            await self.capture.keep(*record)

    def _count(self, visit: Visit, reply: Reply) -> None:
        entity, answered = reply.served.plan.entity.name if reply.reached else "", reply.answered
        rows, predict_s = (0, None) if answered is None else (len(answered), answered.predict_s)
        duration_s = time.perf_counter() - visit.started
        self.counts.answered(
            visit.asked.endpoint.name, entity, reply.status, duration_s, rows=rows, predict_s=predict_s
        )
