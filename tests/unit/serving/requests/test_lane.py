"""Requests that come whole: those of one turn of the loop share what can be shared, and nothing else."""

from __future__ import annotations

import asyncio
import gc
import json
import struct
import time
import weakref
from typing import Any

import pytest

from millrace.serving.bodies.rows import Rows
from millrace.serving.inputs import InputReader, Inputs
from millrace.serving.request_log import CURRENT
from millrace.serving.requests.lane import Head
from millrace.serving.types import Prediction
from tests.unit.serving.lanes import (
    ADA,
    JSON,
    Adding,
    LogLines,
    MakeScene,
    Visitor,
    answered,
    body_of,
    ids,
    told,
)


def test_requests_of_one_turn_share_a_call_and_a_write_and_each_has_its_own_answer_and_record(
    make_scene: MakeScene, written_sizes: list[int]
) -> None:
    scene, model = make_scene(), Adding()
    scene.serve("churn", model)
    visitors: list[Visitor] = []

    async def story() -> None:
        visitors.extend(scene.ask("churn", *rows) for rows in ([1.0], [2.0, 3.0], [4.0]))
        assert (model.calls, scene.in_flight) == ([], 3)
        await asyncio.sleep(0)

    told(story)
    assert model.calls == [[1.0, 2.0, 3.0, 4.0]]
    assert len(written_sizes) == 1
    assert [each.content for each in visitors] == [
        {"predictions": [2.0]},
        {"predictions": [3.0, 4.0]},
        {"predictions": [5.0]},
    ]
    assert [each.heads["served-model-name"] for each in visitors] == ["churn-1"] * 3
    assert scene.in_flight == 0
    records = scene.records()
    assert [record.id for record in records] == ids(visitors)
    assert len(set(ids(visitors))) == 3
    numbers = [struct.unpack(f"<{record.rows}d", record.numbers) for record in records]
    assert numbers == [(1.0,), (2.0, 3.0), (4.0,)]
    assert [record.response for record in records] == [each.response.body for each in visitors]
    assert [record.request for record in records] == [body_of(1.0), body_of(2.0, 3.0), body_of(4.0)]
    assert scene.statuses("churn") == {"200": 3}


def test_a_later_turn_is_another_call(make_scene: MakeScene, written_sizes: list[int]) -> None:
    scene, model = make_scene(), Adding()
    scene.serve("churn", model)

    async def story() -> None:
        for value in (1.0, 2.0):
            scene.ask("churn", value)
            await asyncio.sleep(0)

    told(story)
    assert (model.calls, len(written_sizes)) == ([[1.0], [2.0]], 2)


def test_any_mix_of_endpoints_takes_one_call_of_each_model_and_one_write(
    make_scene: MakeScene, written_sizes: list[int]
) -> None:
    scene, one, two, third = make_scene(), Adding(1), Adding(100), Adding(1000)
    scene.serve("one", one)
    scene.serve("two", two)
    scene.serve("unkept", third, captured=False)
    visitors: list[Visitor] = []

    async def story() -> None:
        for name, value in (("one", 1.0), ("two", 2.0), ("unkept", 3.0), ("one", 4.0), ("two", 5.0)):
            visitors.append(scene.ask(name, value))
        await asyncio.sleep(0)

    told(story)
    assert [each.content["predictions"] for each in visitors] == [[2.0], [102.0], [1003.0], [5.0], [105.0]]
    assert (one.calls, two.calls, third.calls) == ([[1.0, 4.0]], [[2.0, 5.0]], [[3.0]])
    assert len(written_sizes) == 1
    kept = {record.id: record for record in scene.records()}
    assert kept.keys() == {each for at, each in enumerate(ids(visitors)) if at != 2}
    assert {kept[each].description for each in ids(visitors[:1])} == {"id-one/1/one-1"}
    assert {kept[each].description for each in ids(visitors[1:2])} == {"id-two/1/two-1"}


