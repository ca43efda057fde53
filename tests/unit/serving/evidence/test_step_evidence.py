"""From the inference tables to what is compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import log
from pathlib import Path
from typing import Any

import pytest

from millrace.core.clock import ManualClock
from millrace.core.principal import Principal
from millrace.database.engine import open_database
from millrace.lake.adapters.delta import DeltaTableStore
from millrace.lake.adapters.sql_catalog import SqlCatalog
from millrace.lake.lake import Lake
from millrace.serving.canary.types import Canary, CanaryRun, CanarySettings
from millrace.serving.capture.inference_tables import PAYLOAD
from millrace.serving.evidence.step_evidence import read_evidence
from millrace.serving.types import Capture

NOW = datetime(2025, 3, 1, tzinfo=UTC)
LOGGED = Capture("main", "logs", "p")
CANARY = Canary("old", "new", CanarySettings((50, 100), shadow=20, min_requests=100))


def run(step: int = 1) -> CanaryRun:
    return CanaryRun(CANARY, "m", "2", step, NOW)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    engine = open_database(f"sqlite:///{tmp_path / 'm.db'}")
    return Lake(SqlCatalog(engine), DeltaTableStore(), ManualClock(NOW), Principal("user", "ada"), str(tmp_path / "w"))


Asked = tuple[str, str, int, str | None, int]  # id, entity, status, caller, generation


def fill(lake: Lake, prefix: str, asked: Sequence[Asked], said: Sequence[tuple[str, object, object, object]]) -> None:
    import pyarrow as pa

    payload = [
        {
            "databricks_request_id": request,
            "request_time": NOW + timedelta(seconds=1),
            "status_code": status,
            "execution_duration_us": 1000 * number,
            "served_entity_id": entity,
            "request_metadata": [("endpoint_generation", str(generation))] + ([("caller", caller)] if caller else []),
        }
        for number, (request, entity, status, caller, generation) in enumerate(asked)
    ]
    text = any(isinstance(label, str) for _, label, _, _ in said)
    kind = pa.string() if text else pa.float64()
    schema = pa.schema(
        [
            ("request_id", pa.string()),
            ("row", pa.int32()),
            ("model_name", pa.string()),
            ("model_version", pa.string()),
            ("timestamp", pa.timestamp("us", "UTC")),
            ("prediction", kind),
            ("probability", pa.float64()),
            ("actual_label", kind),
        ]
    )
    names = ("request_id", "prediction", "probability", "actual_label")
    entities = {request: entity for request, entity, *_ in asked}
    ids = [request for request, *_ in said]
    rows = [
        dict(zip(names, row, strict=True))
        | {
            "row": ids[:place].count(row[0]),
            "model_name": "m",
            "model_version": "2" if entities[row[0]] == "new" else "1",
            "timestamp": NOW + timedelta(seconds=1),
        }
        for place, row in enumerate(said)
    ]
    for name, table in (
        ("payload", pa.Table.from_pylist(payload, PAYLOAD)),
        ("predictions", pa.Table.from_pylist(rows, schema)),
    ):
        lake.ensure(f"{prefix}_{name}", table.schema)
        lake.append(f"{prefix}_{name}", table)


def fill_many(lake: Lake, shares: Mapping[str, int], count: int, labels_until: int = 0) -> None:
    """Requests a millisecond apart, one of `share` to each entity; labels of the first ones."""
    import pyarrow as pa

    order = [entity for entity, times in shares.items() for _ in range(times)]
    numbers = range(count)
    entities = [order[number % len(order)] for number in numbers]
    ids = [f"{number:032x}" for number in numbers]
    times = [NOW + timedelta(milliseconds=number) for number in numbers]
    facts = [[("endpoint_generation", "3"), ("caller", f"{number % 997}-{entities[number]}")] for number in numbers]
    payload = {
        "databricks_request_id": ids,
        "request_time": pa.array(times, pa.timestamp("us", "UTC")),
        "status_code": pa.array([200] * count, pa.int32()),
        "execution_duration_us": pa.array(numbers, pa.int64()),
        "served_entity_id": entities,
        "request_metadata": pa.array(facts, pa.map_(pa.string(), pa.string())),
    }
    said = {
        "request_id": ids,
        "row": pa.array([0] * count, pa.int32()),
        "model_name": ["m"] * count,
        "model_version": ["2" if entity == "new" else "1" for entity in entities],
        "timestamp": payload["request_time"],
        "prediction": pa.array([1.0] * count),
        "probability": pa.array([0.5] * count),
        "actual_label": pa.array([1.0 if number < labels_until else None for number in numbers], pa.float64()),
    }
    for name, rows in (("payload", pa.table(payload)), ("predictions", pa.table(said))):
        lake.ensure(f"{LOGGED.tables}_{name}", rows.schema)
        for first in range(0, count, 25_000):
            lake.append(f"{LOGGED.tables}_{name}", rows.slice(first, 25_000))


def test_a_challenger_with_a_hundredth_of_the_traffic_gets_its_sample(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millrace.serving.evidence.step_evidence._ENOUGH", 200)
    fill_many(lake, {"old": 99, "new": 1}, 50_000)
    evidence = read_evidence(lake, LOGGED, 3, run())
    assert evidence.failed.counts() == (200, 200)
    assert evidence.sampled == 200
    old, new = (evidence.durations.values[evidence.durations.groups.second == mine] for mine in (False, True))
    # The challenger's are the requests 99, 199, ... 49,999: the newest 200 begin with 30,099.
    assert new.astype(float).min() == 30.099
    assert old.astype(float).min() >= 30.099
    assert 39 < old.astype(float).mean() < 41  # from all of that time: standard error 0.4


def test_as_many_are_read_as_the_verdict_asks_for(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millrace.serving.evidence.step_evidence._ENOUGH", 200)
    fill_many(lake, {"old": 1, "new": 1}, 3_000)
    asked = replace(run(), canary=replace(CANARY, settings=replace(CANARY.settings, min_requests=1_200)))
    assert read_evidence(lake, LOGGED, 3, asked).failed.counts() == (1_200, 1_200)
    assert read_evidence(lake, LOGGED, 3, run()).failed.counts() == (200, 200)


def test_a_champion_with_a_tenth_of_the_traffic_gets_its_sample(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millrace.serving.evidence.step_evidence._ENOUGH", 200)
    fill_many(lake, {"old": 1, "new": 9}, 5_000)
    assert read_evidence(lake, LOGGED, 3, run()).failed.counts() == (200, 200)


def test_labels_of_requests_that_are_not_the_newest_count(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millrace.serving.evidence.step_evidence._ENOUGH", 200)
    fill_many(lake, {"old": 9, "new": 1}, 5_000, labels_until=1_000)
    evidence = read_evidence(lake, LOGGED, 3, run())
    assert evidence.losses.counts() == (200, 100)
    assert evidence.predictions.counts() == (200, 200)


def test_memory_does_not_grow_with_the_traffic(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa

    monkeypatch.setattr("millrace.serving.evidence.step_evidence._ENOUGH", 500)
    fill_many(lake, {"old": 9, "new": 1}, 200_000)
    held: list[int] = []
    batches = Lake.batches

    def noting(self: Lake, *asked: Any) -> Iterator[pa.RecordBatch]:
        for batch in batches(self, *asked):
            held.append(pa.total_allocated_bytes())
            yield batch

    monkeypatch.setattr(Lake, "batches", noting)
    before = pa.total_allocated_bytes()
    evidence = read_evidence(lake, LOGGED, 3, run())
    assert evidence.failed.counts() == (500, 500)
    whole = lake.read(f"{LOGGED.tables}_payload").nbytes
    assert max(held) - before < whole / 2


def test_before_anything_was_drained_there_is_nothing(lake: Lake) -> None:
    for step in (0, 1):
        evidence = read_evidence(lake, LOGGED, 3, run(step))
        for measured in (evidence.failed, evidence.durations, evidence.predictions, evidence.losses):
            assert measured.counts() == (0, 0)


def test_only_requests_of_the_step_that_reached_one_of_the_two_count(lake: Lake) -> None:
    asked = [
        ("a", "old", 200, "c1", 3),
        ("b", "old", 400, "c1", 3),
        ("c", "new", 200, "c2", 3),
        ("d", "new", 200, None, 3),
        ("e", "new", 500, None, 3),
        ("f", "new", 500, "c3", 2),  # of the step before
        ("g", "other", 500, "c4", 3),
    ]
    said = [
        ("a", 1.0, 0.75, 1.0),
        ("a", 0.0, 0.25, None),
        ("c", 1.0, 0.5, 0.0),
        ("d", 0.0, 0.125, None),
        ("f", 1.0, 1.0, 1.0),
    ]
    fill(lake, LOGGED.tables, asked, said)
    evidence = read_evidence(lake, LOGGED, 3, run())
    assert evidence.failed.counts() == (2, 3)
    assert evidence.failed.means() == pytest.approx((0.5, 1 / 3))
    assert evidence.failed.groups.sizes == (1, 3)  # c1; c2 and two without a caller
    assert evidence.durations.counts() == (1, 2)
    assert evidence.durations.means() == (0.0, 2.5)
    assert evidence.predictions.counts() == (2, 2)
    assert evidence.predictions.means() == (0.5, 0.3125)
    assert evidence.losses.means() == pytest.approx((-log(0.75), -log(0.5)))


def test_without_probabilities_losses_are_squared_errors(lake: Lake) -> None:
    asked = [("a", "old", 200, "c1", 3), ("b", "new", 200, "c2", 3)]
    fill(lake, LOGGED.tables, asked, [("a", 10.0, None, 12.0), ("b", 10.0, None, 13.0)])
    evidence = read_evidence(lake, LOGGED, 3, run())
    assert evidence.predictions.means() == (10.0, 10.0)
    assert evidence.losses.means() == (4.0, 9.0)


def test_texts_are_right_or_wrong(lake: Lake) -> None:
    asked = [("a", "old", 200, "c1", 3), ("b", "new", 200, "c2", 3)]
    fill(lake, LOGGED.tables, asked, [("a", "yes", None, "yes"), ("b", "yes", None, "no")])
    evidence = read_evidence(lake, LOGGED, 3, run())
    assert sorted(evidence.predictions.values) == ["yes", "yes"]
    assert evidence.losses.means() == (0.0, 1.0)


def test_in_shadow_the_callers_that_were_not_copied_stand_for_the_champion(lake: Lake) -> None:
    asked = [("a", "old", 200, "c1", 3), ("b", "old", 200, "c2", 3), ("c", "old", 400, "c2", 3)]
    fill(lake, LOGGED.tables, asked, [("a", 0.0, 0.25, None), ("b", 1.0, 0.5, None)])
    fill(lake, LOGGED.shadow_tables, [("a", "new", 200, "c1", 3)], [("a", 1.0, 1.0, None)])
    evidence = read_evidence(lake, LOGGED, 3, run(0))
    assert evidence.failed.means() == (0.5, 0.0)
    assert evidence.failed.groups.sizes == (1, 1)
    assert evidence.predictions.means() == (0.5, 1.0)
