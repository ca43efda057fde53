"""Copies of requests, for entities that answer in the shadow of others: when the callers have their answers, and while there is time.

What a shadow answers is kept, and nobody else ever sees it. Nor does anybody wait for it: copies that the worker has no time for
are dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime

from millrace.serving.capture.records import Request
from millrace.serving.port import Reply
from millrace.serving.request_log import CURRENT
from millrace.serving.requests.answer import answer
from millrace.serving.requests.exchange import Exchange, Question
from millrace.serving.requests.generations import ServedEndpoint

_MOST_COPIES = 64  # that wait
_MOST_BYTES = 64 << 10  # of one: a shadow answers on the loop, which larger ones would hold up
_BUSY_S = 0.005  # the loop takes longer than this to come round while it is busy
_BUSY_REQUESTS = 4  # that are being answered at once

_LOG = logging.getLogger(__name__)

# Keeps a reply to a request that began then, by time.perf_counter.
Keep = Callable[[Reply, Request, float], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class _Copy:
    """A request that waits for a shadow."""

    endpoint: ServedEndpoint
    entity: str
    question: Question
    request: Request
    asked_at: datetime


class Shadows:
    """The copies of one worker. Used by one event loop.

    Args:
        keep: captures an answer.
        answering: how many requests are being answered now.
    """

    def __init__(self, keep: Keep, answering: Callable[[], int]) -> None:
        self._keep, self._answering = keep, answering
        self._waiting: deque[_Copy] = deque()
        self._running: asyncio.Task[None] | None = None
        self._counts: dict[tuple[str, str], list[int]] = {}

    def offer(
        self, endpoint: ServedEndpoint, reply: Reply, question: Question, request: Request, asked_at: datetime
    ) -> None:
        """Copy a request that was answered to those shadows whose share it falls into."""
        for entity, router in endpoint.shadows.items():
            if router.choose(reply.key) == entity:
                self._take(_Copy(endpoint, entity, question, request, asked_at))

    def read(self) -> list[Mapping[str, object]]:
        """How many copies each shadow has answered, and how many were dropped, as JSON."""
        return [
            {"endpoint": endpoint, "entity": entity, "answered": answered, "dropped": dropped}
            for (endpoint, entity), (answered, dropped) in self._counts.items()
        ]

    async def idle(self) -> None:
        """Wait until no copy waits any more."""
        while self._running is not None:
            await self._running

    def _take(self, copy: _Copy) -> None:
        if len(self._waiting) >= _MOST_COPIES or len(copy.question.raw) > _MOST_BYTES:
            self._count(copy, answered=False)
            return
        self._waiting.append(copy)
        if self._running is None:
            # In nobody's name: it answers copies of many requests.
            self._running = asyncio.create_task(self._run(), context=Context())

    async def _run(self) -> None:
        try:
            while self._waiting:
                is_busy = await self._is_busy()
                copy = self._waiting.popleft()
                self._count(copy, answered=not is_busy and await self._answer(copy))
        finally:
            self._running = None

    async def _is_busy(self) -> bool:
        """Let all that is ready run first; whether that was much."""
        began = time.perf_counter()
        await asyncio.sleep(0)
        return time.perf_counter() - began > _BUSY_S or self._answering() > _BUSY_REQUESTS

    async def _answer(self, copy: _Copy) -> bool:
        """Answer a copy and keep the answer; whether that was possible."""
        began = time.perf_counter()
        CURRENT.set((copy.request.id, copy.endpoint.name))
        try:
            reply = await answer(Exchange(copy.endpoint, copy.entity, copy.question, copy.asked_at))
            await self._keep(reply, copy.request, began)
        except Exception:  # noqa: BLE001 - the boundary of one copy: the others are answered
            _LOG.exception("endpoint %s: a copy for its shadow %s is lost", copy.endpoint.name, copy.entity)
            return False
        return True

    def _count(self, copy: _Copy, *, answered: bool) -> None:
        counts = self._counts.setdefault((copy.endpoint.name, copy.entity), [0, 0])
        counts[not answered] += 1
