"""After a rollback nothing is trained again behind anybody's back, and the version that is back is known as before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import millrace as mr
from millrace.pipeline.definition import definition
from millrace.pipeline.plan import Request, Training, build_plan
from millrace.pipeline.retrain import in_production
from millrace.pipeline.rollback import rolled_back
from millrace.registry.types import ModelName, ModelVersion, Promotion
from millrace.workspace import Workspace, open_workspace

FIRST = datetime(2025, 3, 3, tzinfo=UTC)
PIPELINE = mr.Pipeline(
    name="churn",
    label=mr.Label("ml.labels.churn", "churned", ("customer_id",), "label_time"),
    lookups=[mr.FeatureLookup("ml.features.activity", "customer_id", timestamp_lookup_key="label_time")],
    candidates=[mr.Linear(), mr.Dummy()],
    gates=[mr.BeatsBaselines()],
)
CHANGED = replace(PIPELINE, candidates=[mr.Linear(C=0.1), mr.Dummy()])


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    opened = open_workspace(tmp_path / "home")
    yield opened
    opened.close()


def test_a_version_that_was_rolled_back_to_is_served_under_its_own_verdict(workspace: Workspace) -> None:
    _trained(workspace, "1", PIPELINE)
    _trained(workspace, "2", PIPELINE)
    _rolled_back(workspace, "1", "2")
    now = in_production(workspace, PIPELINE)
    assert now is not None
    assert (now.version, now.replaced, now.verdict["run_id"]) == ("1", "2", "run of 1")


def test_after_a_rollback_nothing_is_trained_by_itself(workspace: Workspace) -> None:
    _trained(workspace, "1", PIPELINE)
    _trained(workspace, "2", PIPELINE)
    _rolled_back(workspace, "1", "2")
    assert _training(workspace, PIPELINE).key is None


def test_a_changed_pipeline_whose_version_was_rolled_back_is_not_trained_again(workspace: Workspace) -> None:
    _trained(workspace, "1", PIPELINE)
    _trained(workspace, "2", CHANGED)
    _rolled_back(workspace, "1", "2")
    assert _training(workspace, CHANGED).key is None
    assert _training(workspace, PIPELINE).key is None
    assert "differs from the one that made v2" in _training(workspace, replace(CHANGED, seed=1)).why


def test_a_version_is_rolled_back_until_it_is_in_production_again(workspace: Workspace) -> None:
    model, one, two = ModelName(PIPELINE.model_name), ModelVersion("1"), ModelVersion("2")
    judged: dict[str, object] = {"winner": "linear"}

    def out() -> list[bool]:
        return [rolled_back(workspace, model, each) is not None for each in (one, two)]

    assert out() == [False, False]
    _promoted(workspace, "1", None, judged)
    _promoted(workspace, "2", one, judged)
    assert out() == [False, False]  # replaced by a promotion
    _rolled_back(workspace, "1", "2")
    found = rolled_back(workspace, model, two)
    assert found is not None
    assert (found.version, found.at, found.why) == ("1", FIRST + timedelta(days=2), "because")
    assert out() == [False, True]
    _promoted(workspace, "3", one, judged)
    assert out() == [False, True]  # what came after the other one says nothing about it
    _rolled_back(workspace, "1", "3")
    _rolled_back(workspace, "3", "1")
    assert out() == [True, True]
    _promoted(workspace, "2", ModelVersion("3"), judged)
    assert out() == [True, False]


def _training(workspace: Workspace, pipeline: mr.Pipeline) -> Training:
    return build_plan(workspace, pipeline, Request(parts=frozenset({"train"}))).training


def _trained(workspace: Workspace, version: str, pipeline: mr.Pipeline) -> None:
    verdict: dict[str, object] = {
        "definition": definition(pipeline, workspace.functions),
        "run_id": f"run of {version}",
    }
    _promoted(workspace, version, None, verdict)


def _rolled_back(workspace: Workspace, to: str, leaving: str) -> None:
    _promoted(workspace, to, ModelVersion(leaving), {})


def _promoted(workspace: Workspace, version: str, replaced: ModelVersion | None, verdict: dict[str, object]) -> None:
    model = ModelName(PIPELINE.model_name)
    at = FIRST + timedelta(days=len(workspace.promotions.read(model)))
    promotion = Promotion(model, ModelVersion(version), "production", replaced, at, "user:ada", "because", verdict)
    workspace.promotions.append(promotion)
