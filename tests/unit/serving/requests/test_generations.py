"""Which models are in memory: those that answer, those to go back to, and no others."""

from __future__ import annotations

import asyncio
import json
import pickle
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # noqa: TID253 - a test
import pytest
from sklearn.tree import DecisionTreeRegressor  # noqa: TID253 - a test

from millrace.features.adapters.lmdb_online import LmdbOnlineStore
from millrace.serving.bodies.body import PLAIN
from millrace.serving.bodies.dialects import JSON
from millrace.serving.endpoints.endpoints import endpoint_config, served_entity
from millrace.serving.models.paths.kept import KeptProofs, key_of
from millrace.serving.models.paths.outcome import Outcome
from millrace.serving.models.turns import Limits
from millrace.serving.requests.answer import answer
from millrace.serving.requests.exchange import Exchange, Question
from millrace.serving.requests.generations import Generations, ServedEndpoint
from millrace.serving.requests.served import ServedModel
from millrace.serving.types import FEATURE_SPEC, Endpoint, EndpointName, EndpointState, LoadPlan, ServedEntity
from tests.unit.serving.conftest import START, WriteModel

SLEEPY = {"scale_to_zero_enabled": True, "scale_to_zero_after_s": 60}
ONE, TWO = served_entity("double", "1"), served_entity("triple", "2")
QUESTION = Question(json.dumps({"dataframe_records": [{"x": 2.0}, {"x": 5.0}]}).encode(), JSON, PLAIN)
MakeEndpoint = Callable[..., Endpoint]


class Seconds:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def generations(tmp_path: Path, seconds: Seconds) -> Iterator[Generations]:
    online = LmdbOnlineStore(tmp_path / "online")
    yield Generations(online, Limits(), now_s=seconds)
    online.close()


