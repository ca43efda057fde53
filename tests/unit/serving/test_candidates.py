"""What control has a worker load: what is new must predict its own example, what has served before need not again."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd  # noqa: TID253 - a test
import pytest
from sklearn.tree import DecisionTreeRegressor  # noqa: TID253 - a test

from millrace.api.attendance import Attendance
from millrace.api.channel import Message
from millrace.api.wire import to_wire
from millrace.api.worker import Commands
from millrace.core.clock import ManualClock
from millrace.core.errors import InvalidInput, InvalidState
from millrace.database.engine import open_database
from millrace.features.adapters.lmdb_online import LmdbOnlineStore
from millrace.features.adapters.redis_online import RedisOnlineStore
from millrace.features.spec import to_json
from millrace.features.types import FeatureLookup, FeatureSpec
from millrace.serving.adapters.sql_endpoints import SqlEndpointStore
from millrace.serving.capture.capture_log import CaptureLog
from millrace.serving.endpoints.endpoints import endpoint_config, served_entity
from millrace.serving.requests.hot import HotApp
from millrace.serving.types import FEATURE_SPEC, Endpoint, EndpointName, EndpointState, Former, LoadPlan
from tests.unit.serving.conftest import START, WriteModel

GOOD, NEVER = [[1.0]], [[float("inf")]]
NOBODY = 1  # no server has this port


@dataclass
class Worker:
    """A worker that has just started: its commands, what it serves, and what is stored."""

    app: HotApp
    commands: Commands
    store: SqlEndpointStore

    def load(self, endpoint: Endpoint) -> Message:
        return asyncio.run(self.commands.handle({"do": "load", "endpoint": to_wire(endpoint)}))


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    clock, online = ManualClock(START), LmdbOnlineStore(tmp_path / "online")
    capture = CaptureLog(tmp_path / "capture", "w0", clock)
    app, store = HotApp(clock, online, capture), SqlEndpointStore(open_database("sqlite://"))
    yield Worker(app, Commands(app, capture, store, Attendance(lambda: True, 0)), store)
    capture.close()
    online.close()


@pytest.fixture
def plans(write_model: WriteModel) -> list[LoadPlan]:
    """Version 1 can predict its own example; 2 and 3, which was never served, can't."""
    rows = pd.DataFrame({"x": np.arange(10.0)})
    made = []
    for version, example in (("1", GOOD), ("2", NEVER), ("3", NEVER)):
        details = {"pickled_model": "model.pkl", "serialization_format": "pickle"}
        folder = write_model(f"model-{version}", {"sklearn": details}, [("x", "double")], example=example)
        (folder / "model.pkl").write_bytes(pickle.dumps(DecisionTreeRegressor().fit(rows, rows["x"])))
        entity = served_entity("ml.models.prices", version)
        made.append(LoadPlan(entity, str(folder), "sklearn", (("x", "double"),), None))
    return made


def endpoint(generation: int, plan: LoadPlan) -> Endpoint:
    state, config = EndpointState(ready=True, config_update="NOT_UPDATING"), endpoint_config(plan.entity)
    return Endpoint(EndpointName("prices"), "e", generation, config, (plan,), None, state, START, START, "user:ada")


def test_what_is_stored_is_served_whether_it_predicts_its_example_or_not(worker: Worker, plans: list[LoadPlan]) -> None:
    worker.store.add(endpoint(4, plans[1]))
    asyncio.run(worker.commands.start())
    assert (worker.app.served(), worker.app.waiting()) == ({"prices": 4}, {})


def test_a_worker_that_was_replaced_goes_back_to_what_served_before(worker: Worker, plans: list[LoadPlan]) -> None:
    now = endpoint(4, plans[0])
    worker.store.add(replace(now, previous=Former(endpoint_config(plans[1].entity), (plans[1],))))
    asyncio.run(worker.commands.start())
    assert "prices-2" in str(worker.load(endpoint(5, plans[1])))


def test_what_is_new_must_predict_its_example(worker: Worker, plans: list[LoadPlan]) -> None:
    with pytest.raises(InvalidInput, match="version 3 can't predict its own example"):
        worker.load(endpoint(1, plans[2]))
    worker.store.add(endpoint(4, plans[0]))
    asyncio.run(worker.commands.start())
    with pytest.raises(InvalidInput, match="version 3 can't predict its own example"):
        worker.load(endpoint(5, plans[2]))
    again = replace(plans[0], entity=replace(plans[0].entity, settings={"batching": False}))
    assert "prices-1" in str(worker.load(endpoint(5, again)))


def test_where_the_online_store_is_stays_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    clock, online = ManualClock(START), RedisOnlineStore(f"redis://127.0.0.1:{NOBODY}")
    app = HotApp(clock, online, None)
    spec = to_json(FeatureSpec((FeatureLookup("ml.features.spend", "id"),), None, (), ("spend",)))
    plan = LoadPlan(served_entity("ml.specs.spend", None), "", FEATURE_SPEC, (), spec)
    with pytest.raises(InvalidState, match="the online store does not answer") as failed:
        app.load(endpoint(1, plan))
    with pytest.raises(InvalidState):
        app.serve([endpoint(1, plan)])
    assert app.waiting() == {"prices": "the online store does not answer"}
    assert "127.0.0.1" not in str(failed.value)
    assert f"127.0.0.1:{NOBODY}" in caplog.text
    online.close()
