"""The hot route of a worker: raw ASGI, no framework."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from millrace.access.types import CALLER, Caller
from millrace.core.clock import Clock
from millrace.core.errors import InvalidState, MillraceError
from millrace.features.port import OnlineStore, StoreAway
from millrace.serving.bodies.dialects import error_body
from millrace.serving.bodies.v2_body import error_v2
from millrace.serving.capture.capture_log import CaptureLog
from millrace.serving.models.processes.environments import Environments
from millrace.serving.models.thread import WatchedThreads
from millrace.serving.models.turns import Limits
from millrace.serving.request_log import CURRENT
from millrace.serving.requests.admission import LATER, Headers, Refused, Sent, coding_of, found_route
from millrace.serving.requests.answer import answer
from millrace.serving.requests.arrival import Arrivals, Gone, Receive
from millrace.serving.requests.content_coding import unpack
from millrace.serving.requests.desk import Desk, Visit
from millrace.serving.requests.directory import Directory
from millrace.serving.requests.exchange import BAD_REQUEST, UNAVAILABLE
from millrace.serving.requests.generations import Generations
from millrace.serving.requests.lane import Lane
from millrace.serving.requests.routes import is_hot
from millrace.serving.types import Endpoint, LoadPlan

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_LOG = logging.getLogger(__name__)
_JSON = (b"content-type", b"application/json")
_CHALLENGE = [(b"www-authenticate", b"Bearer")]


class HotApp:
    """Answers what `routes` names: invocations, and the Open Inference Protocol under `/v2`.

    Loading is slow and thread-safe: call `load` in a thread beside the event loop. `activate` and `remove` swap one
    reference and hardly wait: requests that are being answered finish with what they began with.

    Attributes:
        lane: the short way for requests that come whole.
        limits: what is taken on.

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
        self.limits = limits or Limits()
        self._arrivals = Arrivals(self.limits)
        self._generations = Generations(online, self.limits, environments, proofs)
        self._waiting: dict[str, str] = {}
        self._directory = Directory(self._generations, self._waiting)
        self._desk = Desk(clock, self._directory, capture, self.limits)
        self.lane = Lane(self._desk)

    @staticmethod
    def handles(scope: Scope) -> bool:
        """Whether this app answers the request; all else is the control process's."""
        return scope["type"] == "http" and is_hot(scope.get("path", ""))

    def load(self, endpoint: Endpoint, known: Sequence[LoadPlan] = ()) -> Mapping[str, str]:
        """Load what an endpoint's configuration (a candidate's or the stored one's) serves, without routing to it.

        Returns each entity's predict path and why, `xgboost: equal to ...`. Models that the active or the previous
        generation already holds are taken from there. Models that are new, not of those of `known`, which have served before,
        must predict their own examples.

        Raises:
            MillraceError: a model can't be loaded or can't predict its example, or feature tables are not in the online store.
                Says nothing that only who manages the server may know.
        """
        try:
            return self._generations.load(endpoint, known)
        except StoreAway as error:
            # Where it is, the log tells those who may know.
            _LOG.error("endpoint %s can't be loaded: %s", endpoint.name, error.message)
            hint = "is it running? the server's log says where it is"
            raise InvalidState("the online store does not answer", hint=hint) from error

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
                    self.load(endpoint, endpoint.plans)
                except Exception as error:
                    self._waiting[endpoint.name] = _why_not(error)
                    raise
                self.activate(endpoint.name, endpoint.generation)

    def postpone(self, endpoint: Endpoint) -> bool:
        """Let a stored endpoint wait for `serve` whose models take long to load; whether it is such a one."""
        takes_long = endpoint.state.ready and self._generations.takes_long(endpoint)
        if takes_long:
            self._waiting[endpoint.name] = "its model takes a while to load: it is proved, or has a process of its own"
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

    def paths(self) -> Mapping[str, Mapping[str, str]]:
        """How each active entity answers, and why so, by endpoint and entity."""
        return self._generations.paths()

    def counts(self) -> Mapping[str, object]:
        """What was answered since the start, what waits now, and on which paths, as JSON."""
        return {
            **self._desk.counts.read(),
            "waiting": self._generations.waiting(),
            "paths": self.paths(),
            "shadows": self._desk.shadows.read(),
        }

    def stuck(self, for_s: float) -> WatchedThreads | None:
        """Threads of which none has come back for so long, while others wait for one; None where there are none.

        Those are the one that slow models share which have no process of their own, and those of an endpoint's lookups. On
        the event loop.
        """
        return self._generations.stuck(for_s)

    def rested_s(self) -> float:
        """For how long nobody has asked anything."""
        return time.perf_counter() - self._desk.asked_s

    def rest(self) -> bool:
        """Let idle models leave memory, where their endpoints want that; whether one did. On the event loop."""
        return self._generations.rest()

    def loads_at_once(self) -> bool:
        """Whether all that is served now would be there again within moments."""
        return not self._waiting and self._generations.loads_at_once()

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
            sent: Sent = dict(scope["headers"])
            asked = self._desk.admit(route, _caller(scope), sent, scope.get("query_string", b""))
            raw = await self._read(sent, receive)
        except Refused as refused:
            self._desk.counts.refused(self._directory.known_name(scope["path"]), refused.status)
            error = error_v2 if scope["path"].startswith("/v2") else error_body
            await _respond(send, refused.status, error(refused.code, str(refused)), refused.headers)
        except Gone:
            pass
        else:
            await self._answer(self._desk.begin(asked, sent, raw), send)

    async def _read(self, sent: Sent, receive: Receive) -> bytes | None:
        """The body, unpacked; None where it is over the limit."""
        coding = coding_of(sent)
        try:
            body = await self._arrivals.body(sent.get(b"content-length", b""), receive)
        except asyncio.CancelledError:  # as in `_answer`
            raise Refused(UNAVAILABLE, "TEMPORARILY_UNAVAILABLE", "the server stops", LATER) from None
        if body is None or coding == "identity":
            return body
        try:
            return unpack(body, self.limits.body_bytes)
        except ValueError:
            message = "the body is not whole gzip, as its Content-Encoding says"
            raise Refused(BAD_REQUEST, "BAD_REQUEST", message) from None

    async def _answer(self, visit: Visit, send: Send) -> None:
        desk, reply = self._desk, None
        CURRENT.set(visit.name)
        try:
            reply = desk.too_large(visit) if visit.exchange is None else await answer(visit.exchange)
            record = desk.record(visit, reply)
            kept = record is None or desk.capture is None or await desk.capture.keep(*record)
            response = desk.response(visit, reply, kept=kept)
        except asyncio.CancelledError:
            # The server stops. Nothing comes after this answer, and raised further it would be logged as a failure.
            reply, response = None, desk.stopped(visit)
        except Exception as error:  # noqa: BLE001 - the boundary of a request: what nobody foresaw is logged and told as no more than that
            reply, response = None, desk.broken(visit, error)
        finally:
            desk.end(visit)
        await _respond(send, response.status, response.body, response.headers)
        if reply is not None:
            desk.copy(visit, reply)


def _why_not(error: Exception) -> str:
    if isinstance(error, MillraceError):
        return error.message
    return f"it can't be loaded: {type(error).__name__}; the server's log says where"


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
