"""The hot route of a worker: raw ASGI, no framework."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from millrace.access.types import CALLER, Caller
from millrace.core.clock import Clock, epoch_us
from millrace.core.errors import MillraceError
from millrace.features.port import OnlineStore
from millrace.serving.admission import (
    LATER,
    Headers,
    Refused,
    Sent,
    client_id_of,
    coding_of,
    dialect_for,
    envelope_of,
    found_route,
)
from millrace.serving.answer import (
    BAD_REQUEST,
    BUSY,
    FAILED,
    OVER_SIZE,
    TOO_LARGE,
    UNAVAILABLE,
    Question,
    Reply,
    answer,
    too_large,
)
from millrace.serving.arrival import Arrivals, Gone, Receive
from millrace.serving.bodies.body import Dialect, Envelope
from millrace.serving.bodies.dialects import error_body
from millrace.serving.bodies.v2_body import error_v2
from millrace.serving.capture import CaptureLog
from millrace.serving.content_coding import packed, unpack
from millrace.serving.counts import RequestCounts
from millrace.serving.directory import Directory
from millrace.serving.generations import Generations, ServedEndpoint
from millrace.serving.processes.environments import Environments
from millrace.serving.records import Request, record_payload
from millrace.serving.request_ids import RequestIds
from millrace.serving.request_log import CURRENT
from millrace.serving.routes import Route, is_hot
from millrace.serving.shadows import Shadows
from millrace.serving.turns import Limits
from millrace.serving.types import Endpoint

Scope = MutableMapping[str, Any]
_LOG = logging.getLogger(__name__)
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_JSON, _REQUEST_ID = (b"content-type", b"application/json"), b"databricks-request-id"
_IN_GZIP = [(b"content-encoding", b"gzip"), (b"vary", b"accept-encoding")]
_DROPPED = (b"x-millrace-capture", b"dropped")
_CHALLENGE = [(b"www-authenticate", b"Bearer")]


@dataclass(frozen=True, slots=True)
class _Asked:
    """Who asks what, and how."""

    requester: str
    endpoint: ServedEndpoint
    entity: str | None
    dialect: Dialect
    envelope: Envelope
    sent: Sent


class HotApp:
    """Answers what `routes` names: invocations, and the Open Inference Protocol under `/v2`.

    Loading is slow and thread-safe: call `load` in a thread beside the event loop. `activate` and `remove` swap one
    reference and hardly wait: requests that are being answered finish with what they began with.

    Who asks is in the scope, under `CALLER`, where the guard in front has put it; without it: 401.

    Args:
        clock: tells when a request is asked, for lookups and for the log.
        online: feature values by key.
        capture: where requests are kept; None keeps nothing, whatever the endpoints say.
        limits: what is taken on.
        environments: where models get environments of their own whose packages differ; None runs all models here.
        proofs: the folder where is kept which path each model may take; None proves at each load.
    """

    def __init__(
        self,
        clock: Clock,
        online: OnlineStore,
        capture: CaptureLog | None,
        limits: Limits | None = None,
        *,
        environments: Environments | None = None,
        proofs: Path | None = None,
    ) -> None:
        self._clock, self._capture = clock, capture
        self._limits = limits or Limits()
        self._envelope = Envelope(most_bytes=self._limits.body_bytes)
        self._arrivals, self._ids = Arrivals(self._limits), RequestIds()
        self._generations = Generations(online, self._limits, environments, proofs)
        self._waiting: dict[str, str] = {}
        self._counts = RequestCounts()
        self._directory = Directory(self._generations, self._waiting)
        self._shadows = Shadows(self._keep, lambda: self._counts.answering)

    @staticmethod
    def handles(scope: Scope) -> bool:
        """Whether this app answers the request; all else is the control process's."""
        return scope["type"] == "http" and is_hot(scope.get("path", ""))

    def load(self, endpoint: Endpoint) -> Mapping[str, str]:
        """Load what an endpoint's configuration (a candidate's or the stored one's) serves, without routing to it.

        Returns each entity's predict path and why, `xgboost: equal to ...`. Models that the active or the previous
        generation already holds are taken from there.

        Raises:
            MillraceError: a model can't be loaded, or feature tables are not in the online store.
        """
        return self._generations.load(endpoint)

    def activate(self, name: str, generation: int) -> None:
        """Route the endpoint to a loaded generation; the one before stays loaded for a way back.

        Raises:
            InvalidState: that generation was not loaded here.
        """
        self._generations.activate(name, generation)
        self._waiting.pop(name, None)

    def discard(self, name: str, generation: int) -> None:
        """Drop a loaded generation that won't be activated; nothing where it isn't there or is active."""
        self._generations.discard(name, generation)

    def serve(self, endpoints: Iterable[Endpoint]) -> None:
        """Load and activate the stored endpoints that are ready: what a worker does when it starts.

        Raises:
            MillraceError: as `load`; those before it are served. A foreign model may raise anything else as well.
        """
        for endpoint in endpoints:
            if endpoint.state.ready:
                try:
                    self.load(endpoint)
                except Exception as error:
                    self._waiting[endpoint.name] = _why_not(error)
                    raise
                self.activate(endpoint.name, endpoint.generation)

    def postpone(self, endpoint: Endpoint) -> bool:
        """Let a stored endpoint wait for `serve` whose models take long to load; whether it is such a one."""
        takes_long = endpoint.state.ready and self._generations.takes_long(endpoint)
        if takes_long:
            self._waiting[endpoint.name] = "its model is being loaded in a process of its own"
        return takes_long

    def waiting(self) -> Mapping[str, str]:
        """Endpoints that `serve` could not load, and why: they answer 503, unless an earlier generation answers."""
        return dict(self._waiting)

    def remove(self, name: str) -> None:
        """Stop serving an endpoint; nothing where it isn't served."""
        self._waiting.pop(name, None)
        self._generations.remove(name)

    def served(self) -> Mapping[str, int]:
        """Endpoint name to active generation."""
        return self._generations.served()

    def counts(self) -> Mapping[str, object]:
        """What was answered since the start, and what waits now, as JSON."""
        return {**self._counts.read(), "waiting": self._generations.waiting(), "shadows": self._shadows.read()}

    def rest(self) -> bool:
        """Let idle models leave memory, where their endpoints want that; whether one did. On the event loop."""
        return self._generations.rest()

    def asleep(self) -> Mapping[str, list[str]]:
        """Served entities whose models are not in memory until they are asked, by endpoint."""
        return self._generations.asleep()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        try:
            route = found_route(scope["path"], scope["method"])
            if route.what != "answer":
                status, content = self._directory.told(route, lambda: _caller(scope))
                await _respond(send, status, orjson.dumps(content), ())
                return
            asked = self._admit(route, scope)
            raw = await self._read(asked, receive)
        except Refused as refused:
            self._counts.refused(self._directory.known_name(scope["path"]), refused.status)
            error = error_v2 if scope["path"].startswith("/v2") else error_body
            await _respond(send, refused.status, error(refused.code, str(refused)), refused.headers)
        except Gone:
            pass
        else:
            await self._answer(asked, raw, send)

    def _admit(self, route: Route, scope: Scope) -> _Asked:
        caller = _caller(scope)
        endpoint = self._directory.endpoint(route, caller)
        entity = self._directory.entity(route, endpoint)
        sent: Sent = dict(scope["headers"])
        envelope = envelope_of(scope.get("query_string", b""), self._envelope)
        return _Asked(caller.name, endpoint, entity, dialect_for(route, sent), envelope, sent)

    async def _read(self, asked: _Asked, receive: Receive) -> bytes | None:
        """The body, unpacked; None where it is over the limit."""
        coding = coding_of(asked.sent)
        body = await self._arrivals.body(asked.sent.get(b"content-length", b""), receive)
        if body is None or coding == "identity":
            return body
        try:
            return unpack(body, self._limits.body_bytes)
        except ValueError:
            message = "the body is not whole gzip, as its Content-Encoding says"
            raise Refused(BAD_REQUEST, "BAD_REQUEST", message) from None

    async def _answer(self, asked: _Asked, raw: bytes | None, send: Send) -> None:
        request_id, now = self._ids.next(), self._clock.now()
        request = Request(request_id, raw, asked.dialect.name, epoch_us(now), asked.requester)
        question = None if raw is None else Question(raw, asked.dialect, asked.envelope)
        CURRENT.set((request_id, asked.endpoint.name))
        self._counts.begin(asked.endpoint.name)
        try:
            reply, kept = await self._reply(asked, question, request, now)
        except Exception:  # noqa: BLE001 - the boundary of a request: what nobody foresaw is logged and told as no more than that
            _LOG.exception("endpoint %s: a request could not be answered", asked.endpoint.name)
            self._counts.refused(asked.endpoint.name, FAILED)
            body = asked.dialect.error("INTERNAL_ERROR", "the request could not be answered; the server's log says why")
            await _respond(send, FAILED, body, [(_REQUEST_ID, request_id.encode())])
            return
        finally:
            self._counts.end(asked.endpoint.name)
        await _respond(send, reply.status, *_packed(reply.body, asked.sent, _headers(reply, request_id, kept=kept)))
        if question is not None and reply.reached and asked.entity is None and asked.endpoint.shadows:
            self._shadows.offer(asked.endpoint, reply, question, request, now)

    async def _reply(
        self, asked: _Asked, question: Question | None, request: Request, now: datetime
    ) -> tuple[Reply, bool]:
        """The reply, and whether it is kept where it should be."""
        started = time.perf_counter()
        if question is None:
            reply = self._too_large(asked)
        else:
            reply = await answer(asked.endpoint, asked.entity, question, now)
        if reply.client_request_id is None and (client_id := client_id_of(asked.sent)) is not None:
            reply = replace(reply, client_request_id=client_id)
        kept = await self._keep(reply, request, started)
        self._count(asked, reply, time.perf_counter() - started)
        return reply, kept

    async def _keep(self, reply: Reply, request: Request, started: float) -> bool:
        """Capture the request where its endpoint says so; False where there was no room for it."""
        description = reply.served.description
        if self._capture is None or description is None:
            return True
        duration_us = round((time.perf_counter() - started) * 1e6)
        return await self._capture.keep(record_payload(reply, request, duration_us), description)

    def _count(self, asked: _Asked, reply: Reply, duration_s: float) -> None:
        entity, answered = reply.served.plan.entity.name if reply.reached else "", reply.answered
        rows, predict_s = (0, None) if answered is None else (len(answered), answered.predict_s)
        self._counts.answered(asked.endpoint.name, entity, reply.status, duration_s, rows=rows, predict_s=predict_s)

    def _too_large(self, asked: _Asked) -> Reply:
        body = asked.dialect.error(OVER_SIZE, too_large(self._limits.body_bytes))
        return Reply(TOO_LARGE, body, asked.endpoint.first, reached=False)