def test_who_shares_an_endpoint_is_called_for_each_request_alone_so_that_times_can_be_compared(
    make_scene: MakeScene,
) -> None:
    scene, one, two = make_scene(), Adding(1), Adding(100)
    endpoint = scene.serve("churn", one, two, traffic={"churn-1": 50, "churn-2": 50})
    visitors: list[Visitor] = []

    async def story() -> None:
        visitors.extend(
            scene.ask("churn", float(number), query=b"client_request_id=c%d" % number) for number in range(20)
        )
        await asyncio.sleep(0)

    told(story)
    expected = [endpoint.router.choose(b"c%d" % number) for number in range(20)]
    assert [each.heads["served-model-name"] for each in visitors] == expected
    more = {"churn-1": 1, "churn-2": 100}
    assert [each.content["predictions"] for each in visitors] == [[n + more[who]] for n, who in enumerate(expected)]
    assert {len(rows) for rows in (*one.calls, *two.calls)} == {1}
    assert len(one.calls) + len(two.calls) == 20
    assert [record.client_request_id for record in scene.records()] == [f"c{number}" for number in range(20)]


class Slow(Adding):
    """Takes a second on the loop, by a clock that stands still for all else."""

    now_s = 0.0

    def predict(self, inputs: Inputs) -> Prediction:
        self.now_s += 1
        return super().predict(inputs)


