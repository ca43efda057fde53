"""Who is answered by whom where several share the traffic: the keys decide, in every format, and ids only where there are none."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from millrace.serving.bodies.body import Envelope
from millrace.serving.bodies.dialects import JSON, V2
from millrace.serving.port import Reply
from millrace.serving.request_keys import RequestKeys
from millrace.serving.requests.exchange import Exchange, Question
from millrace.serving.requests.generations import ServedEndpoint
from millrace.serving.types import Prediction
from tests.unit.serving.lanes import NOW, Adding, Scene

HALF = {"churn-1": 50, "churn-2": 50}
CUSTOMERS = range(20)


@pytest.fixture
def divided(scene: Scene) -> ServedEndpoint:
    """Two models share the traffic; x is looked up by, as a customer's number is."""
    made = scene.serve("churn", Adding(1), Adding(100), traffic=HALF)
    cast("Any", made.first).keys = RequestKeys({"x": "int64"})
    return made


def reply(endpoint: ServedEndpoint, body: object, *, v2: bool = False) -> Reply:
    raw = json.dumps(body).encode()
    asked = Exchange(endpoint, None, Question(raw, V2 if v2 else JSON, Envelope(most_bytes=1000)), NOW)
    asked.read()
    asked.open()
    assert asked.inputs is not None
    return asked.reply(Prediction([7.0] * len(asked.inputs), None), 0.25)


def name(answered: Reply) -> str:
    return answered.served.plan.entity.name


def plain(customer: int, **more: object) -> dict[str, object]:
    return {"dataframe_records": [{"x": customer}], **more}


def tensor(customer: int, **more: object) -> dict[str, object]:
    return {"inputs": [{"name": "x", "shape": [1], "datatype": "INT64", "data": [customer]}], **more}


def test_who_sends_keys_stays_whatever_ids_the_requests_have(divided: ServedEndpoint) -> None:
    wanted = [name(reply(divided, plain(customer))) for customer in CUSTOMERS]
    assert set(wanted) == set(HALF)
    for turn in range(3):  # a new id for each request, as clients make them
        asked = [reply(divided, plain(each, client_request_id=f"{turn}-{each}")) for each in CUSTOMERS]
        assert list(map(name, asked)) == wanted
        assert [each.client_request_id for each in asked] == [f"{turn}-{each}" for each in CUSTOMERS]
        in_v2 = [reply(divided, tensor(each, id=f"{turn}-{each}"), v2=True) for each in CUSTOMERS]
        assert list(map(name, in_v2)) == wanted
        assert json.loads(in_v2[0].body)["id"] == f"{turn}-0"


def test_ids_decide_where_no_key_is_sent(divided: ServedEndpoint, scene: Scene) -> None:
    without = scene.serve("spend", Adding(1), Adding(100), traffic={"spend-1": 50, "spend-2": 50})
    wanted = [without.router.choose(f"c{number}".encode()) for number in CUSTOMERS]
    assert len(set(wanted)) == 2
    for row in (1, 2):
        found = [name(reply(without, plain(row, client_request_id=f"c{number}"))) for number in CUSTOMERS]
        assert found == wanted
    answered = reply(divided, plain(cast("Any", 1.5), client_request_id="mine"))  # 1.5 is no customer's number
    assert (answered.key, name(answered)) == (b"mine", divided.router.choose(b"mine"))


def test_who_sends_neither_takes_turns(scene: Scene) -> None:
    without = scene.serve("spend", Adding(1), Adding(100), traffic={"spend-1": 50, "spend-2": 50})
    answered = [reply(without, plain(1)) for _ in range(100)]
    assert {each.key for each in answered} == {None}
    assert [name(each) for each in answered].count("spend-1") == 50
