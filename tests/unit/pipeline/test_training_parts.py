from __future__ import annotations

import json
from datetime import datetime

import pyarrow as pa
import pytest

import millrace as mr
from millrace.core.errors import LawBroken
from millrace.feature_engineering import FeatureEngineeringClient
from millrace.pipeline import training_parts
from millrace.pipeline.context import RunContext
from millrace.workspace import Workspace
from tests.unit.pipeline.conftest import NOW, Fill, utc_times
from tests.unit.pipeline.shop import DAY, WEEK, context, declared

FOUND = [mr.FeatureLookup("ml.features.found", "customer_id")]
LABEL = mr.Label("ml.labels.found", "came_back", ("customer_id",), "label_time", known_after=WEEK)
PIPELINE = declared(features=[], lookups=FOUND, label=LABEL)


@pytest.fixture(autouse=True)
def _tables(workspace: Workspace, fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels that somebody else fills, some of them of times whose labels are not to be known yet."""
    monkeypatch.setenv(
        "MLFLOW_TRACKING_URI", workspace.settings.mlflow_url
    )  # or the client would, for all tests to come
    keyed = FeatureEngineeringClient(workspace=workspace)
    keyed.create_table(
        name="ml.features.found", primary_keys="customer_id", df=pa.table({"customer_id": [1], "spend": [1.0]})
    )
    times = [NOW + n * DAY for n in range(-60, 20)]
    labels = {"customer_id": [1] * 80, "label_time": utc_times(times), "came_back": [n % 2 for n in range(80)]}
    fill("ml.labels.found", pa.table(labels))


def resumed(workspace: Workspace, as_of: datetime, kept: str) -> RunContext:
    """A run that was killed after its training set was assembled, and goes on at another time."""
    found = context(workspace, PIPELINE, as_of)
    found.outputs[training_parts.STAGE] = json.loads(kept)
    return found


def test_a_training_that_is_resumed_days_later_goes_on_with_the_same_rows(workspace: Workspace) -> None:
    begun = training_parts.assemble(workspace, PIPELINE, context(workspace, PIPELINE, NOW).pins)
    later = training_parts.of_run(resumed(workspace, NOW + 5 * DAY, json.dumps(begun.output())))
    assert later.windows == begun.windows
    assert later.train.table.equals(begun.train.table)
    assert later.holdout.table.equals(begun.holdout.table)
    assert later.windows.holdout_to == NOW - WEEK


def test_rows_that_differ_from_those_it_began_with_break_a_law(workspace: Workspace) -> None:
    begun = training_parts.assemble(workspace, PIPELINE, context(workspace, PIPELINE, NOW).pins)
    kept = json.dumps({**begun.output(), "fingerprint": "another"})
    with pytest.raises(LawBroken, match="differs from the one that this run began with"):
        training_parts.of_run(resumed(workspace, NOW, kept))


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (range(-50, -40), range(-13, -6)),  # a table of long ago: the last week of labels
        (range(-9, -6), range(-9, -6)),  # a younger one begins within that week, and what is before it was trained on
    ],
)
def test_the_champion_is_challenged_on_the_newest_labels_whatever_the_holdout_table_holds(
    workspace: Workspace, fill: Fill, days: range, expected: range
) -> None:
    times = [NOW + n * DAY for n in days]
    rows = {"customer_id": [1] * len(days), "label_time": utc_times(times), "came_back": [n % 2 for n in days]}
    fill("ml.labels.kept_apart", pa.table(rows))
    pipeline = declared(features=[], lookups=FOUND, label=LABEL, holdout="ml.labels.kept_apart")
    parts = training_parts.assemble(workspace, pipeline, context(workspace, pipeline, NOW).pins)
    assert parts.holdout.table.column("label_time").to_pylist() == times
    newest = parts.newest.table.column("label_time").to_pylist()
    assert newest == [NOW + n * DAY for n in expected]
    assert parts.windows.train_to < newest[0]


def test_without_such_a_table_the_holdout_is_the_newest_labels(workspace: Workspace) -> None:
    parts = training_parts.assemble(workspace, PIPELINE, context(workspace, PIPELINE, NOW).pins)
    assert parts.newest is parts.holdout
