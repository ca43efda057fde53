"""The short way for requests that come whole: those of one turn of the event loop are answered together.

Together they take one look-up, one call of each model and one write of the capture, where each alone would take its own.
Nobody waits for that: they are all there.
"""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass
from typing import Protocol

from millrace.access.types import Caller
from millrace.serving.bodies.body import Dialect, Envelope
from millrace.serving.capture.capture_log import CaptureLog, Kept
from millrace.serving.port import Model, Reply
from millrace.serving.request_log import CURRENT
from millrace.serving.requests.admission import Sent, coding_of
from millrace.serving.requests.answer import MOST_BYTES_ON_LOOP, MOST_ROWS_ON_LOOP, answer
from millrace.serving.requests.desk import Admission, Desk, Response, Visit
from millrace.serving.requests.exchange import Exchange, open_together
from millrace.serving.requests.generations import ServedEndpoint
from millrace.serving.requests.routes import route_of
from millrace.serving.requests.wakefulness import Wakefulness
from millrace.serving.types import Prediction

_LOG = logging.getLogger(__name__)


class Visitor(Protocol):
    """A connection that waits for an answer."""

    def respond(self, response: Response) -> None:
        """Send it; nothing where nobody is there any more."""
        ...


@dataclass(slots=True, eq=False)
class Head:
    """What a POST request says before its body, and what was found for it the last time.

    The same is sent again and again, and looked up once.
    """

    path: str
    query: bytes
    sent: Sent
    found: _Found | None = None


@dataclass(slots=True, eq=False)
class _Passage:
    """A request in the lane.

    Attributes:
        spent_s: so long took what was done for it, alone and in one go with others of its turn.
        reply: None until there is one.
        broken: what goes back in place of the reply, where that can't be made or kept.
    """

    visitor: Visitor
    visit: Visit
    exchange: Exchange
    spent_s: float = 0.0
    reply: Reply | None = None
    broken: Response | None = None

    @property
    def is_answered(self) -> bool:
        """Whether there is something to send."""
        return self.reply is not None or self.broken is not None


@dataclass(slots=True, eq=False)
class _Found:
    """An admission, but for the endpoint: what is not served any more must not be kept in memory by who once asked it."""

    caller: Caller
    endpoint: weakref.ref[ServedEndpoint]
    entity: str | None
    dialect: Dialect
    envelope: Envelope


