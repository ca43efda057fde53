from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

import millrace as mr
from millrace.core.errors import NotFound
from millrace.core.names import TableName
from millrace.pipeline.definition import definition
from millrace.pipeline.plan import Plan, Request, Step, build_plan, last_due
from millrace.pipeline.stages.publish import Publish
from millrace.registry.types import ModelName, ModelVersion, Promotion
from millrace.workspace import Workspace
from tests.unit.pipeline.conftest import NOW, Fill
from tests.unit.pipeline.shop import DAY, PURCHASES, START, WEEK, declared, features, labels, purchases

REFRESH = ["features ml.features.shop", "labels ml.labels.shop", "publish ml.features.shop"]
TRAIN = ["training set", "train linear", "train dummy", "validate", "register", "staging", "production"]


@pytest.fixture(autouse=True)
def _rows(workspace: Workspace, fill: Fill) -> None:
    del workspace
    fill(PURCHASES, purchases([(1, START - DAY, 1.0)]))


def names(plan: Plan) -> list[str]:
    return [step.stage.name for step in plan.needed]


def do(workspace: Workspace, plan: Plan, outcomes: dict[str, str] | None = None) -> None:
    """Write down, as the executor does, that the steps of a plan were done."""
    run = workspace.runs.start(plan.pipeline, plan.due, NOW, "user:ada", "")
    for step in plan.needed:
        status: Any = (outcomes or {}).get(step.stage.name, "done")
        stage = workspace.runs.start_stage(run, plan.pipeline, step.stage.name, step.stage.fingerprint, NOW)
        workspace.runs.end_stage(stage, status, NOW, 0.1, {"results": []})
        if status != "done":
            break


def promote(workspace: Workspace, pipeline: mr.Pipeline) -> None:
    verdict = {"definition": definition(pipeline, workspace.functions)}
    model = ModelName(pipeline.model_name)
    workspace.promotions.append(Promotion(model, ModelVersion("1"), "production", None, NOW, "user:ada", "", verdict))


def test_a_first_plan_has_every_stage_with_a_reason(workspace: Workspace) -> None:
    plan = build_plan(workspace, declared())
    assert names(plan) == REFRESH + TRAIN
    assert (plan.due, plan.training.why) == (NOW, "nothing is in production")
    assert all(step.why for step in plan.steps)
    assert workspace.runs.runs() == []  # a plan changes nothing
    assert not workspace.lake.exists("ml.features.shop")


def test_done_stages_are_not_needed_and_at_once_again_there_is_nothing_to_do(workspace: Workspace) -> None:
    pipeline = declared()
    do(workspace, build_plan(workspace, pipeline))
    again = build_plan(workspace, pipeline)
    assert again.needed == ()
    assert again.refused is None
    assert {step.why for step in again.steps} == {"done 2025-06-02T00:00:00Z, unchanged since"}


def test_a_plan_is_for_the_last_tick_not_for_now(workspace: Workspace) -> None:
    pipeline = declared()
    do(workspace, build_plan(workspace, pipeline))
    promote(workspace, pipeline)
    workspace.clock.set(NOW + WEEK - timedelta(microseconds=1))
    assert build_plan(workspace, pipeline).needed == ()
    workspace.clock.set(NOW + WEEK)
    plan = build_plan(workspace, pipeline)
    assert (plan.due, names(plan)) == (NOW + WEEK, REFRESH)
    assert plan.training.why == "production serves v1; no retraining is asked for: no open episode for v1"


def test_new_rows_refresh_and_do_not_train(workspace: Workspace, fill: Fill) -> None:
    pipeline = declared()
    do(workspace, build_plan(workspace, pipeline))
    promote(workspace, pipeline)
    assert build_plan(workspace, pipeline).needed == ()
    fill(PURCHASES, purchases([(2, NOW, 1.0)]))
    assert names(build_plan(workspace, pipeline)) == REFRESH


def test_a_table_that_was_made_anew_is_another_though_its_version_is_the_same(
    workspace: Workspace, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Publish, "stands", lambda *_: True)  # `do` publishes nothing
    others = "ml.features.others"
    rows = purchases([(1, START - DAY, 1.0)])
    fill(others, rows)
    lookup = mr.FeatureLookup(others, "customer_id", timestamp_lookup_key="label_time")
    pipeline = declared(lookups=[lookup])
    promote(workspace, pipeline)
    do(workspace, build_plan(workspace, pipeline))
    assert names(build_plan(workspace, pipeline)) == []
    for name, stage in ((PURCHASES, REFRESH[:2]), (others, [f"publish {others}"])):
        before = workspace.lake.pin(name)
        workspace.lake.drop(name)
        fill(name, rows)
        assert workspace.lake.pin(name) == before
        assert names(build_plan(workspace, pipeline)) == stage
        do(workspace, build_plan(workspace, pipeline))


def test_a_stage_that_did_not_end_is_needed_still(workspace: Workspace) -> None:
    pipeline = declared()
    do(workspace, build_plan(workspace, pipeline), {"validate": "failed"})
    assert names(build_plan(workspace, pipeline)) == ["validate", "register", "staging", "production"]
    do(workspace, build_plan(workspace, pipeline), {"register": "interrupted"})
    assert names(build_plan(workspace, pipeline)) == ["register", "staging", "production"]


