"""From a request's bytes to a response's bytes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from millrace.serving.models.turns import TooSlow
from millrace.serving.port import Reply
from millrace.serving.requests.bulkhead import Bulkhead
from millrace.serving.requests.exchange import Exchange

# What is larger is read beside the event loop, so that others are answered meanwhile.
MOST_BYTES_ON_LOOP, MOST_ROWS_ON_LOOP = 256 << 10, 1000
_T = TypeVar("_T")


async def answer(exchange: Exchange) -> Reply:
    """Answer a request: take the steps that are left. Never raises: see `Exchange.failed`."""
    try:
        if not exchange.is_read:
            await _read(exchange)
        lookups = exchange.endpoint.lookups
        if lookups is not None:
            exchange.choose()
            return await _in_time(exchange, _looked_up(exchange, lookups))
        if not exchange.is_open:
            await _taken(exchange.open, beside=exchange.rows > MOST_ROWS_ON_LOOP)
        return await _predicted(exchange)
    except Exception as error:  # noqa: BLE001 - the boundary of a request: a foreign model may raise anything
        return exchange.failed(error)


async def _read(exchange: Exchange) -> None:
    question = exchange.question
    if question.dialect.beside:
        await _in_time(exchange, exchange.endpoint.bodies.take(exchange.read))
    else:
        await _taken(exchange.read, beside=len(question.raw) > MOST_BYTES_ON_LOOP)


async def _in_time(exchange: Exchange, step: Awaitable[_T]) -> _T:
    """What a step comes to that waits for others, in the time that it may take."""
    limit = asyncio.timeout(exchange.endpoint.answer_s)
    try:
        async with limit:
            return await step
    except TimeoutError:
        if limit.expired():
            raise TooSlow from None
        raise


async def _looked_up(exchange: Exchange, lookups: Bulkhead) -> Reply:
    """Look up what may have to be waited for, and predict."""
    await lookups.take(exchange.open)
    return await _predicted(exchange)


async def _predicted(exchange: Exchange) -> Reply:
    started = time.perf_counter()
    inputs, model = exchange.inputs, exchange.model
    prediction = None if inputs is None or model is None else await model.predict(inputs)
    return exchange.reply(prediction, time.perf_counter() - started)


async def _taken(step: Callable[[], None], *, beside: bool) -> None:
    if beside:
        await asyncio.to_thread(step)
    else:
        step()