class Lane:
    """Answers the whole requests of one event loop.

    Attributes:
        most_bytes: of a body.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._together: list[_Passage] = []
        self.most_bytes = min(MOST_BYTES_ON_LOOP, desk.limits.body_bytes)
        self._alone = set[asyncio.Task[None]]()
        self._wakefulness = Wakefulness()

    def admits(self, head: Head, caller: Caller) -> bool:
        """Whether a request with such a head is looked at when its body is there; the usual way may say no before."""
        try:
            return self._admission(head, caller) is not None
        except Exception:  # noqa: BLE001 - as in `takes`
            return False

    def takes(self, head: Head, caller: Caller, body: bytes, visitor: Visitor) -> bool:
        """Take a request, and answer it in the next turn of the loop, or when its model has the time.

        False for what is not simply to be answered, and is left to the usual way, which also says why not.
        """
        if len(body) > self.most_bytes:
            return False
        try:
            admission = self._admission(head, caller)
            if admission is None:
                return False
            visit = self._desk.begin(admission, head.sent, body)
        except Exception:  # noqa: BLE001 - refused, or what nobody foresaw: the usual way comes to the same, and tells it
            return False
        assert visit.exchange is not None  # noqa: S101 - there is a body
        self._take(_Passage(visitor, visit, visit.exchange))
        return True

    def _admission(self, head: Head, caller: Caller) -> Admission | None:
        """What is asked; None for what is no prediction, is packed, or is read beside the loop. Raises Refused."""
        found = head.found
        endpoint = None if found is None or found.caller is not caller else found.endpoint()
        if found is not None and endpoint is not None and self._desk.directory.is_active(endpoint):
            return Admission(caller.name, endpoint, found.entity, found.dialect, found.envelope)
        route = route_of(head.path)
        if route is None or route.what != "answer" or coding_of(head.sent) != "identity":
            return None
        admission = self._desk.admit(route, caller, head.sent, head.query)
        if admission.dialect.beside:
            return None
        if route.endpoint is not None:
            asked = weakref.ref(admission.endpoint)
            head.found = _Found(caller, asked, admission.entity, admission.dialect, admission.envelope)
        return admission

    def _take(self, passage: _Passage) -> None:
        before = CURRENT.set(passage.visit.name)
        try:
            passage.exchange.read()
            if passage.exchange.rows <= MOST_ROWS_ON_LOOP and not passage.exchange.may_wait:
                passage.exchange.choose()
                if not passage.exchange.served.looks_up:
                    passage.exchange.open()
        except Exception as error:  # noqa: BLE001 - the boundary of a request: nobody foresaw what it is
            self._fail(passage, error)
        finally:
            CURRENT.reset(before)
        passage.spent_s = time.perf_counter() - passage.visit.started
        if not self._together:
            asyncio.get_running_loop().call_soon(self._answer, context=Context())
        self._together.append(passage)

    def _answer(self) -> None:
        passages, self._together = self._together, []
        for group in _groups(filter(self._is_to_be_looked_up, passages), lambda each: each.exchange.served):
            for lot in _lots(group):
                self._open(lot)
        for group in _groups(filter(self._is_quick, passages), lambda each: each.exchange.model):
            try:
                self._predict(group)
            except Exception as error:  # noqa: BLE001 - the boundary of requests: those of other models are answered
                for passage in group:
                    self._fail(passage, error)
        answered = [passage for passage in passages if passage.is_answered]
        for passage in answered:
            passage.visit.own_s = passage.spent_s
        self._keep(answered)
        for passage in passages:
            if not passage.is_answered:
                self._answer_alone(passage)
        if len(passages) == 1 and passages[0].is_answered:  # where many ask, there is always one who keeps it awake
            self._wakefulness.stay()

    def _is_to_be_looked_up(self, passage: _Passage) -> bool:
        exchange = passage.exchange
        return exchange.is_chosen and not exchange.is_open and not passage.is_answered

    def _open(self, passages: Sequence[_Passage]) -> None:
        """Look up what one entity is asked. Where a request is wrong, it is found by halves: the others share what they can."""
        started, wrong = time.perf_counter(), None
        try:
            open_together([passage.exchange for passage in passages])
        except Exception as error:  # noqa: BLE001 - the boundary of a request
            wrong = error
        took_s = time.perf_counter() - started
        for passage in passages:
            passage.spent_s += took_s
        if wrong is None:
            return
        if len(passages) == 1:
            self._fail(passages[0], wrong)
            return
        middle = len(passages) // 2
        self._open(passages[:middle])
        self._open(passages[middle:])

    def _is_quick(self, passage: _Passage) -> bool:
        exchange = passage.exchange
        if passage.is_answered or not exchange.is_open:
            return False
        return exchange.model is None or exchange.model.is_quick(exchange.rows)

    def _predict(self, passages: Sequence[_Passage]) -> None:
        """Predict what one model is asked."""
        started, model = time.perf_counter(), passages[0].exchange.model
        predictions: Sequence[Prediction | Exception | None] = [None] * len(passages)
        if model is not None:
            predictions = _predicted(model, passages)
        took_s = time.perf_counter() - started
        for passage, prediction in zip(passages, predictions, strict=True):
            self._reply(passage, prediction, took_s)
            passage.spent_s += took_s

    def _reply(self, passage: _Passage, prediction: Prediction | Exception | None, took_s: float) -> None:
        if isinstance(prediction, Exception):
            self._fail(passage, prediction)
            return
        try:
            passage.reply = passage.exchange.reply(prediction, took_s)
        except Exception as error:  # noqa: BLE001 - the boundary of a request: what an answer is written from is a foreign model's
            self._fail(passage, error)

    def _fail(self, passage: _Passage, error: Exception) -> None:
        with _as_of(passage):
            try:
                passage.reply = passage.exchange.failed(error)
            except Exception as worse:  # noqa: BLE001 - as above: nobody waits forever
                passage.broken = self._desk.broken(passage.visit, worse)

    def _answer_alone(self, passage: _Passage) -> None:
        context = Context()
        context.run(CURRENT.set, passage.visit.name)
        task = asyncio.get_running_loop().create_task(self._alone_answered(passage), context=context)
        self._alone.add(task)
        task.add_done_callback(self._alone.discard)

    async def _alone_answered(self, passage: _Passage) -> None:
        try:
            passage.reply = await answer(passage.exchange)
        except asyncio.CancelledError:
            self._cut(passage)
            raise
        except Exception as error:  # noqa: BLE001 - the boundary of a request
            self._fail(passage, error)
        self._keep([passage])

    def _cut(self, passage: _Passage) -> None:
        try:
            passage.broken = self._desk.stopped(passage.visit)
        except Exception as error:  # noqa: BLE001 - as above
            passage.broken = self._broken(passage, error)
        self._respond([passage], kept=True)

    def _keep(self, passages: Sequence[_Passage]) -> None:
        """Keep what is to be kept, and then, or when the disk has it, send the answers."""
        recorded, others, records = list[_Passage](), list[_Passage](), list[Kept]()
        for passage in passages:
            record = self._record(passage)
            if record is None:
                others.append(passage)
            else:
                recorded.append(passage)
                records.append(record)
        self._respond(others, kept=True)
        if records and self._desk.capture is not None:
            self._keep_all(self._desk.capture, recorded, records)

    def _keep_all(self, capture: CaptureLog, passages: Sequence[_Passage], records: Sequence[Kept]) -> None:
        try:
            kept = capture.keep_all(records)
        except Exception as error:  # noqa: BLE001 - the boundary of a request, which is found by keeping each alone
            if len(records) > 1:
                for passage, record in zip(passages, records, strict=True):
                    self._keep_all(capture, [passage], [record])
                return
            passages[0].broken, kept = self._broken(passages[0], error), True
        if isinstance(kept, bool):
            self._respond(passages, kept=kept)
        else:
            kept.add_done_callback(lambda done: self._respond(passages, kept=done.result()))

    def _record(self, passage: _Passage) -> Kept | None:
        if passage.broken is not None or passage.reply is None:
            return None
        try:
            return self._desk.record(passage.visit, passage.reply)
        except Exception as error:  # noqa: BLE001 - the boundary of a request: the others of this turn are answered
            passage.broken = self._broken(passage, error)
            return None

    def _respond(self, passages: Sequence[_Passage], *, kept: bool) -> None:
        for passage in passages:
            response = self._response(passage, kept=kept)
            self._desk.end(passage.visit)
            try:
                passage.visitor.respond(response)
                if passage.broken is None and passage.reply is not None:
                    self._desk.copy(passage.visit, passage.reply)
            except Exception as error:  # noqa: BLE001 - as above
                with _as_of(passage):
                    _LOG.error("an answer, or its copy for a shadow, could not be sent", exc_info=error)

    def _response(self, passage: _Passage, *, kept: bool) -> Response:
        if passage.broken is None:
            assert passage.reply is not None  # noqa: S101 - one of them is there
            try:
                return self._desk.response(passage.visit, passage.reply, kept=kept)
            except Exception as error:  # noqa: BLE001 - as above
                passage.broken = self._broken(passage, error)
        return passage.broken

    def _broken(self, passage: _Passage, error: Exception) -> Response:
        with _as_of(passage):
            return self._desk.broken(passage.visit, error)


def _groups(passages: Iterable[_Passage], asked: Callable[[_Passage], object]) -> Iterable[list[_Passage]]:
    """Those that ask the same together; each alone where entities share an endpoint, whose times are compared."""
    groups: dict[int, list[_Passage]] = {}
    for passage in passages:
        is_alone = not passage.visit.asked.endpoint.is_undivided
        groups.setdefault(id(passage if is_alone else asked(passage)), []).append(passage)
    return groups.values()


def _lots(passages: Sequence[_Passage]) -> Iterator[list[_Passage]]:
    """As many at a time as have no more rows together than one request may."""
    lot: list[_Passage] = []
    rows = 0
    for passage in passages:
        if lot and rows + passage.exchange.rows > MOST_ROWS_ON_LOOP:
            yield lot
            lot, rows = [], 0
        lot.append(passage)
        rows += passage.exchange.rows
    yield lot


def _predicted(model: Model, passages: Sequence[_Passage]) -> Sequence[Prediction | Exception]:
    names = [each.visit.name for each in passages]
    try:
        return model.predict_all([each.exchange.inputs for each in passages if each.exchange.inputs is not None], names)
    except Exception as error:  # noqa: BLE001 - the boundary of requests: a foreign model may raise anything
        return [error] * len(passages)


@contextmanager
def _as_of(passage: _Passage) -> Iterator[None]:
    """What is logged meanwhile is about this request."""
    before = CURRENT.set(passage.visit.name)
    try:
        yield
    finally:
        CURRENT.reset(before)
