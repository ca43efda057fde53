"""Predictions that take their time: beside the event loop, on one thread, those that wait together in one call."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextvars import Context
from dataclasses import dataclass
from typing import NamedTuple

from millrace.serving.inputs import Inputs, joined
from millrace.serving.port import Predictor
from millrace.serving.request_log import CURRENT, Name
from millrace.serving.types import Prediction, parts

_MOST_ROWS = 1024  # of several requests in one call; a single one may be larger
# The same where all are quick and wait for nothing else: only memory bounds it.
_MOST_ROWS_AT_ONCE = 8192


class Busy(Exception):
    """As many requests wait as may: this one is not taken."""


class TooSlow(Exception):
    """The prediction did not come in time."""


class Unavailable(Exception):
    """The model can't be asked now, and may be later."""


class Raised(Exception):
    """The model went wrong; says what, in none of the model's own words."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a worker takes on.

    Attributes:
        body_bytes: the largest body, also after it was unpacked.
        waiting: how many requests may wait for one model, for a lookup of one endpoint, or for a Parquet body of it to be read.
        answer_s: the longest that a caller waits for a prediction; for a lookup that may wait for others, and the prediction after it.
        lookups: how many of these lookups an endpoint makes at once.
        body_s: the longest that a body may take to arrive.
    """

    body_bytes: int = 16 << 20
    waiting: int = 256
    answer_s: float = 60.0
    lookups: int = 8
    body_s: float = 60.0


class _Waiting(NamedTuple):
    """Rows to predict, whose they are (as in `CURRENT`), and where the prediction goes."""

    inputs: Inputs
    request: Name | None
    future: asyncio.Future[Prediction]


class Turns:
    """A predictor and those who wait for it. Used by one event loop; the predictor is used by one thread at a time.

    What is quick is predicted at once, on the loop. The rest waits for the thread, without a timer: when a call ends,
    all that came meanwhile is the next call.

    Args:
        predictor: a model.
        thread: where slow predictions run; shared by all models of a worker.
        limits: how many may wait, and how long.
        together: whether rows of several requests may be in one call. Only right for models that look at each row alone.
    """

    def __init__(
        self, predictor: Predictor, thread: ThreadPoolExecutor, limits: Limits, *, together: bool = True
    ) -> None:
        self.predictor = predictor
        self._thread, self._limits, self._together = thread, limits, together
        self._waiting: deque[_Waiting] = deque()
        self._turn: Sequence[_Waiting] = ()
        self._running: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    def waits_for(self, thread: Executor) -> bool:
        """See `Model.waits_for`."""
        return self._thread is thread and any(not each.future.done() for each in (*self._turn, *self._waiting))

    @property
    def path(self) -> str:
        """The predict path and why."""
        return f"{self.predictor.path}: {self.predictor.why}"

    def is_quick(self, rows: int) -> bool:
        """See `Model.is_quick`."""
        return self._running is None and rows <= self.predictor.quick_rows

    def predict_all(self, asked: Sequence[Inputs], names: Sequence[Name]) -> Sequence[Prediction | Exception]:
        """See `Model.predict_all`."""
        most_rows = _MOST_ROWS_AT_ONCE if self._together else 0
        answers: list[Prediction | Exception] = []
        for call in _calls(asked, most_rows):
            answers += self._at_once(call, names[len(answers) : len(answers) + len(call)])
        return answers

    async def predict(self, inputs: Inputs) -> Prediction:
        """See `Model.predict`."""
        if self.is_quick(len(inputs)):
            return self.predictor.predict(inputs)
        if len(self._waiting) >= self._limits.waiting:
            raise Busy
        future: asyncio.Future[Prediction] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(inputs, CURRENT.get(), future))
        if self._running is None:
            # In nobody's name: it goes on for those who come later.
            self._running = asyncio.create_task(self._run(), context=Context())
        try:
            return await asyncio.wait_for(future, self._limits.answer_s)
        except TimeoutError:
            raise TooSlow from None

    def _at_once(self, call: Sequence[Inputs], names: Sequence[Name]) -> Sequence[Prediction | Exception]:
        before = CURRENT.set(_joined_name(names))
        try:
            return parts(checked(self.predictor.predict(joined(call)), call), call)
        except Exception as error:  # noqa: BLE001 - a foreign model may raise anything; each caller gets its own
            if len(call) == 1:
                return [error]
        finally:
            CURRENT.reset(before)
        # One bad row must not fail the others that happened to come with it.
        return [each for one, name in zip(call, names, strict=True) for each in self._at_once([one], [name])]

    async def _run(self) -> None:
        try:
            while turn := self._next():
                self._turn = turn
                await self._answer(turn)
        finally:
            self._turn, self._running = (), None

    def _next(self) -> list[_Waiting]:
        """Who is answered by the next call; who gave up waiting is not."""
        turn: list[_Waiting] = []
        rows = 0
        while self._waiting and not (turn and (not self._together or rows + len(self._waiting[0].inputs) > _MOST_ROWS)):
            each = self._waiting.popleft()
            if not each.future.done():
                turn.append(each)
                rows += len(each.inputs)
        return turn

    async def _answer(self, turn: Sequence[_Waiting]) -> None:
        try:
            names = [each.request for each in turn if each.request is not None]
            predictions = await self._call([each.inputs for each in turn], _joined_name(names))
        except Exception as error:  # noqa: BLE001 - a foreign model may raise anything; each caller gets its own
            if len(turn) > 1:
                # One bad row must not fail the others that happened to come with it.
                for each in turn:
                    if not each.future.done():
                        await self._answer([each])
            else:
                _fail(turn[0].future, error)
            return
        for each, prediction in zip(turn, predictions, strict=True):
            if not each.future.done():
                each.future.set_result(prediction)

    async def _call(self, asked: Sequence[Inputs], request: Name | None) -> Sequence[Prediction]:
        # A thread knows nothing of the request; what a model logs there must be known to be about one.
        context = Context()
        context.run(CURRENT.set, request)
        loop, predict = asyncio.get_running_loop(), self.predictor.predict
        prediction = await loop.run_in_executor(self._thread, context.run, predict, joined(asked))
        return parts(checked(prediction, asked), asked)


def _calls(asked: Sequence[Inputs], most_rows: int) -> Iterator[list[Inputs]]:
    """What goes into one call each: requests in a row, of `most_rows` together, or one alone."""
    if len(asked) > 1 and sum(map(len, asked)) <= most_rows:
        yield list(asked)
        return
    call: list[Inputs] = []
    rows = 0
    for each in asked:
        if call and rows + len(each) > most_rows:
            yield call
            call, rows = [], 0
        call.append(each)
        rows += len(each)
    if call:
        yield call


def checked(prediction: Prediction, asked: Sequence[Inputs]) -> Prediction:
    """The prediction, which has something for each row. Raises Raised where it has not."""
    rows = sum(map(len, asked))
    for given in (prediction.labels, prediction.probabilities):
        if given is not None and len(given) != rows:
            raise Raised(f"the model gave {len(given)} predictions for {rows} rows")
    return prediction


def _joined_name(names: Sequence[Name]) -> Name | None:
    """The requests of a call as one: all their ids."""
    return (" ".join([name for name, _ in names]), names[0][1]) if names else None


def _fail(future: asyncio.Future[Prediction], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