def test_a_refusal_stands(workspace: Workspace) -> None:
    pipeline = declared()
    do(workspace, build_plan(workspace, pipeline), {"validate": "refused"})
    plan = build_plan(workspace, pipeline)
    assert plan.needed == ()
    assert plan.refused is not None
    assert plan.refused.stage == "validate"
    by_name: dict[str, Step] = {step.stage.name: step for step in plan.steps}
    assert by_name["register"].why == "the gates refused"
    # Other gates ask again; so do other data.
    assert names(build_plan(workspace, replace(pipeline, gates=[mr.BeatsChampion()]))) == TRAIN
    workspace.clock.set(NOW + WEEK)
    assert names(build_plan(workspace, pipeline)) == REFRESH + TRAIN


CHANGES: list[dict[str, Any]] = [
    {"candidates": [mr.Linear(C=0.5), mr.Dummy()]},
    {"gates": [mr.BeatsBaselines(), mr.BeatsChampion()]},
    {"split": mr.Split(holdout=2 * WEEK)},
    {"seed": 1},
    {"choose_by": "roc_auc"},
    {"exclude": ["spend"]},
    {"features": [replace(features, compute=lambda as_of, tx=features.sources["tx"]: tx.where(str(as_of)))]},
    {"label": replace(labels, column="other")},
    {"label": replace(labels, compute=lambda time, end, tx=features.sources["tx"]: tx.where(str(time) + str(end)))},
]


@pytest.mark.parametrize("changes", CHANGES, ids=[next(iter(change)) for change in CHANGES])
def test_another_definition_asks_for_a_training(workspace: Workspace, changes: dict[str, Any]) -> None:
    promote(workspace, declared())
    plan = build_plan(workspace, declared(**changes))
    assert plan.training.why == "the pipeline differs from the one that made v1"
    assert [name for name in names(plan) if name in TRAIN] == TRAIN


@pytest.mark.parametrize(
    "changes",
    [
        {"monitor": mr.Monitor(effect_floor=0.2)},
        {"alerts": mr.Alert(breaches=3)},
        {"retrain": None},
        {"features": [replace(features, description="other words", tags={"team": "growth"})]},
    ],
)
def test_what_does_not_make_the_model_asks_for_none(workspace: Workspace, changes: dict[str, Any]) -> None:
    promote(workspace, declared())
    assert build_plan(workspace, declared(**changes)).training.key is None


def test_as_of_and_pinned_versions_ask_for_a_training_of_their_own(workspace: Workspace, fill: Fill) -> None:
    pipeline = declared()
    promote(workspace, pipeline)
    fill(PURCHASES, purchases([(2, START, 1.0)]))
    for request in (Request(as_of=START + 5 * WEEK), Request(versions={TableName.parse(PURCHASES): 1})):
        plan = build_plan(workspace, pipeline, request)
        assert [name for name in names(plan) if name in TRAIN] == TRAIN
        assert plan.training.why.startswith("asked for, as of ")
        do(workspace, plan)
        assert build_plan(workspace, pipeline, request).needed == ()
    pinned = build_plan(workspace, pipeline, Request(as_of=START + 5 * WEEK + DAY))
    assert pinned.due == START + 5 * WEEK + DAY
    with pytest.raises(NotFound, match=r"has no version 77"):
        build_plan(workspace, pipeline, Request(versions={TableName.parse(PURCHASES): 77}))


def test_retraining_can_be_asked_for(workspace: Workspace) -> None:
    pipeline = declared()
    promote(workspace, pipeline)
    do(workspace, build_plan(workspace, pipeline))
    plan = build_plan(workspace, pipeline, Request(retrain=True))
    assert (names(plan), plan.training.why) == (TRAIN, "asked for")


def test_parts_of_the_loop_can_be_asked_for(workspace: Workspace) -> None:
    pipeline = declared()
    assert names(build_plan(workspace, pipeline, Request(parts=frozenset({"refresh"})))) == REFRESH
    assert names(build_plan(workspace, pipeline, Request(parts=frozenset({"train"})))) == TRAIN
    assert names(build_plan(workspace, pipeline, Request(parts=frozenset({"watch"})))) == []


def test_a_missing_source_is_named_with_the_nearest(workspace: Workspace) -> None:
    source = mr.Source("bronze.purchase", event_time="at")
    table = replace(features, compute=lambda _, tx=source: tx)
    with pytest.raises(NotFound, match=r"bronze.purchase") as refused:
        build_plan(workspace, declared(features=[table]))
    assert "bronze.purchases" in refused.value.hint


def test_the_newest_tick_of_any_table_is_due() -> None:
    now = START + WEEK + DAY + DAY / 4
    assert last_due(declared(), now) == START + WEEK
    assert last_due(declared(features=[replace(features, every=DAY / 2)]), now) == START + WEEK + DAY
    found = declared(features=[], lookups=[mr.FeatureLookup("a", "b")], label=declared().labels)
    assert last_due(found, now) == START + WEEK + DAY


def test_a_table_ticks_from_its_own_start(workspace: Workspace) -> None:
    # Fortnights from START: another grid than the fortnights of 1970.
    fortnightly = declared(features=[replace(features, every=2 * WEEK)], label=replace(labels, every=2 * WEEK))
    for now in (START + 2 * WEEK, START + 3 * WEEK, START + 4 * WEEK - DAY):
        workspace.clock.set(now)
        plan = build_plan(workspace, fortnightly)
        assert plan.due == START + 2 * WEEK
        assert plan.steps[0].why == "snapshots up to 2025-03-17"
