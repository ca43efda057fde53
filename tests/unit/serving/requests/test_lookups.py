"""What waits for others while it is looked up waits beside the event loop, within a limit: here somebody's function."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from millrace.access.types import CALLER
from millrace.core.clock import ManualClock
from millrace.features.adapters.lmdb_online import LmdbOnlineStore
from millrace.features.feature_specs import make_feature_spec
from millrace.features.functions.source import define
from millrace.features.spec import to_json
from millrace.features.types import FeatureFunction, FunctionVersion
from millrace.lake.lake import Lake
from millrace.serving.endpoints.endpoints import endpoint_config, served_entity
from millrace.serving.models.turns import Limits
from millrace.serving.requests.hot import HotApp
from millrace.serving.requests.lane import Head
from millrace.serving.types import Endpoint, EndpointName, EndpointState, LoadPlan
from tests.unit.serving.conftest import START
from tests.unit.serving.lanes import ADA, JSON, Visitor, answered, told

GAVE_UP_S = 240.0


def when_there(path: str) -> float:
    """Waits for a file, in vain for four minutes."""
    import time
    from pathlib import Path

    until = time.monotonic() + 240
    while not Path(path).exists():
        if time.monotonic() > until:
            return -1.0
        time.sleep(0.005)
    return 1.0


def at_once(path: str) -> float:
    return float(len(path))


@dataclass
class Worker:
    """A worker's hot app with `slow`, which waits for the file `gate`, and `quick`."""

    app: HotApp
    gate: Path

    async def ask(self, name: str, method: str = "POST", path: str = "") -> tuple[int, Any, dict[str, str]]:
        sent: list[Any] = []
        body = json.dumps({"dataframe_records": [{"path": str(self.gate)}]}).encode()

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body}

        async def send(message: Any) -> None:
            sent.append(message)

        scope: dict[str, Any] = {"type": "http", "method": method, CALLER: ADA, "headers": list(JSON.items())}
        scope["path"] = path or f"/serving-endpoints/{name}/invocations"
        await self.app(scope, receive, send)
        start, end = sent
        heads = {key.decode(): value.decode() for key, value in start["headers"]}
        return start["status"], json.loads(end["body"]), heads

    def enter(self, name: str) -> Visitor:
        """Ask by the short way."""
        visitor = Visitor()
        head = Head(f"/serving-endpoints/{name}/invocations", b"", JSON)
        body = json.dumps({"dataframe_records": [{"path": str(self.gate)}]}).encode()
        assert self.app.lane.takes(head, ADA, body, visitor)
        return visitor

    def patience(self, name: str, answer_s: float) -> None:
        """How long those who ask from now on wait for their answer."""
        endpoint = self.app._generations.active(name)
        assert endpoint is not None
        endpoint.answer_s = answer_s


Open = Callable[[Limits], Worker]


@pytest.fixture
def open_worker(lake: Lake, clock: ManualClock, tmp_path: Path) -> Iterator[Open]:
    online, gate = LmdbOnlineStore(tmp_path / "online"), tmp_path / "gate"

    def endpoint(name: str, function: Callable[..., object]) -> Endpoint:
        version = FunctionVersion(define(function.__name__, function), 1, "", "user:ada", START)
        wanted = FeatureFunction(function.__name__, {"path": "path"})
        spec = to_json(make_feature_spec(lake, [wanted], lambda _: version, as_of=clock.now()))
        entity = served_entity("ml.specs.waits", None, name)
        plan, state = LoadPlan(entity, "", "feature_spec", (), spec), EndpointState(True, "NOT_UPDATING")
        return Endpoint(
            EndpointName(name), name, 1, endpoint_config(entity), (plan,), None, state, START, START, "user:ada"
        )

    def opened(limits: Limits) -> Worker:
        app = HotApp(clock, online, None, limits)
        app.serve([endpoint("slow", when_there), endpoint("quick", at_once)])
        return Worker(app, gate)

    yield opened
    gate.touch()  # threads that still wait
    online.close()


