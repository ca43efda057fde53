from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from millrace.serving.inputs import Inputs
from millrace.serving.models.turns import Busy, Limits, Raised, TooSlow, Turns
from millrace.serving.request_log import CURRENT
from millrace.serving.types import Prediction


class Doubling:
    """Doubles numbers and repeats texts; waits for a gate, and fails on negative numbers."""

    path = why = ""

    def __init__(self, quick_rows: int = 0) -> None:
        self.quick_rows = quick_rows
        self.gate = threading.Event()
        self.gate.set()
        self.calls: list[tuple[int, str]] = []

    def predict(self, inputs: Inputs) -> Prediction:
        assert self.gate.wait(60)
        self.calls.append((len(inputs), threading.current_thread().name))
        if (inputs.numbers < 0).any():
            raise ValueError("negative")
        return Prediction((inputs.numbers[:, 0] * 2).tolist(), list(map(float, inputs.texts[0])))  # type: ignore[arg-type]


def one(value: float, text: str = "0") -> Inputs:
    return Inputs(np.array([[value]]), ([text],))


@pytest.fixture
def turns() -> Iterator[Callable[..., Turns]]:
    thread = ThreadPoolExecutor(1, thread_name_prefix="predict")

    def make(predictor: Doubling, limits: Limits | None = None, **more: bool) -> Turns:
        return Turns(predictor, thread, limits or Limits(), **more)

    yield make
    thread.shutdown()


def together(turns: Turns, model: Doubling, asked: list[Inputs]) -> list[Any]:
    """Ask all while the thread is held up by a first one."""

    async def ask() -> list[Any]:
        model.gate.clear()
        first = asyncio.create_task(turns.predict(one(0)))
        await asyncio.sleep(0.01)
        tasks = [asyncio.create_task(turns.predict(inputs)) for inputs in asked]
        await asyncio.sleep(0.01)
        model.gate.set()
        await first
        return await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(ask())


def run(coroutine: Coroutine[Any, Any, Prediction]) -> Prediction:
    return asyncio.run(coroutine)


def test_what_is_quick_is_predicted_at_once_and_the_rest_on_the_thread(turns: Callable[..., Turns]) -> None:
    model = Doubling(quick_rows=1)
    assert run(turns(model).predict(one(3, "7"))) == Prediction([6.0], [7.0])
    assert run(turns(model).predict(Inputs(np.array([[1.0], [2.0]]), (["1", "2"],)))).labels == [2.0, 4.0]
    assert [name.startswith("predict") for _, name in model.calls] == [False, True]


def test_who_waits_is_answered_in_one_call_each_with_its_own(turns: Callable[..., Turns]) -> None:
    model = Doubling()
    answers = together(turns(model), model, [one(1, "1"), Inputs(np.array([[2.0], [3.0]]), (["2", "3"],)), one(4, "4")])
    assert [answer.labels for answer in answers] == [[2.0], [4.0, 6.0], [8.0]]
    assert [answer.probabilities for answer in answers] == [[1.0], [2.0, 3.0], [4.0]]
    assert [rows for rows, _ in model.calls] == [1, 4]


def test_models_that_look_beyond_a_row_are_asked_one_request_at_a_time(turns: Callable[..., Turns]) -> None:
    model = Doubling()
    answers = together(turns(model, together=False), model, [one(1), one(2)])
    assert [answer.labels for answer in answers] == [[2.0], [4.0]]
    assert [rows for rows, _ in model.calls] == [1, 1, 1]


def test_a_row_that_fails_fails_alone(turns: Callable[..., Turns]) -> None:
    model = Doubling()
    good, bad, late = together(turns(model), model, [one(1), one(-1), one(2)])
    assert (good.labels, late.labels) == ([2.0], [4.0])
    assert isinstance(bad, ValueError)


def test_the_model_is_asked_in_the_name_of_those_who_wait_and_of_nobody_else(turns: Callable[..., Turns]) -> None:
    class Noting(Doubling):
        def predict(self, inputs: Inputs) -> Prediction:
            names.append((inputs.numbers[:, 0].tolist(), CURRENT.get()))
            return super().predict(inputs)

    names: list[tuple[list[float], tuple[str, str] | None]] = []
    model = Noting()
    mine = turns(model)

    async def ask(value: float, request: str | None) -> object:
        CURRENT.set(None if request is None else (request, "churn"))
        return (await asyncio.gather(mine.predict(one(value)), return_exceptions=True))[0]

    async def story() -> None:
        model.gate.clear()
        tasks = []
        for value, request in ((0, "r-0"), (1, "r-1"), (-2, "r-2"), (3, None)):
            tasks.append(asyncio.create_task(ask(value, request)))
            await asyncio.sleep(0.01)
        model.gate.set()
        await asyncio.gather(*tasks)

    asyncio.run(story())
    assert names == [
        ([0.0], ("r-0", "churn")),
        ([1.0, -2.0, 3.0], ("r-1 r-2", "churn")),  # one of them fails, so each is asked for alone
        ([1.0], ("r-1", "churn")),
        ([-2.0], ("r-2", "churn")),
        ([3.0], None),
    ]