def test_the_time_that_a_request_took_is_its_own_and_not_that_of_others_of_its_turn(
    make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, slow = make_scene(), Slow()
    monkeypatch.setattr(time, "perf_counter", lambda: slow.now_s)
    scene.serve("churn", slow, Adding(), traffic={"churn-1": 50, "churn-2": 50})
    visitors: list[Visitor] = []

    async def story() -> None:
        visitors.extend(scene.ask("churn", 1.0, query=b"client_request_id=c%d" % number) for number in range(10))
        await asyncio.sleep(0)

    told(story)
    took = {record.id: record.duration_us for record in scene.records()}
    for visitor in visitors:
        is_slow = visitor.heads["served-model-name"] == "churn-1"
        assert took[visitor.heads["databricks-request-id"]] == 1_000_000 * is_slow


def test_reading_what_others_sent_is_no_part_of_it(make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, model = make_scene(), Adding()
    now_s, read = [0.0], InputReader.read

    def slowly(reader: InputReader, rows: Rows) -> Inputs:
        now_s[0] += len(rows)
        return read(reader, rows)

    monkeypatch.setattr(time, "perf_counter", lambda: now_s[0])
    monkeypatch.setattr(InputReader, "read", slowly)
    scene.serve("churn", model)

    async def story() -> None:
        scene.ask("churn", 1.0)
        scene.ask("churn", *[1.0] * 20)
        await asyncio.sleep(0)

    told(story)
    assert len(model.calls) == 1
    assert [record.duration_us for record in scene.records()] == [1_000_000, 20_000_000]


def test_an_endpoint_that_is_gone_is_not_kept_in_memory_by_those_who_asked_it(make_scene: MakeScene) -> None:
    scene = make_scene()
    gone = weakref.ref(scene.serve("churn", Adding()))

    async def story() -> None:
        visitor = scene.ask("churn", 1.0)
        await asyncio.sleep(0)
        assert visitor.responses
        scene.hot.remove("churn")

    told(story)
    gc.collect()
    assert gone() is None


def test_a_model_that_looks_beyond_a_row_is_called_for_each_request_alone(
    make_scene: MakeScene, written_sizes: list[int]
) -> None:
    scene, model = make_scene(), Adding()
    scene.serve("churn", model, together=False)
    visitors: list[Visitor] = []

    async def story() -> None:
        visitors.extend(scene.ask("churn", *rows) for rows in ([1.0], [2.0, 3.0], [4.0]))
        await asyncio.sleep(0)

    told(story)
    assert model.calls == [[1.0], [2.0, 3.0], [4.0]]
    assert [each.content["predictions"] for each in visitors] == [[2.0], [3.0, 4.0], [5.0]]
    assert len(written_sizes) == 1


def test_a_slow_model_is_asked_beside_the_loop_and_the_others_of_the_turn_are_answered_at_once(
    make_scene: MakeScene,
) -> None:
    scene, slow, quick = make_scene(), Adding(100, quick_rows=0), Adding(1)
    slow.gate.clear()
    scene.serve("slow", slow)
    scene.serve("quick", quick)
    waiting, at_once = [], []

    async def story() -> None:
        waiting.append(scene.ask("slow", 1.0))
        at_once.append(scene.ask("quick", 1.0))
        waiting.append(scene.ask("slow", 2.0))
        await asyncio.sleep(0)
        assert [each.content["predictions"] for each in at_once] == [[2.0]]
        assert ([each.responses for each in waiting], scene.in_flight) == ([[], []], 2)
        slow.gate.set()
        await answered(*waiting)

    told(story)
    assert [each.content["predictions"] for each in waiting] == [[101.0], [102.0]]
    assert sorted(record.id for record in scene.records()) == sorted(ids([*waiting, *at_once]))
    assert scene.in_flight == 0


def test_a_large_request_to_a_quick_model_goes_alone(make_scene: MakeScene) -> None:
    scene, model = make_scene(), Adding(quick_rows=2)
    scene.serve("churn", model)
    visitors: list[Visitor] = []

    async def story() -> None:
        visitors.extend(scene.ask("churn", *rows) for rows in ([1.0, 2.0, 3.0], [4.0], [float(n) for n in range(1001)]))
        await asyncio.sleep(0)
        assert [len(each.responses) for each in visitors] == [0, 1, 0]
        await answered(*visitors)

    told(story)
    assert [len(each.content["predictions"]) for each in visitors] == [3, 1, 1001]
    assert model.calls[0] == [4.0]
    assert scene.in_flight == 0


def test_what_is_asked_while_the_model_is_busy_waits_its_turn(make_scene: MakeScene) -> None:
    scene, model = make_scene(), Adding(quick_rows=1)
    scene.serve("churn", model)
    visitors: list[Visitor] = []

    async def story() -> None:
        model.gate.clear()
        visitors.append(scene.ask("churn", 1.0, 2.0))
        await asyncio.sleep(0.02)
        visitors.extend(scene.ask("churn", value) for value in (3.0, 4.0))
        await asyncio.sleep(0.02)
        assert [each.responses for each in visitors] == [[], [], []]
        model.gate.set()
        await answered(*visitors)

    told(story)
    assert model.calls == [[1.0, 2.0], [3.0, 4.0]]
    assert [each.content["predictions"] for each in visitors] == [[2.0, 3.0], [4.0], [5.0]]


def test_shadows_get_their_copies_when_the_callers_have_their_answers(
    make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millrace.serving.requests.shadows._BUSY_S", 60.0)  # however busy this machine is
    scene, one, shadow = make_scene(), Adding(1), Adding(100)
    scene.serve("churn", one, shadow, shadow={"churn-2": 100})
    visitors: list[Visitor] = []

    async def story() -> None:
        visitors.extend(scene.ask("churn", value) for value in (1.0, -2.0, 3.0))
        await asyncio.sleep(0)
        assert ([each.status for each in visitors], shadow.calls) == ([200, 500, 200], [])
        await scene.desk.shadows.idle()

    told(story)
    assert shadow.calls == [[1.0], [-2.0], [3.0]]
    assert shadow.names == [(each, "churn") for each in ids(visitors)]
    records = scene.records()
    copies = [(record.id, record.status) for record in records if record.description.endswith("churn-2")]
    assert copies == list(zip(ids(visitors), [200, 500, 200], strict=True))
    assert len(records) == 6


def test_a_model_is_called_in_the_name_of_the_requests_and_of_nobody_later(
    make_scene: MakeScene, log_lines: LogLines
) -> None:
    scene, quick, slow = make_scene(quota_bytes=0), Adding(), Adding(quick_rows=0)
    scene.serve("quick", quick)
    scene.serve("slow", slow)
    visitors: list[Visitor] = []

    async def story() -> None:
        CURRENT.set(("before", "x"))
        visitors.extend(scene.ask("quick", value) for value in (1.0, 2.0))
        visitors.append(scene.ask("slow", -3.0))
        assert CURRENT.get() == ("before", "x")
        await answered(*visitors)
        assert CURRENT.get() == ("before", "x")

    told(story)
    one, two, three = ids(visitors)
    assert quick.names == [(f"{one} {two}", "quick")]
    assert slow.names == [(three, "slow")]
    found = dict(log_lines)
    assert found["what is negative can't be added to"] == (three, "slow")
    assert found["endpoint slow: entity slow-1 failed"] == (three, "slow")
    # It is about no request in particular.
    assert [whose for message, whose in log_lines if "records are dropped" in message] == [None]


@pytest.mark.parametrize(
    "changed",
    [
        {"path": "/serving-endpoints/none/invocations"},
        {"path": "/serving-endpoints/churn/served-models/none/invocations"},
        {"path": "/v2/models/churn"},
        {"path": "/ping"},
        # What is no path of the hot app's, though its end looks like one.
        {
            "path": "/x/models/churn/infer",
            "body": b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP64","data":[1]}]}',
        },
        {"path": "//models/churn/infer"},
        {"path": "/serving-endpoints/churnXXXXXX/infer"},
        {"path": "/x/invocations"},
        {"query": b"unknown=1"},
        {"sent": {b"content-type": b"text/html"}},
        {"sent": {**JSON, b"content-encoding": b"gzip"}},
        {"sent": {**JSON, b"content-encoding": b"br"}},
        {"body": b" " * ((256 << 10) + 1)},
    ],
)
def test_what_is_not_simply_to_be_answered_is_left_to_the_usual_way_uncounted(
    make_scene: MakeScene, changed: dict[str, Any]
) -> None:
    scene = make_scene()
    scene.serve("churn", Adding())
    asked = {"path": "/serving-endpoints/churn/invocations", "query": b"", "sent": JSON, "body": body_of(1.0)}
    sent, visitor = {**asked, **changed}, Visitor()
    body = sent.pop("body")

    async def story() -> None:
        assert not scene.lane.takes(Head(**sent), ADA, body, visitor)
        await asyncio.sleep(0)

    told(story)
    assert (visitor.responses, scene.in_flight, scene.desk.counts.read()["entities"]) == ([], 0, [])


def test_every_path_of_an_answer_leads_through_the_lane(make_scene: MakeScene) -> None:
    scene = make_scene()
    scene.serve("churn", Adding())
    v2 = json.dumps({"id": "mine", "inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [1.0]}]}).encode()
    asked = [
        ("/invocations", body_of(1.0)),
        ("/serving-endpoints/churn/served-models/churn-1/invocations", body_of(1.0)),
        ("/v2/models/churn/infer", v2),
        ("/v2/models/churn/versions/1/infer", v2),
    ]
    visitors = [Visitor() for _ in asked]

    async def story() -> None:
        for (path, body), visitor in zip(asked, visitors, strict=True):
            assert scene.lane.takes(Head(path, b"", JSON), ADA, body, visitor)
        await asyncio.sleep(0)

    told(story)
    assert [each.status for each in visitors] == [200] * 4
    assert [each.content.get("predictions") for each in visitors[:2]] == [[2.0], [2.0]]
    assert [each.content["outputs"][0]["data"] for each in visitors[2:]] == [[2.0], [2.0]]
    assert [record.client_request_id for record in scene.records()] == [None, None, "mine", "mine"]


def test_what_nobody_foresaw_before_the_answer_is_left_to_the_usual_way(
    make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = make_scene()
    scene.serve("churn", Adding())

    def away() -> None:
        raise OSError("the database that has the clock is away")

    async def story() -> None:
        with monkeypatch.context() as broken:
            broken.setattr(scene.clock, "now", away)
            assert not scene.lane.takes(scene.head("churn"), ADA, body_of(1.0), Visitor())
        assert scene.in_flight == 0
        scene.ask("churn", 1.0)
        await asyncio.sleep(0)

    told(story)
    assert scene.in_flight == 0
