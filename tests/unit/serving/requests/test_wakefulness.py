from __future__ import annotations

import asyncio
import time

import pytest

from millrace.serving.requests.wakefulness import Wakefulness


def turns(within_s: float, monkeypatch: pytest.MonkeyPatch, *, answers: int = 1, processors: int = 2) -> int:
    """How often a loop that has nothing to do has looked whether something came."""
    monkeypatch.setattr("os.cpu_count", lambda: processors)

    async def story() -> int:
        loop = asyncio.get_running_loop()
        looks, select = 0, loop._selector.select  # type: ignore[attr-defined]

        def counted(timeout: float | None = None) -> object:
            nonlocal looks
            looks += timeout == 0
            return select(timeout)

        loop._selector.select = counted  # type: ignore[attr-defined]
        wakefulness = Wakefulness()
        for _ in range(answers):
            wakefulness.stay()
        await asyncio.sleep(within_s)
        return looks

    return asyncio.run(story())


def test_a_loop_looks_again_and_again_for_a_moment_and_then_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = [0.0]

    def ticking() -> float:
        seconds[0] += 0.00001
        return seconds[0]

    monkeypatch.setattr(time, "perf_counter", ticking)
    once = turns(0.05, monkeypatch)
    assert 7 <= once <= 12
    assert once <= turns(0.05, monkeypatch, answers=3) <= once + 4


def test_one_processor_is_left_to_those_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    assert turns(0.01, monkeypatch, processors=1) <= 2