def _why_not(error: Exception) -> str:
    if isinstance(error, MillraceError):
        return error.message
    return f"it can't be loaded: {type(error).__name__}; the server's log says where"


def _caller(scope: Scope) -> Caller:
    caller: Caller | None = scope.get(CALLER)
    if caller is None:
        raise Refused(401, "UNAUTHENTICATED", "send the token: Authorization: Bearer <token>", _CHALLENGE)
    return caller


def _headers(reply: Reply, request_id: str, *, kept: bool) -> list[tuple[bytes, bytes]]:
    headers = [(_REQUEST_ID, request_id.encode())]
    if reply.reached:
        headers.append((b"served-model-name", reply.served.plan.entity.name.encode()))
    if reply.status in {BUSY, UNAVAILABLE}:
        headers += LATER
    if not kept:
        headers.append(_DROPPED)
    return headers


def _packed(body: bytes, sent: Sent, headers: list[tuple[bytes, bytes]]) -> tuple[bytes, Headers]:
    """The answer's bytes and headers, in gzip where that is worth it."""
    small = packed(body, sent.get(b"accept-encoding", b""))
    return (body, headers) if small is None else (small, [*headers, *_IN_GZIP])


async def _respond(send: Send, status: int, body: bytes, headers: Headers) -> None:
    # In one piece with its length: two small writes would wait for each other on the wire.
    head = [_JSON, (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})
