from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from millrace.serving.bodies.body import PLAIN
from millrace.serving.bodies.dialects import JSON
from millrace.serving.capture.records import Request
from millrace.serving.endpoints.endpoints import endpoint_config, served_entity
from millrace.serving.inputs import join_inputs
from millrace.serving.models.turns import Limits
from millrace.serving.port import Reply
from millrace.serving.request_log import CURRENT
from millrace.serving.requests.exchange import OK, Question
from millrace.serving.requests.generations import ServedEndpoint
from millrace.serving.requests.served import Prepared
from millrace.serving.requests.shadows import Shadows
from millrace.serving.types import CallSignature, Endpoint, EndpointName, EndpointState, LoadPlan, Prediction

NOW = datetime(2025, 3, 1, tzinfo=UTC)
ONE, TWO = served_entity("ml.models.churn", "1"), served_entity("ml.models.churn", "2")
BODY = b'{"dataframe_records": [{"spend": 1.0}]}'


@pytest.fixture(autouse=True)
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy this machine is, the loop is not."""
    monkeypatch.setattr("millrace.serving.requests.shadows._BUSY_S", 60.0)


@dataclass
class Entity:
    """A served entity that answers 1, or fails; it can be made to wait."""

    plan: LoadPlan
    fails: bool = False
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[tuple[str, str] | None] = field(default_factory=list)
    may_wait: bool = False
    signature: CallSignature = field(default_factory=lambda: CallSignature({"spend": "number"}, ("spend",), {}))

    @property
    def model(self) -> Entity:
        return self

    def open(self, *_: object) -> list[Prepared]:
        return [Prepared(join_inputs([[1.0]], (("spend", "double"),)), [], [])]

    async def predict(self, *_: object) -> Prediction:
        self.asked.append(CURRENT.get())
        await self.may_answer.wait()
        if self.fails:
            raise RuntimeError("a foreign model")
        return Prediction([1], None)


def endpoint(shadow: Mapping[str, int], *, fails: bool = False) -> ServedEndpoint:
    plans = tuple(LoadPlan(entity, "", "sklearn", (), None) for entity in (TWO, ONE))
    stored = Endpoint(
        name=EndpointName("churn"),
        id="i",
        generation=1,
        config=endpoint_config(TWO, ONE, traffic={"churn-1": 100}, shadow=shadow),
        plans=plans,
        pending=None,
        state=EndpointState(True, "NOT_UPDATING"),
        created_at=NOW,
        updated_at=NOW,
        owner="user:ada",
    )
    entities = {plan.entity.name: cast(Any, Entity(plan, fails)) for plan in plans}
    return ServedEndpoint(stored, entities, Limits())


class Scene:
    """Shadows that note what they keep."""

    def __init__(self, *, fails: bool = False, percent: int = 100) -> None:
        self.kept: list[tuple[str, str, int]] = []
        self.lost: set[str] = set()
        self.answering = 0
        self.shadows = Shadows(self._keep, lambda: self.answering)
        self.endpoint = endpoint({"churn-2": percent}, fails=fails)
        self.shadow = cast(Entity, self.endpoint.entities["churn-2"])

    async def _keep(self, reply: Reply, request: Request, _: float) -> None:
        if request.id in self.lost:
            raise OSError("no room")
        self.kept.append((request.id, reply.served.plan.entity.name, reply.status))

    def offer(self, number: int, key: bytes | None = None, raw: bytes = BODY) -> None:
        reply = Reply(OK, b"{}", self.endpoint.entities["churn-1"], reached=True, key=key)
        request = Request(f"r{number}", raw, "json", 0, "user:ada")
        self.shadows.offer(self.endpoint, reply, Question(raw, JSON, PLAIN), request, NOW)

    @property
    def counts(self) -> tuple[int, int]:
        (found,) = self.shadows.read()
        return cast("tuple[int, int]", (found["answered"], found["dropped"]))


def test_a_copy_is_answered_and_kept_under_the_id_of_the_request() -> None:
    async def run() -> Scene:
        scene = Scene()
        scene.shadow.may_answer.set()
        scene.offer(1)
        assert scene.kept == []  # not before whoever asked had the answer
        await scene.shadows.idle()
        return scene

    scene = asyncio.run(run())
    assert scene.kept == [("r1", "churn-2", 200)]
    assert scene.counts == (1, 0)


def test_each_copy_is_answered_in_the_name_of_its_own_request() -> None:
    async def run() -> Scene:
        scene = Scene()
        scene.shadow.may_answer.set()
        for number in (1, 2):
            CURRENT.set((f"r{number}", "churn"))
            scene.offer(number)
        await scene.shadows.idle()
        assert CURRENT.get() == ("r2", "churn")
        return scene

    assert asyncio.run(run()).shadow.asked == [("r1", "churn"), ("r2", "churn")]


def test_a_shadow_that_fails_is_nobodys_trouble() -> None:
    async def run() -> Scene:
        scene = Scene(fails=True)
        scene.shadow.may_answer.set()
        scene.offer(1)
        scene.offer(2, raw=b"not JSON")
        await scene.shadows.idle()
        return scene

    # What can't be read reaches no entity; it was not copied by the hot app either.
    assert asyncio.run(run()).kept == [("r1", "churn-2", 500), ("r2", "churn-1", 400)]


def test_copies_beyond_those_that_may_wait_are_dropped() -> None:
    async def run() -> Scene:
        scene = Scene()
        for number in range(100):
            scene.offer(number)
        await asyncio.sleep(0.01)  # the first is being answered
        scene.offer(100)
        scene.shadow.may_answer.set()
        await scene.shadows.idle()
        return scene

    scene = asyncio.run(run())
    # 64 wait, 36 of a hundred find no room; one more fits when the first has been taken.
    assert scene.counts == (65, 36)
    assert len(scene.kept) == 65


def test_a_large_request_is_not_copied() -> None:
    async def run() -> Scene:
        scene = Scene()
        scene.shadow.may_answer.set()
        scene.offer(1, raw=BODY + b" " * (64 << 10))
        scene.offer(2, raw=BODY + b" " * (63 << 10))
        await scene.shadows.idle()
        return scene

    scene = asyncio.run(run())
    assert [request for request, *_ in scene.kept] == ["r2"]
    assert scene.counts == (1, 1)


def test_an_answer_that_can_not_be_kept_loses_that_copy_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> Scene:
        scene = Scene()
        scene.lost = {"r1"}
        scene.shadow.may_answer.set()
        for number in (1, 2):
            scene.offer(number)
        await scene.shadows.idle()
        return scene

    scene = asyncio.run(run())
    assert [request for request, *_ in scene.kept] == ["r2"]
    assert scene.counts == (1, 1)
    assert "a copy for its shadow churn-2 is lost" in caplog.text


def test_while_the_worker_is_busy_copies_are_dropped() -> None:
    async def run() -> Scene:
        scene = Scene()
        scene.shadow.may_answer.set()
        scene.answering = 5
        scene.offer(1)
        await scene.shadows.idle()
        scene.answering = 4
        scene.offer(2)
        await scene.shadows.idle()
        return scene

    scene = asyncio.run(run())
    assert [request for request, *_ in scene.kept] == ["r2"]
    assert scene.counts == (1, 1)


def test_callers_are_copied_by_their_key_or_not_at_all() -> None:
    async def run() -> Counter[str]:
        scene = Scene(percent=30)
        scene.shadow.may_answer.set()
        for number in range(400):
            scene.offer(number % 200, key=b"caller-%d" % (number % 200))
            await scene.shadows.idle()
        return Counter(request for request, *_ in scene.kept)

    found = asyncio.run(run())
    assert set(found.values()) == {2}
    # Binomial with n 200, p 0.3: standard deviation 6.5; four of them.
    assert abs(len(found) - 60) < 26


def test_the_log_of_requests_that_reach_nobody_is_not_a_shadows() -> None:
    async def run() -> None:
        assert endpoint({"churn-2": 10}).first.plan.entity == ONE

    asyncio.run(run())
