from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pytest

import millrace as mr
from millrace.core.errors import InvalidInput, NotFound
from millrace.features.functions import store as function_store
from millrace.features.functions.store import create_function
from millrace.pipeline import training_parts
from millrace.pipeline.admit import tables_read
from millrace.pipeline.definition import definition
from millrace.pipeline.plan import build_plan
from millrace.pipeline.smoke import _compare, _reads_time
from millrace.workspace import Workspace
from tests.unit.pipeline.conftest import NOW, Fill, utc_times
from tests.unit.pipeline.shop import DAY, FEATURES, WEEK, context, declared

LABEL = mr.Label("ml.labels.found", "came_back", ("customer_id",), "label_time", known_after=WEEK)
CALL = mr.FeatureFunction("ml.functions.hours", {"at": "label_time", "visits": "customer_id"})


def hours(at: datetime, visits: int) -> float:
    return at.hour + visits / 2


def other_hours(at: datetime, visits: int) -> float:
    return at.hour - visits / 2


def of_day(at: date, visits: int) -> int:
    return at.day + visits


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Nothing stays declared in this process."""
    yield
    function_store._declared.clear()


def pipeline(*lookups: Any, **changes: Any) -> mr.Pipeline:
    return declared(**{"features": [], "lookups": [*lookups, CALL], "label": LABEL} | changes)


def test_lookups_and_functions_are_told_apart() -> None:
    lookup = mr.FeatureLookup("ml.features.found", "customer_id")
    mixed = pipeline(CALL, lookup)
    assert mixed.all_lookups == (lookup,)
    assert mixed.functions == (CALL, CALL)
    computed = declared(lookups=[CALL])  # over what the pipeline computes itself
    assert [each.table_name for each in computed.all_lookups] == [FEATURES]
    assert pipeline().all_lookups == ()
    assert {str(name) for name in tables_read(mixed)} == {"ml.features.found", "ml.labels.found"}


def test_other_code_asks_for_a_training_and_planning_registers_nothing(workspace: Workspace) -> None:
    store = workspace.functions
    plain = declared(features=[], lookups=[mr.FeatureLookup("ml.features.found", "customer_id")], label=LABEL)
    with pytest.raises(NotFound, match=r"function ml\.functions\.hours does not exist"):
        definition(pipeline(), store)
    create_function(store, "ml.functions.hours", hours)
    first = definition(pipeline(), store)
    assert definition(pipeline(), store) == first
    mr.feature_function("ml.functions.hours")(other_hours)
    second = definition(pipeline(), store)
    assert len({first, second, definition(plain, store)}) == 3
    assert [each.version for each in store.versions("ml.functions.hours")] == [1]
    mr.feature_function("ml.functions.hours")(hours)
    assert definition(pipeline(), store) == first


def test_an_unknown_function_stops_the_plan_with_a_hint(workspace: Workspace, fill: Fill) -> None:
    fill("ml.labels.found", pa.table({"customer_id": [1], "label_time": utc_times([NOW]), "came_back": [1]}))
    create_function(workspace.functions, "ml.functions.hour", hours)
    with pytest.raises(NotFound) as refused:
        build_plan(workspace, pipeline())
    assert "did you mean 'ml.functions.hour'?" in refused.value.hint


def test_training_parts_are_made_with_functions_over_the_labels_keys_and_times(
    workspace: Workspace, fill: Fill
) -> None:
    labels = {
        "customer_id": list(range(60)),
        "label_time": utc_times([NOW + n * DAY for n in range(-60, 0)]),
        "came_back": [n % 2 for n in range(60)],
    }
    fill("ml.labels.found", pa.table(labels))
    mr.feature_function("ml.functions.hours")(hours)
    found = pipeline()
    parts = training_parts.assemble(workspace, found, context(workspace, found, NOW).pins)
    rows = parts.train.table
    assert rows.column("hours").to_pylist() == [customer / 2 for customer in rows.column("customer_id").to_pylist()]
    assert parts.train.spec.inputs == ("hours",)
    assert parts.train.spec.request_columns == ("label_time", "customer_id")  # no lookup asks at that time
    assert parts.train.spec == parts.holdout.spec
    assert not _reads_time(parts.train.spec)
    assert workspace.functions.get("ml.functions.hours").version == 1
    code = function_store.code_hash(workspace.functions, "ml.functions.hours")
    assert parts.train.record.code == {"ml.functions.hours": code}


def test_a_function_of_another_type_than_its_column_is_refused(workspace: Workspace, fill: Fill) -> None:
    labels = {"customer_id": [1] * 60, "label_time": utc_times([NOW - n * DAY for n in range(60)])}
    fill("ml.labels.found", pa.table({**labels, "came_back": [n % 2 for n in range(60)]}))
    mr.feature_function("ml.functions.hours")(of_day)
    found = pipeline()
    with pytest.raises(InvalidInput, match=r"parameter 'at' of function ml\.functions\.hours is date"):
        training_parts.assemble(workspace, found, context(workspace, found, NOW).pins)


def test_an_answer_between_then_and_now_is_the_offline_one() -> None:
    rows = [{"k": number} for number in range(4)]
    expected = [(0.5, 0.5), (0.2, 0.3), (0.3, 0.2), (0.2, 0.3)]
    found = _compare(rows, expected, [0.5 + 1e-7, 0.25, 0.2, 0.4])
    assert (found.rows, found.differing) == (4, 1)
    assert found.largest_difference == pytest.approx(0.1)
    assert found.example == "{'k': 3} gave 0.4, not 0.2"
    assert _compare(rows[:1], [(0.5, 0.5)], [float("nan")]).differing == 1
