"""From the inference tables to what is compared."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import log
from pathlib import Path

import pytest

from millrace.core.clock import ManualClock
from millrace.core.principal import Principal
from millrace.database.engine import open_database
from millrace.lake.adapters.delta import DeltaTableStore
from millrace.lake.adapters.sql_catalog import SqlCatalog
from millrace.lake.lake import Lake
from millrace.serving.canary.types import Canary, CanaryRun, CanarySettings
from millrace.serving.evidence import read_evidence
from millrace.serving.inference_tables import PAYLOAD
from millrace.serving.types import Capture

NOW = datetime(2025, 3, 1, tzinfo=UTC)
LOGGED = Capture("main", "logs", "p")
CANARY = Canary("old", "new", CanarySettings((50, 100), shadow=20))


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
            ("timestamp", pa.timestamp("us", "UTC")),
            ("prediction", kind),
            ("probability", pa.float64()),
            ("actual_label", kind),
        ]
    )
    names = ("request_id", "prediction", "probability", "actual_label")
    rows = [dict(zip(names, row, strict=True)) | {"timestamp": NOW + timedelta(seconds=1)} for row in said]
    for name, table in (
        ("payload", pa.Table.from_pylist(payload, PAYLOAD)),
        ("predictions", pa.Table.from_pylist(rows, schema)),
    ):
        lake.ensure(f"{prefix}_{name}", table.schema)
        lake.append(f"{prefix}_{name}", table)


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
