from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest

import millrace as mr
from millrace.core.clock import iso
from millrace.jobs.types import Status
from millrace.pipeline.attempts import attempts, recorded, trigger_in
from millrace.pipeline.definition import definition
from millrace.pipeline.fingerprint import fingerprint
from millrace.pipeline.policy import Attempt, Trigger
from millrace.registry.types import ModelName, ModelVersion, Promotion
from millrace.workspace import Workspace
from tests.unit.pipeline.conftest import NOW
from tests.unit.pipeline.shop import DAY, WEEK, declared

PIPELINE = declared(
    features=[], lookups=[mr.FeatureLookup("ml.features.found", "customer_id")], label=declared().labels
)
TRAIN_TO = NOW - 3 * WEEK
CHAMPION = Promotion(ModelName("ml.models.shop"), ModelVersion("1"), "production", None, NOW - WEEK, "ada", "", {})


def ended(
    workspace: Workspace, stage: str, output: Mapping[str, Any] | None = None, status: Status = "done", group: str = "g"
) -> None:
    run = workspace.runs.start("shop", NOW, workspace.clock.now(), "ada", "")
    opened = workspace.runs.start_stage(run, "shop", stage, fingerprint(stage, group), workspace.clock.now())
    workspace.runs.end_stage(opened, status, workspace.clock.now(), 1.0, output or {})


def begun(workspace: Workspace, trigger: Trigger | None, group: str = "g", described: str | None = None) -> None:
    kept = recorded(trigger, group, described or definition(PIPELINE, workspace.functions), "because")
    ended(workspace, "training set", {"train_to": iso(TRAIN_TO), **kept}, group=group)


def only(workspace: Workspace, champion: Promotion = CHAMPION) -> Attempt:
    (found,) = attempts(workspace, PIPELINE, champion)
    return found


@pytest.mark.parametrize("trigger", [None, Trigger(3), Trigger(3, attempt=2), Trigger(tick=NOW)])
def test_what_a_training_was_made_for_is_kept(trigger: Trigger | None) -> None:
    assert trigger_in(recorded(trigger, "g", "d", "because")) == trigger


def test_a_retraining_is_under_way_until_it_is_promoted_or_refused(workspace: Workspace) -> None:
    begun(workspace, None, "asked for by somebody")
    assert attempts(workspace, PIPELINE, CHAMPION) == []
    begun(workspace, Trigger(7))
    assert only(workspace) == Attempt(Trigger(7), NOW, "under_way", TRAIN_TO, why="because")
    ended(workspace, "validate", {"results": []})
    ended(workspace, "register", {"version": "2"})
    assert only(workspace).outcome == "under_way"
    ended(workspace, "production", status="waiting")
    assert only(workspace).outcome == "under_way"
    ended(workspace, "production")
    assert only(workspace).outcome == "promoted"


@pytest.mark.parametrize(
    ("stage", "output", "reason"),
    [
        (
            "validate",
            {"results": [{"passed": False, "reason": "too bad"}, {"passed": True, "reason": "ok"}]},
            "too bad",
        ),
        ("staging", {"reason": "3 of 20 answers differ"}, "3 of 20 answers differ"),
        ("production", {"reason": "the canary was rolled back"}, "the canary was rolled back"),
    ],
)
def test_a_refusal_has_its_reason(workspace: Workspace, stage: str, output: Mapping[str, Any], reason: str) -> None:
    begun(workspace, Trigger(7))
    ended(workspace, stage, output, "refused")
    assert only(workspace) == Attempt(Trigger(7), NOW, "refused", TRAIN_TO, reason, "because")


def promoted(version: str, at: datetime) -> Promotion:
    return Promotion(CHAMPION.model, ModelVersion(version), "production", None, at, "ada", "", {})


def test_what_something_else_has_overtaken_does_not_go_on(workspace: Workspace) -> None:
    begun(workspace, Trigger(7))
    ended(workspace, "register", {"version": "2"})
    assert only(workspace, promoted("2", NOW + DAY)).outcome == "under_way"  # killed after its own promotion
    other = only(workspace, promoted("3", NOW + DAY))
    assert (other.outcome, other.reason) == ("refused", "v3 was put into production before it was done")


def test_one_of_another_definition_does_not_go_on(workspace: Workspace) -> None:
    begun(workspace, Trigger(7), described="of before")
    assert only(workspace).reason == "the pipeline was changed before it was done"