def test_what_is_predicted_at_once_is_so_in_the_name_of_those_of_its_call(turns: Callable[..., Turns]) -> None:
    class Noting(Doubling):
        def predict(self, inputs: Inputs) -> Prediction:
            names.append((inputs.numbers[:, 0].tolist(), CURRENT.get()))
            return super().predict(inputs)

    names: list[tuple[list[float], tuple[str, str] | None]] = []
    asked, whose = [one(1), one(-2), one(3)], [("r-1", "churn"), ("r-2", "churn"), ("r-3", "churn")]
    first, second, third = turns(Noting(9)).predict_all(asked, whose)
    assert isinstance(first, Prediction)
    assert isinstance(third, Prediction)
    assert (first.labels, type(second), third.labels) == ([2.0], ValueError, [6.0])
    alone = [([1.0], whose[0]), ([-2.0], whose[1]), ([3.0], whose[2])]
    assert names == [([1.0, -2.0, 3.0], ("r-1 r-2 r-3", "churn")), *alone]
    names.clear()
    turns(Noting(9), together=False).predict_all(asked, whose)
    assert names == alone
    assert CURRENT.get() is None


def test_calls_of_many_rows_are_several(turns: Callable[..., Turns]) -> None:
    model = Doubling(4000)
    rows = [4000, 4000, 3000, 4000, 0, 4000]
    asked = [Inputs(np.full((count, 1), float(at)), (["0"] * count,)) for at, count in enumerate(rows)]
    answers = turns(model).predict_all(asked, [(f"r-{at}", "churn") for at in range(len(rows))])
    # 8192 rows at most in one call.
    assert [count for count, _ in model.calls] == [8000, 7000, 4000]
    labels = [each.labels for each in answers if isinstance(each, Prediction)]
    assert labels == [[2.0 * at] * count for at, count in enumerate(rows)]


def test_no_more_wait_than_may(turns: Callable[..., Turns]) -> None:
    model = Doubling()
    answers = together(turns(model, Limits(waiting=2)), model, [one(1), one(2), one(3)])
    assert [type(answer) for answer in answers] == [Prediction, Prediction, Busy]


def test_who_waits_too_long_is_told_so_and_not_asked_for(turns: Callable[..., Turns]) -> None:
    model = Doubling()
    mine = turns(model, Limits(answer_s=0.05))

    async def ask() -> Prediction:
        model.gate.clear()
        slow = asyncio.create_task(mine.predict(one(1)))
        await asyncio.sleep(0.01)
        waiting = asyncio.create_task(mine.predict(one(2)))
        for task in (slow, waiting):
            with pytest.raises(TooSlow):
                await task
        model.gate.set()
        mine._limits = Limits()  # from here on a busy machine has its time
        return await mine.predict(one(5))

    assert run(ask()).labels == [10.0]
    assert [rows for rows, _ in model.calls] == [1, 1]


def test_a_model_that_gives_too_few_predictions_fails(turns: Callable[..., Turns]) -> None:
    class Short(Doubling):
        def predict(self, inputs: Inputs) -> Prediction:
            return Prediction(super().predict(inputs).labels[1:], None)

    with pytest.raises(Raised, match="gave 0 predictions for 1 rows"):
        run(turns(Short()).predict(one(1)))


def test_probabilities_that_are_too_few_are_no_answer(turns: Callable[..., Turns]) -> None:
    class Short(Doubling):
        def predict(self, inputs: Inputs) -> Prediction:
            return Prediction([1.0] * len(inputs), [0.5])

    asked = [one(1), one(2)]
    answers = turns(Short(9)).predict_all(asked, [("r-1", "churn"), ("r-2", "churn")])
    # Together there is one for two rows; alone each has its own.
    assert [each.probabilities for each in answers if isinstance(each, Prediction)] == [[0.5], [0.5]]
