from __future__ import annotations

import asyncio
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from millrace.serving.inputs import Inputs
from millrace.serving.models.sleeper import Sleeper
from millrace.serving.models.turns import Busy, Limits, TooSlow, Turns, Unavailable
from millrace.serving.types import Prediction


class Doubling:
    path, why, quick_rows = "doubling", "it is simple", 10

    def predict(self, inputs: Inputs) -> Prediction:
        return Prediction((inputs.numbers[:, 0] * 2).tolist(), None)


class World:
    """A model that is loaded as often as it is asked for, and a clock."""

    def __init__(self, *, idle_s: float = 60.0, limits: Limits | None = None) -> None:
        self.now_s = 1000.0
        self.loaded: list[weakref.ref[Doubling]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.broken = False
        self.limits = limits or Limits()
        self.thread = ThreadPoolExecutor(1)
        self.sleeper = Sleeper(self._load(), self._load, idle_s, self.limits, lambda: self.now_s)

    def _load(self) -> Turns:
        assert self.gate.wait(60)
        if self.broken:
            raise OSError("no such file")
        model = Doubling()
        self.loaded.append(weakref.ref(model))
        return Turns(model, self.thread, self.limits)

    @property
    def in_memory(self) -> int:
        return sum(model() is not None for model in self.loaded)

    async def ask(self, value: float) -> object:
        return (await self.sleeper.predict(Inputs(np.array([[value]])))).labels[0]

    def fall_asleep(self) -> None:
        self.now_s += 60
        assert self.sleeper.rest()


def test_a_model_falls_asleep_when_nobody_asks_and_comes_back() -> None:
    world = World()
    assert asyncio.run(world.ask(3)) == 6
    world.now_s += 59
    assert not world.sleeper.rest()
    assert (world.sleeper.is_asleep, world.in_memory) == (False, 1)
    world.now_s += 1
    assert world.sleeper.rest()
    assert (world.sleeper.is_asleep, world.in_memory) == (True, 0)
    assert not world.sleeper.rest()
    assert world.sleeper.path == "doubling: it is simple"

    assert asyncio.run(world.ask(4)) == 8
    assert (world.sleeper.is_asleep, world.in_memory, len(world.loaded)) == (False, 1, 2)
    world.now_s += 59  # since it was asked
    assert not world.sleeper.rest()


def test_many_first_requests_load_once_and_others_go_on_meanwhile() -> None:
    world = World()
    world.fall_asleep()

    async def ask() -> list[object]:
        world.gate.clear()
        asked = [asyncio.create_task(world.ask(value)) for value in range(20)]
        await asyncio.sleep(0.01)
        # The loop is free while the model loads, and it does not fall asleep under those who wait.
        assert world.sleeper.waiting == 20
        world.now_s += 1000
        assert not world.sleeper.rest()
        world.gate.set()
        return await asyncio.gather(*asked)

    assert asyncio.run(ask()) == [2 * value for value in range(20)]
    assert len(world.loaded) == 2


def test_waiting_for_the_load_is_bounded() -> None:
    world = World(limits=Limits(waiting=2, answer_s=0.05))
    world.fall_asleep()

    async def ask() -> list[Any]:
        world.gate.clear()
        answers = await asyncio.gather(*(world.ask(value) for value in range(3)), return_exceptions=True)
        world.gate.set()
        # Who gave up did not end the load.
        until = time.monotonic() + 60
        while world.sleeper.is_asleep:
            assert time.monotonic() < until
            await asyncio.sleep(0.01)
        return [*answers, await world.ask(5)]

    first, second, third, late = asyncio.run(ask())
    assert (type(first), type(second), type(third), late) == (TooSlow, TooSlow, Busy, 10)
    assert len(world.loaded) == 2


def test_a_load_that_fails_is_tried_again_by_the_next(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.fall_asleep()
    world.broken = True
    with pytest.raises(Unavailable):
        asyncio.run(world.ask(1))
    assert "can't be loaded" in caplog.text
    world.broken = False
    assert asyncio.run(world.ask(1)) == 2


def test_what_is_deployed_is_woken_first() -> None:
    world = World()
    world.fall_asleep()
    world.sleeper.wake()
    assert (world.sleeper.is_asleep, len(world.loaded)) == (False, 2)
    world.sleeper.wake()
    assert len(world.loaded) == 2
    assert not world.sleeper.rest()