@pytest.fixture
def endpoint(write_model: WriteModel) -> MakeEndpoint:
    """Endpoints of models that multiply 0 to 9 by two or three."""
    folders = {}
    for entity, factor in ((ONE, 2), (TWO, 3)):
        details = {"pickled_model": "model.pkl", "serialization_format": "pickle"}
        folder = write_model(entity.name, {"sklearn": details}, [("x", "double")], example=[[1.0], [2.0]])
        rows = pd.DataFrame({"x": np.arange(10.0)})
        (folder / "model.pkl").write_bytes(pickle.dumps(DecisionTreeRegressor().fit(rows, rows["x"] * factor)))
        folders[entity.entity_name] = str(folder)

    def make(generation: int, *entities: ServedEntity) -> Endpoint:
        shares = {entity.name: 100 // len(entities) for entity in entities}
        plans = [LoadPlan(each, folders[each.entity_name], "sklearn", (("x", "double"),), None) for each in entities]
        return Endpoint(
            name=EndpointName("prices"),
            id="e",
            generation=generation,
            config=endpoint_config(*entities, traffic=shares),
            plans=tuple(plans),
            pending=None,
            state=EndpointState(ready=True, config_update="NOT_UPDATING"),
            created_at=START,
            updated_at=START,
            owner="user:ada",
        )

    return make


def switch(generations: Generations, to: Endpoint) -> ServedEndpoint:
    generations.load(to)
    generations.activate(to.name, to.generation)
    active = generations.active(to.name)
    assert active is not None
    return active


def model_of(active: ServedEndpoint, entity: str | None = None) -> weakref.ref[Any]:
    """The function that predicts, which is what holds a model in memory."""
    served = active.first if entity is None else active.entities[entity]
    assert isinstance(served, ServedModel)
    model: Any = served.model
    return weakref.ref(getattr(model, "_turns", model).predictor.function)


def test_older_generations_leave_memory_and_the_previous_one_stays(
    generations: Generations, endpoint: MakeEndpoint
) -> None:
    # The same version run in another way is another model.
    runs = [ONE, replace(ONE, settings={"batching": False}), TWO]
    models = [model_of(switch(generations, endpoint(at, entity))) for at, entity in enumerate(runs, start=1)]
    assert [model() is not None for model in models] == [False, True, True]
    generations.load(endpoint(4, ONE))
    generations.discard("prices", 4)
    generations.remove("prices")
    assert [model() is not None for model in models] == [False, False, False]


def test_what_is_there_again_within_moments(generations: Generations, endpoint: MakeEndpoint, seconds: Seconds) -> None:
    assert generations.loads_at_once()
    active = switch(generations, endpoint(1, ONE))
    assert active.first.path.startswith("onnx: ")
    assert generations.loads_at_once()
    generations.load(endpoint(2, TWO))
    assert not generations.loads_at_once()  # it may be activated in a moment
    generations.activate("prices", 2)
    assert generations.loads_at_once()
    assert isinstance(active.first, ServedModel)
    before: Any = active.first.model
    before.predictor = replace(before.predictor, path="sklearn")
    assert not generations.loads_at_once()  # that one would be missed by who goes back
    generations.remove("prices")
    switch(generations, endpoint(3, replace(ONE, settings=SLEEPY)))
    assert generations.loads_at_once()
    seconds.now += 61
    assert generations.rest()
    assert not generations.loads_at_once()  # all would be awake


def test_what_must_be_proved_first_takes_long(tmp_path: Path, endpoint: MakeEndpoint) -> None:
    online, proofs, made = LmdbOnlineStore(tmp_path / "online"), KeptProofs(tmp_path / "proofs"), endpoint(1, ONE)
    key = key_of(Path(made.plans[0].path))
    (tmp_path / "proofs").mkdir()
    asked = Generations(online, Limits(), proofs=tmp_path / "proofs")
    assert asked.takes_long(made)
    proofs.write(key, Outcome("pyfunc", "a library is missing", lasting=False), None)
    assert asked.takes_long(made)
    proofs.write(key, Outcome("pyfunc", "it is of no known kind"), None)
    assert not asked.takes_long(made)
    assert not Generations(online, Limits()).takes_long(made)  # nothing is kept: who asks waits
    features = replace(made, plans=(LoadPlan(ONE, "", FEATURE_SPEC, (), None),))
    assert not asked.takes_long(features)
    online.close()


def test_going_back_takes_the_model_that_is_still_there(generations: Generations, endpoint: MakeEndpoint) -> None:
    first = model_of(switch(generations, endpoint(1, ONE)))
    switch(generations, endpoint(2, TWO))
    assert model_of(switch(generations, endpoint(3, ONE)))() is first()


def test_a_request_ends_with_the_model_that_it_began_with(generations: Generations, endpoint: MakeEndpoint) -> None:
    model = model_of(switch(generations, endpoint(1, ONE)))
    begun = generations.active("prices")
    assert begun is not None

    async def ask(begun: ServedEndpoint) -> bytes:
        running = answer(Exchange(begun, None, QUESTION, START))
        for generation in (2, 3):
            switch(generations, endpoint(generation, TWO))
        generations.remove("prices")
        return (await running).body

    assert json.loads(asyncio.run(ask(begun))) == {"predictions": [4.0, 10.0]}
    del begun
    assert model() is None


def test_an_idle_model_leaves_memory_and_comes_back(
    generations: Generations, endpoint: MakeEndpoint, seconds: Seconds
) -> None:
    sleepy = replace(ONE, settings=SLEEPY)
    active = switch(generations, endpoint(1, sleepy, TWO))
    model, other = model_of(active, "double-1"), model_of(active, "triple-2")
    path = active.entities["double-1"].path
    seconds.now = 59
    assert not generations.rest()
    seconds.now = 60
    assert generations.rest()
    assert (generations.asleep(), model(), other() is None) == ({"prices": ["double-1"]}, None, False)
    assert active.entities["double-1"].path == path  # what it was, and will be
    assert generations.waiting() == {"prices": {"double-1": 0, "triple-2": 0}}

    reply = asyncio.run(answer(Exchange(active, "double-1", QUESTION, START)))
    assert (reply.status, json.loads(reply.body)) == (200, {"predictions": [4.0, 10.0]})
    assert generations.asleep() == {}
    # What is deployed anew is awake when it takes traffic.
    seconds.now = 1000
    assert generations.rest()
    switch(generations, endpoint(2, sleepy))
    assert generations.asleep() == {}


def test_a_model_that_is_gone_when_it_is_woken_is_said_so(
    generations: Generations, endpoint: MakeEndpoint, seconds: Seconds
) -> None:
    active = switch(generations, endpoint(1, replace(ONE, settings=SLEEPY)))
    seconds.now = 60
    assert generations.rest()
    file = Path(active.first.plan.path) / "MLmodel"
    kept = file.read_bytes()
    file.unlink()
    reply = asyncio.run(answer(Exchange(active, None, QUESTION, START)))
    assert (reply.status, json.loads(reply.body)["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
    file.write_bytes(kept)
    assert asyncio.run(answer(Exchange(active, None, QUESTION, START))).status == 200
