from __future__ import annotations

import asyncio
import selectors
import time

import pytest

from millrace.serving.requests.wakefulness import Wakefulness


class _Looks(selectors.DefaultSelector):
    """Counts how often a loop that has something to do looks whether something came, until it goes to sleep."""

    count = 0
    asleep: asyncio.Future[None]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout == 0:
            self.count += 1
        elif not self.asleep.done():
            self.asleep.set_result(None)
        return super().select(0)


def turns(monkeypatch: pytest.MonkeyPatch, *, answers: int = 1, processors: int = 2) -> int:
    """How often a loop that has nothing to do has looked all the same."""
    monkeypatch.setattr("os.cpu_count", lambda: processors)
    looks = _Looks()

    async def story() -> None:
        looks.asleep = asyncio.get_running_loop().create_future()
        wakefulness = Wakefulness()
        for _ in range(answers):
            wakefulness.stay()
        await looks.asleep

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(looks)) as runner:
        runner.run(story())
        return looks.count


def test_a_loop_looks_again_and_again_for_a_moment_and_then_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = [0.0]

    def ticking() -> float:
        seconds[0] += 0.00001
        return seconds[0]

    monkeypatch.setattr(time, "perf_counter", ticking)
    once, never = turns(monkeypatch), turns(monkeypatch, answers=0)
    assert 7 <= once - never <= 12
    assert once <= turns(monkeypatch, answers=3) <= once + 4


def test_one_processor_is_left_to_those_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    assert turns(monkeypatch, processors=1) == turns(monkeypatch, answers=0)