def test_others_are_answered_meanwhile(open_worker: Open) -> None:
    worker = open_worker(Limits())

    async def story() -> None:
        began = time.monotonic()
        waiting = [asyncio.create_task(worker.ask("slow")) for _ in range(3)]
        entered = worker.enter("slow")
        await asyncio.sleep(0)
        assert (await worker.ask("quick"))[0] == 200
        assert (await worker.ask("", "GET", "/v2/health/live"))[0] == 200
        beside = worker.enter("quick")
        await answered(beside)
        assert beside.status == 200
        assert not any(task.done() for task in waiting)
        assert not entered.responses
        assert time.monotonic() - began < GAVE_UP_S
        worker.gate.touch()
        await answered(entered)
        assert {status for status, _, _ in await asyncio.gather(*waiting)} == {entered.status} == {200}
        assert (await waiting[0])[1] == entered.content == {"outputs": [{"when_there": 1.0}]}

    told(story)


def test_what_takes_too_long_is_given_up(open_worker: Open) -> None:
    worker = open_worker(Limits(answer_s=0.2))

    async def story() -> None:
        entered = worker.enter("slow")
        status, content, heads = await worker.ask("slow")
        await answered(entered)
        for told_status, said in ((status, content), (entered.status, entered.content)):
            assert (told_status, said["error_code"]) == (504, "DEADLINE_EXCEEDED")
            assert said["message"] == "'slow' did not answer in time"
        assert heads["served-model-name"] == "slow"

    told(story)


def test_a_stalled_one_has_its_threads_and_no_more(open_worker: Open) -> None:
    worker = open_worker(Limits(answer_s=60, waiting=2, lookups=3))

    async def story() -> None:
        waiting = [asyncio.create_task(worker.ask("slow")) for _ in range(5)]
        await asyncio.sleep(0)
        status, content, heads = await worker.ask("slow")
        assert (status, content["error_code"], heads["retry-after"]) == (429, "RESOURCE_EXHAUSTED", "5")
        assert (await worker.ask("quick"))[0] == 200
        worker.gate.touch()
        assert {status for status, _, _ in await asyncio.gather(*waiting)} == {200}
        assert (await worker.ask("slow"))[0] == 200

    told(story)


def test_a_thread_that_nobody_waits_for_any_more_is_not_free_before_it_has_ended(open_worker: Open) -> None:
    worker = open_worker(Limits(answer_s=0.2, waiting=1, lookups=1))

    async def story() -> None:
        assert (await worker.ask("slow"))[0] == 504  # its thread goes on
        waits = asyncio.create_task(worker.ask("slow"))
        await asyncio.sleep(0)
        assert (await worker.ask("slow"))[0] == 429
        assert (await waits)[0] == 504
        worker.gate.touch()
        until = time.monotonic() + GAVE_UP_S
        while (await worker.ask("slow"))[0] != 200:
            assert time.monotonic() < until
            await asyncio.sleep(0.01)

    told(story)


def test_a_function_that_never_returns_is_seen_where_others_wait_for_its_threads(open_worker: Open) -> None:
    worker = open_worker(Limits(answer_s=2, lookups=2))

    async def story() -> None:
        assert (await worker.ask("slow"))[0] == 504
        assert worker.app.stuck(1) is None  # a thread is free
        assert (await worker.ask("slow"))[0] == 504
        assert worker.app.stuck(1) is None  # nobody waits
        worker.patience("slow", GAVE_UP_S)  # from here on a busy machine has its time
        waits = asyncio.create_task(worker.ask("slow"))
        until = time.monotonic() + GAVE_UP_S
        while (stuck := worker.app.stuck(1)) is None:
            assert time.monotonic() < until
            await asyncio.sleep(0.01)
        assert "in when_there" in stuck.where
        assert worker.app.stuck(3600) is None
        worker.gate.touch()
        assert (await waits)[0] == 200

    told(story)
