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
