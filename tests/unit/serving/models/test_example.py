from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from millrace.core.errors import InvalidInput
from millrace.serving.endpoints.endpoints import served_entity
from millrace.serving.inputs import Inputs
from millrace.serving.models.example import check_example
from millrace.serving.models.mlmodel import read_model_folder
from millrace.serving.models.turns import TooSlow
from millrace.serving.types import LoadPlan, Prediction

SIGNATURE = [("a", "double"), ("region", "string")]
EXAMPLE: Sequence[Sequence[object]] = [[1.0, "north"], [-2.0, "south"], [3.0, None]]
MakePlan = Callable[[Sequence[Sequence[object]] | None], LoadPlan]
# As many rows are asked as half of it has room for, by how long the first one took.
AMPLE_S = 3600.0


class Asked:
    """A predictor out of a function of its inputs."""

    path, why, quick_rows = "pyfunc", "test", 0

    def __init__(self, answer: Callable[[Inputs], Sequence[object]]) -> None:
        self.asked: list[Inputs] = []
        self._answer = answer

    def predict(self, inputs: Inputs) -> Prediction:
        self.asked.append(inputs)
        return Prediction(self._answer(inputs), None)


@pytest.fixture
def plan(write_model: Callable[..., Path]) -> MakePlan:
    def make(example: Sequence[Sequence[object]] | None) -> LoadPlan:
        folder = write_model("model", {"python_function": {}}, SIGNATURE, example=example)
        facts = read_model_folder(folder)
        return LoadPlan(served_entity("ml.models.churn", "2"), str(folder), facts.flavor, facts.inputs, None)

    return make


def refuses(*values: float) -> Callable[[Inputs], list[object]]:
    """A model that raises over rows with such values, and quotes them."""

    def answer(inputs: Inputs) -> list[object]:
        found = set(values) & set(inputs.numbers[:, 0].tolist())
        if found:
            raise KeyError(f"{found} of {inputs.texts}")
        return [0] * len(inputs)

    return answer


def test_the_first_row_of_the_example_is_asked_and_then_all_together(plan: MakePlan) -> None:
    model = Asked(refuses())
    check_example(model, plan(EXAMPLE), AMPLE_S)
    first, asked = model.asked
    assert (first.numbers[:, 0].tolist(), first.texts) == ([1.0], (["north"],))
    assert (asked.numbers[:, 0].tolist(), asked.texts) == ([1.0, -2.0, 3.0], (["north", "south", None],))


def test_a_long_example_is_asked_for_its_first_rows(plan: MakePlan) -> None:
    model = Asked(refuses())
    check_example(model, plan([[float(row), "x"] for row in range(1000)]), AMPLE_S)
    assert [len(asked) for asked in model.asked] == [1, 16]


def test_a_slow_model_is_asked_for_no_more_rows_than_it_has_time_for(plan: MakePlan) -> None:
    def slow(inputs: Inputs) -> list[object]:
        if len(model.asked) == 1:
            time.sleep(1)
        return [0] * len(inputs)

    model = Asked(slow)
    check_example(model, plan([[float(row), "x"] for row in range(1000)]), 20)
    assert len(model.asked[0]) == 1
    assert sum(map(len, model.asked[1:])) <= 10  # as many as take half of the time


def test_a_model_that_takes_several_rows_only_is_taken(plan: MakePlan) -> None:
    def several(inputs: Inputs) -> list[object]:
        if len(inputs) == 1:
            raise KeyError("a group")
        return [0] * len(inputs)

    check_example(Asked(several), plan(EXAMPLE), AMPLE_S)


def test_some_rows_may_be_refused_and_not_all(plan: MakePlan) -> None:
    example = plan(EXAMPLE)
    check_example(Asked(refuses(1.0, 3.0)), example, AMPLE_S)
    with pytest.raises(InvalidInput) as failed:
        check_example(Asked(refuses(1.0, -2.0, 3.0)), example, AMPLE_S)
    assert failed.value.message == "model 'ml.models.churn' version 2 can't predict its own example: KeyError"


@pytest.mark.parametrize("given", [0, 1, 4])
def test_there_is_a_label_for_each_row(plan: MakePlan, given: int) -> None:
    with pytest.raises(InvalidInput, match=f"its own example: the model gave {given} predictions for 3 rows"):
        check_example(Asked(lambda _: [0] * given), plan(EXAMPLE), AMPLE_S)


def test_an_answer_must_come_in_time(plan: MakePlan) -> None:
    gate = threading.Event()

    def waits(inputs: Inputs) -> list[object]:
        assert gate.wait(60)
        return [0] * len(inputs)

    with pytest.raises(InvalidInput, match="its own example: it does not answer in time"):
        check_example(Asked(waits), plan(EXAMPLE), 0.05)
    gate.set()


def test_who_did_not_answer_in_time_is_not_asked_again(plan: MakePlan) -> None:
    def slow(_: Inputs) -> list[object]:
        raise TooSlow

    model = Asked(slow)
    with pytest.raises(InvalidInput, match="does not answer in time"):
        check_example(model, plan(EXAMPLE), AMPLE_S)
    assert len(model.asked) == 1


@pytest.mark.parametrize(
    "content",
    [None, [], {}, {"columns": ["a"], "data": [[1.0]]}, {"columns": ["a", "region"], "data": [["one", "x"]]}, "{"],
)
def test_without_an_example_of_its_columns_nothing_is_asked(plan: MakePlan, content: Any) -> None:
    found, model = plan(None if content is None else EXAMPLE), Asked(refuses(1.0))
    if content is not None:
        text = content if isinstance(content, str) else json.dumps(content)
        (Path(found.path) / "input_example.json").write_text(text)
    check_example(model, found, AMPLE_S)
    assert model.asked == []


def test_of_a_long_example_no_more_is_read_than_is_asked(plan: MakePlan) -> None:
    rows: list[list[object]] = [*([float(row), "x"] for row in range(16)), ["no number", "x"]]
    model = Asked(refuses())
    check_example(model, plan(rows), AMPLE_S)
    assert [len(asked) for asked in model.asked] == [1, 16]
