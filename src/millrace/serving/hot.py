"""The hot route of a worker: raw ASGI, no framework."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, replace
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
    client_id_of,
    coding_of,
    dialect_for,
    envelope_of,
    found_route,
    header,
)
from millrace.serving.answer import (
    BAD_REQUEST,
    BUSY,
    OVER_SIZE,
    TOO_LARGE,
    UNAVAILABLE,
    Question,
    Reply,
    answer,
    too_large,
)
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
from millrace.serving.request_log import CURRENT
from millrace.serving.routes import Route, is_hot
from millrace.serving.shadows import Shadows
from millrace.serving.turns import Limits
from millrace.serving.types import Endpoint

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_JSON = (b"content-type", b"application/json")
_IN_GZIP = [(b"content-encoding", b"gzip"), (b"vary", b"accept-encoding")]
_DROPPED = (b"x-millrace-capture", b"dropped")
_CHALLENGE = [(b"www-authenticate", b"Bearer")]


class _Gone(Exception):
    """The client went away before its request was whole."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """Who asks what, and how."""

    requester: str
    endpoint: ServedEndpoint
    entity: str | None
    dialect: Dialect
    envelope: Envelope
    headers: Headers


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
            MillraceError: as `load`; those before it are served.
        """
        for endpoint in endpoints:
            if endpoint.state.ready:
                try:
                    self.load(endpoint)
                except MillraceError as error:
                    self._waiting[endpoint.name] = error.message
                    raise
                self.activate(endpoint.name, endpoint.generation)

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
        except _Gone:
            pass
        else:
            await self._answer(asked, raw, send)

    def _admit(self, route: Route, scope: Scope) -> _Asked:
        caller = _caller(scope)
        endpoint = self._directory.endpoint(route, caller)
        entity = self._directory.entity(route, endpoint)
        headers: Headers = scope["headers"]
        envelope = envelope_of(scope.get("query_string", b""), self._envelope)
        return _Asked(caller.name, endpoint, entity, dialect_for(route, headers), envelope, headers)

    async def _read(self, asked: _Asked, receive: Receive) -> bytes | None:
        """The body, unpacked; None where it is over the limit."""
        coding = coding_of(asked.headers)
        body = await self._arrived(asked.headers, receive)
        if body is None or coding == "identity":
            return body
        try:
            return unpack(body, self._limits.body_bytes)
        except ValueError:
            message = "the body is not whole gzip, as its Content-Encoding says"
            raise Refused(BAD_REQUEST, "BAD_REQUEST", message) from None

    async def _arrived(self, headers: Headers, receive: Receive) -> bytes | None:
        """The body as it was sent; None where it is over the limit."""
        declared = header(headers, b"content-length") or b"0"
        if not declared.isdigit() or int(declared) > self._limits.body_bytes:
            return None
        message = await receive()
        if not message.get("more_body", False) and message["type"] == "http.request":
            body: bytes = message.get("body", b"")
            return body if len(body) <= self._limits.body_bytes else None
        try:
            async with asyncio.timeout(self._limits.body_s):
                return await self._rest(message, receive)
        except TimeoutError:
            raise Refused(408, "BAD_REQUEST", "the body did not arrive in time", [(b"connection", b"close")]) from None

    async def _rest(self, message: MutableMapping[str, Any], receive: Receive) -> bytes | None:
        parts = [message.get("body", b"")]
        size = len(parts[0])
        while message.get("more_body", False):
            message = await receive()
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._limits.body_bytes:
                return None
        if message["type"] != "http.request":
            raise _Gone
        return b"".join(parts)

    async def _answer(self, asked: _Asked, raw: bytes | None, send: Send) -> None:
        started, now, request_id = time.perf_counter(), self._clock.now(), str(uuid.uuid4())
        CURRENT.set((request_id, asked.endpoint.name))
        self._counts.begin(asked.endpoint.name)
        try:
            if raw is None:
                reply = self._too_large(asked)
            else:
                reply = await answer(asked.endpoint, asked.entity, Question(raw, asked.dialect, asked.envelope), now)
        finally:
            self._counts.end(asked.endpoint.name)
        if reply.client_request_id is None and (client_id := client_id_of(asked.headers)) is not None:
            reply = replace(reply, client_request_id=client_id)
        request = Request(request_id, raw, asked.dialect.name, epoch_us(now), asked.requester)
        kept = await self._keep(reply, request, started)
        self._count(asked, reply, time.perf_counter() - started)
        served = (b"served-model-name", reply.served.plan.entity.name.encode())
        headers = [(b"databricks-request-id", request.id.encode()), served]
        if reply.status in {BUSY, UNAVAILABLE}:
            headers += LATER
        if not kept:
            headers.append(_DROPPED)
        body = packed(reply.body, asked.headers)
        if body is not None:
            headers += _IN_GZIP
        await _respond(send, reply.status, reply.body if body is None else body, headers)
        if raw is not None and reply.reached and asked.entity is None and asked.endpoint.shadows:
            question = Question(raw, asked.dialect, asked.envelope)
            self._shadows.offer(asked.endpoint, reply, question, request, now)

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


def _caller(scope: Scope) -> Caller:
    caller: Caller | None = scope.get(CALLER)
    if caller is None:
        raise Refused(401, "UNAUTHENTICATED", "send the token: Authorization: Bearer <token>", _CHALLENGE)
    return caller


async def _respond(send: Send, status: int, body: bytes, headers: Headers) -> None:
    # In one piece with its length: two small writes would wait for each other on the wire.
    head = [_JSON, (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})
