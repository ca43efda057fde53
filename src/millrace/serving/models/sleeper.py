"""Scale to zero: a model that leaves memory when nobody asks, and comes back for the first who does."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from millrace.serving.inputs import Inputs
from millrace.serving.models.turns import Busy, Limits, TooSlow, Turns, Unavailable
from millrace.serving.request_log import Name
from millrace.serving.types import Prediction

_LOG = logging.getLogger(__name__)


class Sleeper:
    """Turns at a model that may be asleep, which is: not in memory. Used by one event loop, `wake` apart.

    Args:
        turns: the model, which is in memory at first.
        load: loads it again; slow. Called by the first request after a sleep.
        idle_s: how long nobody must have asked before it may fall asleep.
        limits: how many may wait for it, and how long.
        now_s: tells how long that is; only differences count.
    """

    def __init__(
        self,
        turns: Turns,
        load: Callable[[], Turns],
        idle_s: float,
        limits: Limits,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load, self._idle_s, self._limits, self._now_s = load, idle_s, limits, now_s
        self._turns: Turns | None = turns
        self.path = turns.path
        self._asking = 0
        self._used_s = now_s()
        self._waking: asyncio.Task[Turns | None] | None = None

    @property
    def is_asleep(self) -> bool:
        """Whether it is not in memory."""
        return self._turns is None

    @property
    def waiting(self) -> int:
        """How many requests wait, for the model or for their turn at it."""
        return self._asking if self._turns is None else self._turns.waiting

    def waits_for(self, thread: Executor) -> bool:
        """See `Model.waits_for`."""
        return self._turns is not None and self._turns.waits_for(thread)

    def is_quick(self, rows: int) -> bool:
        """See `Model.is_quick`; a model that is asleep never is."""
        return self._turns is not None and self._turns.is_quick(rows)

    def predict_all(self, asked: Sequence[Inputs], names: Sequence[Name]) -> Sequence[Prediction | Exception]:
        """See `Model.predict_all`."""
        assert self._turns is not None  # noqa: S101 - it was quick, and falls asleep on the same loop
        self._used_s = self._now_s()
        return self._turns.predict_all(asked, names)

    async def predict(self, inputs: Inputs) -> Prediction:
        """See `Model.predict`; where the model is asleep, after it was loaded, which counts as waiting.

        Raises:
            Unavailable: it can't be loaded now; the next request tries again.
        """
        if self._turns is None and self._asking >= self._limits.waiting:
            raise Busy
        self._asking += 1
        try:
            turns = self._turns
            return await (self._first(inputs) if turns is None else turns.predict(inputs))
        finally:
            self._asking -= 1
            self._used_s = self._now_s()

    def wake(self) -> None:
        """Load it, where it is asleep, in this thread. Raises as loading does."""
        self._used_s = self._now_s()
        if self._turns is None:
            self._turns = self._load()
            self.path = self._turns.path

    def rest(self) -> bool:
        """Let it fall asleep if nobody has asked for long enough; whether it did."""
        if self._turns is None or self._asking or self._now_s() - self._used_s < self._idle_s:
            return False
        self._turns = None
        return True

    async def _first(self, inputs: Inputs) -> Prediction:
        """Load and predict, all within the time that a caller waits."""
        try:
            async with asyncio.timeout(self._limits.answer_s):
                return await (await self._woken()).predict(inputs)
        except TimeoutError:
            raise TooSlow from None

    async def _woken(self) -> Turns:
        if self._waking is None:
            self._waking = asyncio.create_task(self._wake())
        turns = await asyncio.shield(self._waking)  # who gives up waiting does not end it for the others
        if turns is None:
            raise Unavailable("it could not be loaded")
        return turns

    async def _wake(self) -> Turns | None:
        try:
            await asyncio.to_thread(self.wake)
        except Exception:  # noqa: BLE001 - a foreign model may raise anything
            _LOG.exception("a model that was asleep can't be loaded")
        finally:
            self._waking = None
        return self._turns
