from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from millrace.serving.models.turns import Limits
from millrace.serving.requests.admission import Refused
from millrace.serving.requests.arrival import Arrivals, Gone

Message = dict[str, Any]


def part(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def client(*messages: Message | float) -> Callable[[], Awaitable[Message]]:
    """Sends messages, and waits for seconds where there are such."""
    left = list(messages)

    async def receive() -> Message:
        first = left.pop(0)
        if isinstance(first, dict):
            return first
        await asyncio.sleep(first)
        return await receive()

    return receive


def arrived(
    *messages: Message | float, declared: bytes = b"", most: int = 10, patience_s: float = 60.0
) -> bytes | None:
    return asyncio.run(Arrivals(Limits(body_bytes=most, body_s=patience_s)).body(declared, client(*messages)))


def test_a_body_comes_whole_or_in_parts() -> None:
    assert arrived(part(b"12345")) == b"12345"
    assert arrived(part(b"12345"), declared=b"5 ") == b"12345"
    assert arrived(part(b"12", more=True), 0.01, part(b"34", more=True), part(b"")) == b"1234"


@pytest.mark.parametrize("declared", [b"11", b"99999999999999", b"-1", b"x"])
def test_what_is_declared_too_large_is_not_awaited(declared: bytes) -> None:
    assert arrived(60.0, declared=declared) is None


def test_what_is_too_large_is_not_read_to_its_end() -> None:
    assert arrived(part(b"x" * 11)) is None
    assert arrived(part(b"x" * 6, more=True), part(b"x" * 6, more=True), 60.0) is None


def test_who_goes_away_is_not_answered() -> None:
    for messages in ([part(b"1", more=True), {"type": "http.disconnect"}], [{"type": "http.disconnect"}]):
        with pytest.raises(Gone):
            arrived(*messages)


@pytest.mark.parametrize("sent", [[], [part(b"1", more=True)]], ids=["nothing", "a part"])
def test_who_is_silent_too_long_is_refused(sent: list[Message]) -> None:
    with pytest.raises(Refused) as refused:
        arrived(*sent, 60.0, patience_s=0.1)
    assert refused.value.status == 408


def test_one_timer_looks_after_all_and_ends_with_them() -> None:
    arrivals = Arrivals(Limits(body_s=2.0))

    async def run() -> list[Any]:
        late = [arrivals.body(b"", client(60.0)) for _ in range(3)]
        found: list[Any] = await asyncio.gather(
            arrivals.body(b"", client(0, part(b"in time"))), *late, return_exceptions=True
        )
        until = time.monotonic() + 60
        while arrivals._timer is not None:
            assert time.monotonic() < until
            await asyncio.sleep(0.01)
        return found

    first, *others = asyncio.run(run())
    assert first == b"in time"
    assert [type(other) for other in others] == [Refused] * 3


def test_a_task_that_is_cancelled_by_others_stays_cancelled() -> None:
    async def run() -> None:
        task = asyncio.create_task(Arrivals(Limits()).body(b"", client(60.0)))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
