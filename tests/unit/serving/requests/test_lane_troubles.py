"""What goes wrong with a request in the lane is told to whoever sent it, at once, and is nobody else's trouble."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from millrace.serving.models.sleeper import Sleeper
from millrace.serving.models.turns import Limits, Unavailable
from millrace.serving.request_log import CURRENT
from millrace.serving.requests.exchange import Exchange
from tests.unit.serving.lanes import (
    ADA,
    Adding,
    LogLines,
    MakeScene,
    Scene,
    Visitor,
    answered,
    body_of,
    ids,
    told,
)


def test_a_bad_row_fails_its_own_request_only(
    make_scene: MakeScene, log_lines: LogLines, written_sizes: list[int]
) -> None:
    scene, model = make_scene(), Adding()
    scene.serve("churn", model)
    visitors: list[Visitor] = []

    async def story() -> None:
        visitors.extend(scene.ask("churn", value) for value in (1.0, -2.0, 3.0))
        await asyncio.sleep(0)

    told(story)
    assert [each.status for each in visitors] == [200, 500, 200]
    assert visitors[1].content["error_code"] == "INTERNAL_ERROR"
    assert [visitors[at].content["predictions"] for at in (0, 2)] == [[2.0], [4.0]]
    assert [(record.id, record.status) for record in scene.records()] == list(
        zip(ids(visitors), [200, 500, 200], strict=True)
    )
    assert [whose for message, whose in log_lines if "entity churn-1 failed" in message] == [
        (ids(visitors)[1], "churn")
    ]
    assert len(written_sizes) == 1
    assert scene.statuses("churn") == {"200": 2, "500": 1}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"no json", 400),
        (b"{}", 400),
        (b'{"dataframe_records": [{"x": "text"}]}', 400),
        (b'{"dataframe_records": [{"x": 1.0}], "params": {"predict_proba": true}}', 400),
        (b"", 400),
    ],
)
def test_a_request_that_is_wrong_is_told_so_and_the_others_are_answered(
    make_scene: MakeScene, body: bytes, status: int, written_sizes: list[int]
) -> None:
    scene, model = make_scene(), Adding()
    scene.serve("churn", model)
    bad = Visitor()
    visitors: list[Visitor] = []

    async def story() -> None:
        visitors.append(scene.ask("churn", 1.0))
        assert scene.lane.takes(scene.head("churn"), ADA, body, bad)
        visitors.append(scene.ask("churn", 2.0))
        await asyncio.sleep(0)

    told(story)
    assert (bad.status, [each.content["predictions"] for each in visitors]) == (status, [[2.0], [3.0]])
    assert [record.status for record in scene.records()] == [200, status, 200]
    assert (len(written_sizes), scene.in_flight) == (1, 0)


def test_who_finds_too_many_waiting_or_waits_too_long_is_told_so(make_scene: MakeScene) -> None:
    scene, model = make_scene(limits=Limits(waiting=1, answer_s=0.1)), Adding(quick_rows=0)
    scene.serve("churn", model)
    visitors: list[Visitor] = []

    async def story() -> None:
        model.gate.clear()
        visitors.append(scene.ask("churn", 1.0))
        await asyncio.sleep(0.02)  # it is at the model
        visitors.extend(scene.ask("churn", value) for value in (2.0, 3.0))
        await answered(*visitors)
        model.gate.set()

    told(story)
    assert [each.status for each in visitors] == [504, 504, 429]
    assert [each.content["error_code"] for each in visitors] == ["DEADLINE_EXCEEDED"] * 2 + ["RESOURCE_EXHAUSTED"]
    assert ["retry-after" in each.heads for each in visitors] == [False, False, True]
    assert scene.statuses("churn") == {"504": 2, "429": 1}
    assert sorted(record.status for record in scene.records()) == [429, 504, 504]
    assert scene.in_flight == 0


def test_a_model_that_can_not_be_woken_is_unavailable_for_now(make_scene: MakeScene) -> None:
    scene, model = make_scene(), Adding()
    endpoint = scene.serve("churn", model)
    served: Any = endpoint.first
    turns, seconds, gone = served.model, [0.0], [False]

    def load() -> Any:
        if gone[0]:
            raise OSError("no such model")
        return turns

    served.model = sleeper = Sleeper(load(), load, 60, scene.limits, lambda: seconds[0])
    visitors: list[Visitor] = []

    async def story() -> None:
        seconds[0] = 61
        assert sleeper.rest()
        gone[0] = True
        visitors.append(scene.ask("churn", 1.0))
        await answered(*visitors)
        gone[0] = False
        visitors.append(scene.ask("churn", 1.0))
        await answered(*visitors)
        visitors.append(scene.ask("churn", 1.0))
        await asyncio.sleep(0)
        assert visitors[2].responses

    told(story)
    assert [each.status for each in visitors] == [503, 200, 200]
    assert visitors[0].heads["retry-after"] == "5"
    assert scene.in_flight == 0


def test_what_finds_no_room_is_answered_marked_and_counted_exactly(make_scene: MakeScene) -> None:
    scene = make_scene(quota_bytes=3000)
    scene.serve("churn", Adding())
    visitors: list[Visitor] = []

    async def story() -> None:
        for _ in range(10):
            visitors.extend(scene.ask("churn", value) for value in (1.0, 2.0, 3.0))
            await asyncio.sleep(0)

    told(story)
    dropped = [each for each in visitors if each.heads.get("x-millrace-capture") == "dropped"]
    assert [each.status for each in visitors] == [200] * 30
    assert 0 < len(dropped) < 30
    assert scene.capture.state.dropped == len(dropped)
    assert [record.id for record in scene.records()] == ids([each for each in visitors if each not in dropped])


def test_durable_is_answered_only_after_one_sync_for_all(
    make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, may_sync, syncs = make_scene(durability="durable", sync_s=60.0), threading.Event(), [0]
    fdatasync = os.fdatasync

    def held(fd: int) -> None:
        syncs[0] += 1
        assert may_sync.wait(60)
        fdatasync(fd)

    monkeypatch.setattr("millrace.serving.capture.segments.os.fdatasync", held)
    scene.serve("churn", Adding())
    scene.serve("unkept", Adding(), captured=False)
    visitors: list[Visitor] = []

    async def story() -> None:
        visitors.extend(scene.ask("churn", value) for value in (1.0, 2.0))
        unkept = scene.ask("unkept", 3.0)
        await asyncio.sleep(0.05)
        assert ([each.responses for each in visitors], scene.in_flight) == ([[], []], 2)
        assert unkept.status == 200
        may_sync.set()
        await answered(*visitors)

    told(story)
    assert syncs == [1]
    assert ([each.status for each in visitors], scene.in_flight) == ([200, 200], 0)
    assert all("x-millrace-capture" not in each.heads for each in visitors)


def test_durable_that_the_disk_did_not_keep_is_marked_and_counted(
    make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = make_scene(durability="durable")
    scene.serve("churn", Adding())

    def fails(_: int) -> None:
        raise OSError(5, "Input/output error")

    visitors: list[Visitor] = []

    async def story() -> None:
        with monkeypatch.context() as broken:
            broken.setattr("millrace.serving.capture.segments.os.fdatasync", fails)
            visitors.extend(scene.ask("churn", value) for value in (1.0, 2.0))
            await answered(*visitors)
        visitors.append(scene.ask("churn", 3.0))
        await answered(*visitors)

    told(story)
    assert [each.heads.get("x-millrace-capture") for each in visitors] == ["dropped", "dropped", None]
    assert scene.capture.state.dropped == 2


def test_a_record_that_can_not_be_made_is_the_trouble_of_its_request_only(
    make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch, log_lines: LogLines
) -> None:
    scene = make_scene()
    scene.serve("churn", Adding())
    scene.serve("other", Adding())
    record = scene.desk.record

    def fails(visit: Any, reply: Any) -> Any:
        if visit.request.raw == body_of(2.0):
            raise TypeError("a foreign model's labels")
        return record(visit, reply)

    monkeypatch.setattr(scene.desk, "record", fails)
    visitors: list[Visitor] = []

    async def story() -> None:
        visitors.extend(scene.ask("churn", value) for value in (1.0, 2.0, 3.0))
        visitors.append(scene.ask("other", 4.0))
        await asyncio.sleep(0)

    told(story)
    assert [each.status for each in visitors] == [200, 500, 200, 200]
    assert [record.id for record in scene.records()] == ids([visitors[at] for at in (0, 2, 3)])
    assert [whose for message, whose in log_lines if "could not be answered" in message] == [
        (ids(visitors)[1], "churn")
    ]
    assert (scene.in_flight, scene.statuses("churn")) == (0, {"200": 2, "500": 1})


def test_an_answer_that_can_not_be_made_is_the_trouble_of_its_request_only(
    make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch, log_lines: LogLines
) -> None:
    scene = make_scene()
    scene.serve("churn", Adding())
    response = scene.desk.response

    def fails(visit: Any, reply: Any, **more: Any) -> Any:
        if visit.request.raw == body_of(2.0):
            raise TypeError("a name that is none")
        return response(visit, reply, **more)

    monkeypatch.setattr(scene.desk, "response", fails)
    visitors: list[Visitor] = []

    async def story() -> None:
        visitors.extend(scene.ask("churn", value) for value in (1.0, 2.0, 3.0))
        await asyncio.sleep(0)

    told(story)
    assert [each.status for each in visitors] == [200, 500, 200]
    assert [whose for message, whose in log_lines if "could not be answered" in message] == [
        (ids(visitors)[1], "churn")
    ]
    assert scene.in_flight == 0


def test_labels_that_are_no_json_are_the_trouble_of_their_request_only(make_scene: MakeScene) -> None:
    class Odd(Adding):
        def predict(self, inputs: Any) -> Any:
            said = super().predict(inputs)
            return type(said)([object() if value == 3.0 else value for value in said.labels], None)

    scene = make_scene()
    scene.serve("churn", Odd())
    visitors: list[Visitor] = []

    async def story() -> None:
        visitors.extend(scene.ask("churn", value) for value in (1.0, 2.0, 3.0))
        await asyncio.sleep(0)

    told(story)
    assert [each.status for each in visitors] == [200, 500, 200]
    assert [record.id for record in scene.records()] == ids(visitors)
    assert scene.in_flight == 0


def test_a_capture_that_breaks_keeps_nobody_waiting(make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, broken = make_scene(), make_scene(durability="durable")
    for each in (scene, broken):
        each.serve("churn", Adding())
        each.serve("unkept", Adding(), captured=False)
        write = each.capture._write

        def fails(records: Any, write: Any = write) -> bool:
            if any(b'"x": 2.0' in b"".join(payload) for payload, _ in records):
                raise TypeError("what nobody foresaw")
            return bool(write(records))

        monkeypatch.setattr(each.capture, "_write", fails)
    for each in (scene, broken):
        visitors: list[Visitor] = []

        async def story(each: Scene = each, visitors: list[Visitor] = visitors) -> None:
            visitors.extend(each.ask("churn", value) for value in (1.0, 2.0, 3.0))
            visitors.append(each.ask("unkept", 2.0))
            await answered(*visitors)

        told(story)
        assert [visitor.status for visitor in visitors] == [200, 500, 200, 200]
        assert [record.id for record in each.records()] == ids([visitors[0], visitors[2]])
        assert each.in_flight == 0


def test_a_model_that_breaks_its_promises_keeps_nobody_waiting(
    make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = make_scene()
    endpoint = scene.serve("churn", Adding())
    scene.serve("other", Adding())

    def breaks(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(endpoint.first.model, "predict_all", breaks)
    visitors: list[Visitor] = []

    async def story() -> None:
        visitors.extend(scene.ask("churn", value) for value in (1.0, 2.0))
        visitors.append(scene.ask("other", 3.0))
        await asyncio.sleep(0)

    told(story)
    assert [each.status for each in visitors] == [500, 500, 200]
    assert scene.in_flight == 0


def test_a_connection_that_breaks_at_its_answer_is_nobody_elses_trouble(make_scene: MakeScene) -> None:
    scene = make_scene()
    scene.serve("churn", Adding())
    broken, good = Visitor(breaks=True), Visitor()

    async def story() -> None:
        scene.ask("churn", 1.0, visitor=broken)
        scene.ask("churn", 2.0, visitor=good)
        await asyncio.sleep(0)

    told(story)
    assert good.content == {"predictions": [3.0]}
    assert scene.in_flight == 0
    assert len(scene.records()) == 2


def test_what_is_logged_while_a_request_is_read_is_about_that_request(
    make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch, log_lines: LogLines
) -> None:
    scene = make_scene()
    scene.serve("churn", Adding())

    def fails(_: Exchange) -> None:
        raise RuntimeError("a foreign function")

    visitors: list[Visitor] = []

    async def story() -> None:
        with monkeypatch.context() as broken:
            broken.setattr(Exchange, "choose", fails)
            visitors.append(scene.ask("churn", 1.0))
        visitors.append(scene.ask("churn", 2.0))
        assert CURRENT.get() is None
        await asyncio.sleep(0)

    told(story)
    assert [each.status for each in visitors] == [500, 200]
    assert [whose for message, whose in log_lines if "failed" in message] == [(ids(visitors)[0], "churn")]


def test_unavailable_is_told_by_the_quick_way_too(make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = make_scene()
    endpoint = scene.serve("churn", Adding())

    def away(asked: Sequence[object], _: object) -> list[Exception]:
        return [Unavailable("it is away") for _ in asked]

    monkeypatch.setattr(endpoint.first.model, "predict_all", away)
    visitors: list[Visitor] = []

    async def story() -> None:
        visitors.extend(scene.ask("churn", value) for value in (1.0, 2.0))
        await asyncio.sleep(0)

    told(story)
    assert [(each.status, each.heads["retry-after"]) for each in visitors] == [(503, "5")] * 2
