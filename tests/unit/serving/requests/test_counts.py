from __future__ import annotations

import json
from typing import Any

import pytest

from millrace.serving.requests.counts import BOUNDS_S, RequestCounts


def read(counts: RequestCounts) -> Any:
    """As it travels from a worker to control."""
    return json.loads(json.dumps(counts.read()))


def test_requests_are_counted_by_entity_and_status() -> None:
    counts = RequestCounts()
    counts.answered("churn", "churn-1", 200, 0.5, rows=3, predict_s=0.25)
    counts.answered("churn", "churn-1", 400, 0.25, rows=0, predict_s=None)
    counts.answered("churn", "churn-2", 200, 0.5, rows=1, predict_s=0.5)
    counts.refused("churn", 415)
    counts.refused("", 404)
    counts.refused("", 404)
    entities = {(each["endpoint"], each["entity"]): each for each in read(counts)["entities"]}
    assert {name: each["statuses"] for name, each in entities.items()} == {
        ("churn", "churn-1"): {"200": 1, "400": 1},
        ("churn", "churn-2"): {"200": 1},
        ("churn", ""): {"415": 1},
        ("", ""): {"404": 2},
    }
    one = entities["churn", "churn-1"]
    assert (one["rows"], one["whole"]["sum_s"], one["predict"]["sum_s"]) == (3, 0.75, 0.25)
    assert (sum(one["whole"]["buckets"]), sum(one["predict"]["buckets"])) == (2, 1)


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(0.0, 0), (0.0001, 0), (0.00010001, 1), (0.001, 3), (0.0011, 4), (60.0, 16), (60.1, 17), (1e9, 17)],
)
def test_a_latency_is_in_the_first_bucket_whose_bound_it_does_not_pass(seconds: float, bucket: int) -> None:
    counts = RequestCounts()
    counts.answered("e", "m", 200, seconds, rows=1, predict_s=seconds)
    (entity,) = read(counts)["entities"]
    expected = [0] * (len(BOUNDS_S) + 1)
    expected[bucket] = 1
    assert entity["whole"]["buckets"] == entity["predict"]["buckets"] == expected


def test_what_is_in_flight_is_what_began_and_has_not_ended() -> None:
    counts = RequestCounts()
    for _ in range(3):
        counts.begin("a")
    counts.begin("b")
    counts.end("a")
    counts.end("b")
    assert read(counts)["in_flight"] == {"a": 2, "b": 0}
