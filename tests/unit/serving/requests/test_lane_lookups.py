"""Requests of one turn of the loop are looked up together, and each gets what it would get alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from millrace.core.clock import epoch_us
from millrace.core.names import TableName
from millrace.features.online.codec import RowCodec
from millrace.features.online.key_bytes import encode_key
from millrace.features.online.table import feature_types
from millrace.features.types import FeatureLookup, FeatureSpec, OnlineTable
from millrace.lake.types import Version
from tests.unit.features.online.shelf import Shelf
from tests.unit.serving.lanes import NOW, Adding, MakeScene, Scene, Visitor, told

SECOND = timedelta(seconds=1)
TABLE = OnlineTable(
    TableName.parse("f.points"),
    ("k",),
    "ts",
    timedelta(0),
    {"k": "int64", "ts": "timestamp[us, tz=UTC]", "x": "double"},
    Version(3),
    NOW,
    2,
    None,
)
SPEC = FeatureSpec(
    (FeatureLookup("f.points", ("k",), feature_names=("x",), timestamp_lookup_key="t"),), None, (), ("x",)
)


@pytest.fixture
def shelf() -> Shelf:
    """Key 1 has 10 for a day and 11 from a second after now; key 2 has 20."""
    codec = RowCodec(feature_types(TABLE))

    def packed(*rows: tuple[timedelta, float]) -> bytes:
        times = np.array([epoch_us(NOW + after) for after, _ in rows])
        (made,) = codec.pack(pa.table({"x": [value for _, value in rows]}), times, np.array([0]))
        return made

    day = timedelta(days=1)
    return Shelf(
        TABLE, {encode_key((1,)): packed((SECOND, 11.0), (-day, 10.0)), encode_key((2,)): packed((-day, 20.0))}
    )


def keyed(*records: Mapping[str, object]) -> bytes:
    return json.dumps({"dataframe_records": list(records)}).encode()


def test_a_turn_takes_one_read_of_the_store_for_each_entity(make_scene: MakeScene, shelf: Shelf) -> None:
    scene, model = make_scene(online=shelf), Adding(0.5)
    scene.serve("churn", model, spec=SPEC)
    scene.serve_features("points", SPEC)
    visitors: list[Visitor] = []

    async def story() -> None:
        visitors.extend(scene.send("churn", keyed(*[{"k": key} for key in keys])) for keys in ([1], [2, 1], [2]))
        visitors.extend(scene.send("points", keyed({"k": key})) for key in (2, 1))
        assert shelf.reads == []
        await asyncio.sleep(0)

    told(story)
    assert sorted(shelf.reads) == [2, 4]
    assert model.calls == [[10.0, 20.0, 10.0, 20.0]]
    assert [each.content for each in visitors] == [
        {"predictions": [10.5]},
        {"predictions": [20.5, 10.5]},
        {"predictions": [20.5]},
        {"outputs": [{"x": 20.0}]},
        {"outputs": [{"x": 10.0}]},
    ]
    source = ["f.points", epoch_us(NOW - timedelta(days=1)), 3]
    records = scene.records()
    assert [record.keys for record in records] == [[[1]], [[2], [1]], [[2]], [[2]], [[1]]]
    assert [record.sources for record in records] == [[[source]] * len(record.keys) for record in records]


def test_each_request_is_answered_as_of_when_it_was_asked(make_scene: MakeScene, shelf: Shelf) -> None:
    scene = make_scene(online=shelf)
    scene.serve_features("points", SPEC)
    visitors: list[Visitor] = []

    async def story() -> None:
        for after in (0, 1, 0):
            scene.clock.set(NOW + after * SECOND)
            visitors.append(scene.send("points", keyed({"k": 1}, {"k": 2})))
        await asyncio.sleep(0)

    told(story)
    assert shelf.reads == [6]
    assert [[row["x"] for row in each.content["outputs"]] for each in visitors] == [[10, 20], [11, 20], [10, 20]]


@pytest.mark.parametrize(
    ("wrong", "status", "said"),
    [
        ({"k": 99}, 404, "row 0: the key in k has no features in f.points"),
        ({"k": "one"}, 400, "key 'k' is not a whole number"),
        ({"j": 1}, 400, "the request has no column 'k'"),
    ],
)
def test_what_is_wrong_with_one_request_is_told_to_its_sender_alone(
    make_scene: MakeScene, shelf: Shelf, wrong: dict[str, object], status: int, said: str
) -> None:
    scene: Scene = make_scene(online=shelf)
    scene.serve_features("points", SPEC)
    visitors: list[Visitor] = []

    async def story() -> None:
        visitors.extend(scene.send("points", keyed(record)) for record in ({"k": 1}, wrong, {"k": 2}))
        await asyncio.sleep(0)

    told(story)
    assert [each.status for each in visitors] == [200, status, 200]
    assert said in visitors[1].content["message"]
    assert [visitors[at].content["outputs"][0]["x"] for at in (0, 2)] == [10.0, 20.0]
    assert scene.statuses("points") == {"200": 2, str(status): 1}


def test_the_others_share_what_they_can_where_one_is_wrong(make_scene: MakeScene, shelf: Shelf) -> None:
    scene = make_scene(online=shelf)
    scene.serve_features("points", SPEC)
    visitors: list[Visitor] = []

    async def story() -> None:
        visitors.extend(scene.send("points", keyed({"k": 99 if number == 5 else 1})) for number in range(32))
        await asyncio.sleep(0)

    told(story)
    assert [each.status for each in visitors] == [200] * 5 + [404] + [200] * 26
    assert sorted(shelf.reads) == [1, 1, 2, 2, 4, 4, 8, 8, 16, 16, 32]


def test_no_more_rows_are_looked_up_at_once_than_one_request_may_have(make_scene: MakeScene, shelf: Shelf) -> None:
    scene = make_scene(online=shelf)
    scene.serve_features("points", SPEC)
    visitors: list[Visitor] = []

    async def story() -> None:
        visitors.extend(scene.send("points", keyed(*[{"k": 1}] * rows)) for rows in (400, 600, 1, 1000, 2))
        await asyncio.sleep(0)

    told(story)
    assert shelf.reads == [1000, 1, 1000, 2]
    assert [len(each.content["outputs"]) for each in visitors] == [400, 600, 1, 1000, 2]
