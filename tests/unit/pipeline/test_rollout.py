"""A pipeline whose new versions take over by a canary: each run asks how it stands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

import millrace as mr
from millrace.core.errors import InvalidInput, InvalidState
from millrace.jobs.types import Status
from millrace.pipeline.context import Pins, Quiet, RunContext
from millrace.pipeline.plan import Plan, Request, build_plan
from millrace.pipeline.stages import deploy
from millrace.pipeline.stages.deploy import Promote
from millrace.pipeline.stages.stage import Outcome
from millrace.targets.types import CanaryStatus, DeploymentSpec, DeploymentStatus
from millrace.workspace import Workspace, open_workspace

NOW = datetime(2025, 3, 3, tzinfo=UTC)
PIPELINE = mr.Pipeline(
    name="churn",
    label=mr.Label("ml.labels.churn", "churned", ("customer_id",), "label_time"),
    lookups=[mr.FeatureLookup("ml.features.activity", "customer_id", timestamp_lookup_key="label_time")],
    candidates=[mr.Linear(), mr.Dummy()],
    gates=[mr.BeatsBaselines()],
    rollout=mr.Rollout(canary=(10, 50, 100), min_requests=30, wait=timedelta(hours=2)),
)
TRAIN = Request(parts=frozenset({"train"}))


@dataclass
class Target:
    """A place that serves version 1, and does what it is told; a canary goes as the test says."""

    serves: str | None = "1"
    canary: CanaryStatus | None = None
    deployed: list[DeploymentSpec] = field(default_factory=list)

    def status(self, endpoint: str) -> DeploymentStatus | None:
        return None if self.serves is None else DeploymentStatus(endpoint, "ready", self.serves, "", self.canary)

    def deploy(self, spec: DeploymentSpec) -> DeploymentStatus:
        self.deployed.append(spec)
        if spec.canary is None:
            self.serves = spec.version
        else:
            self.canary = CanaryStatus(spec.model, spec.version, "running", 10, "")
        return DeploymentStatus(spec.endpoint, "ready", self.serves, "", self.canary)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    opened = open_workspace(tmp_path / "home")
    opened.clock.set(NOW)
    yield opened
    opened.close()


@pytest.fixture
def promoted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The aliases that were moved; a registry takes seconds, and has tests of its own."""
    moved: list[tuple[str, str]] = []
    monkeypatch.setattr(deploy, "_promote", lambda _, version, alias, *_rest: moved.append((version, alias)))
    return moved


def promote(workspace: Workspace, target: Target, pipeline: mr.Pipeline = PIPELINE) -> Outcome:
    @contextmanager
    def opened() -> Iterator[Any]:
        yield target

    outputs = {"register": {"version": "2"}, "validate": {"champion": "1"}}
    context = RunContext(workspace, pipeline, Pins(NOW), cast(Any, opened), Quiet(), cast(Any, outputs))
    return Promote("g", "d", "because").run(context)


def canary(outcome: str, share: int = 0, message: str = "", version: str = "2") -> CanaryStatus:
    return CanaryStatus("ml.models.churn", version, cast(Any, outcome), share, message)


def test_without_a_rollout_a_version_takes_over_at_once(workspace: Workspace, promoted: list[tuple[str, str]]) -> None:
    target = Target()
    outcome = promote(workspace, target, replace(PIPELINE, rollout=None))
    assert (outcome.status, outcome.detail) == ("done", "churn serves v2")
    assert [spec.canary for spec in target.deployed] == [None]
    assert promoted == [("2", "production")]


@pytest.mark.parametrize("serves", [None, "2"])
def test_where_nobody_else_serves_there_is_nothing_to_compare(
    workspace: Workspace, promoted: list[tuple[str, str]], serves: str | None
) -> None:
    target = Target(serves)
    assert promote(workspace, target).status == "done"
    assert [spec.canary for spec in target.deployed] == [None]
    assert promoted == [("2", "production")]


def test_a_canary_is_begun_once_and_asked_about_until_it_has_finished(
    workspace: Workspace, promoted: list[tuple[str, str]]
) -> None:
    target = Target()
    begun = promote(workspace, target)
    assert (begun.status, begun.detail) == ("waiting", "canary of v2 on churn: 10 % of the traffic")
    assert begun.output == {"version": "2", "group": "g", "definition": "d", "why": "because"}
    sent = target.deployed[0].canary
    assert sent is not None
    assert (sent["steps"], sent["min_requests"], sent["wait_s"]) == ([10, 50, 100], 30, 7200.0)
    target.canary = canary("running", 50, "waits for a sample")
    assert promote(workspace, target).detail == "canary of v2 on churn: 50 % of the traffic; waits for a sample"
    assert (len(target.deployed), promoted) == (1, [])
    # Also where the challenger has the most of the traffic already.
    target.serves = "2"
    assert promote(workspace, target).status == "waiting"
    target.canary = canary("finished", 100)
    assert promote(workspace, target).status == "done"
    assert promoted == [("2", "production")]


@pytest.mark.parametrize("outcome", ["rolled_back", "cancelled"])
def test_a_canary_that_ended_badly_refuses_the_version(
    workspace: Workspace, promoted: list[tuple[str, str]], outcome: str
) -> None:
    target = Target(canary=canary(outcome, message="errors: half of them"))
    refused = promote(workspace, target)
    reason = f"canary of v2 on churn, {outcome.replace('_', ' ')}: errors: half of them"
    assert (refused.status, refused.detail, refused.output["reason"]) == ("refused", reason, reason)
    assert (target.deployed, promoted) == ([], [])


def test_what_was_left_again_by_hand_is_not_promoted(workspace: Workspace, promoted: list[tuple[str, str]]) -> None:
    refused = promote(workspace, Target("1", canary("finished", 0)))
    assert refused.status == "refused"
    assert "has left it again" in refused.detail
    assert promoted == []


def test_what_was_promoted_once_and_left_since_takes_over_by_another_canary(
    workspace: Workspace, promoted: list[tuple[str, str]]
) -> None:
    """Its stage runs again only where somebody asked for the release, as after a rollback."""
    stage_ended(workspace, "done")
    target = Target("1", canary("finished", 100))
    assert promote(workspace, target).status == "waiting"
    assert [spec.version for spec in target.deployed] == ["2"]
    stage_ended(workspace, "waiting")
    target.canary = canary("finished", 100)
    assert "has left it again" in promote(workspace, target).detail
    target.serves = "2"
    assert promote(workspace, target).status == "done"
    assert promoted == [("2", "production")]


def stage_ended(workspace: Workspace, status: Status) -> None:
    stage = Promote("g", "d", "because")
    run = workspace.runs.start(PIPELINE.name, NOW, NOW, "user:ada", "")
    begun = workspace.runs.start_stage(run, PIPELINE.name, stage.name, stage.fingerprint, NOW)
    workspace.runs.end_stage(begun, status, NOW, 0.1, {"version": "2"})


def test_the_canary_of_an_older_challenger_is_replaced(workspace: Workspace, promoted: list[tuple[str, str]]) -> None:
    target = Target(canary=canary("running", 50, version="1.5"))
    assert promote(workspace, target).status == "waiting"
    assert [spec.version for spec in target.deployed] == ["2"]
    assert promoted == []


def test_a_canary_that_does_not_begin_is_an_error(workspace: Workspace) -> None:
    target = Target()
    target.deploy = lambda spec: DeploymentStatus(spec.endpoint, "failed", "1", "no such file")  # type: ignore[method-assign]
    with pytest.raises(InvalidState, match="did not begin a canary of v2: no such file"):
        promote(workspace, target)


def test_a_rollout_that_can_not_work_is_refused_when_it_is_written() -> None:
    for wrong in ({"canary": (50, 10, 100)}, {"canary": (100,)}, {"min_requests": 0}, {"wait": timedelta(0)}):
        with pytest.raises(InvalidInput):
            mr.Rollout(**cast(Any, wrong))


def record(workspace: Workspace, plan: Plan, ends: dict[str, Status], output: dict[str, object]) -> None:
    """Write down, as the executor does, how the stages of a plan ended."""
    run = workspace.runs.start(plan.pipeline, plan.due, NOW, "user:ada", "")
    for step in plan.needed:
        status = ends.get(step.stage.name, "done")
        stage = workspace.runs.start_stage(run, plan.pipeline, step.stage.name, step.stage.fingerprint, NOW)
        kept = output if status == "waiting" else {"version": "2"}
        workspace.runs.end_stage(stage, status, NOW, 0.1, kept)


def test_while_a_canary_runs_a_plan_has_nothing_else_to_train(workspace: Workspace) -> None:
    first = build_plan(workspace, PIPELINE, TRAIN)
    last = first.needed[-1].stage
    assert isinstance(last, Promote)
    output: dict[str, object] = {"version": "2", "group": last.group, "definition": last.definition, "why": last.why}
    record(workspace, first, {"production": "waiting"}, output)
    # Another day, and another definition: neither begins a second training beside the canary.
    workspace.clock.set(NOW + timedelta(days=3))
    changed = replace(PIPELINE, candidates=[mr.Linear(C=0.1), mr.XGBoost(), mr.Dummy()])
    plans = [build_plan(workspace, pipeline, TRAIN) for pipeline in (PIPELINE, changed)]
    for plan in plans:
        assert [step.stage.name for step in plan.needed] == ["production"]
        assert plan.training.why == "v2 is taking over churn"
        assert plan.needed[0].stage.fingerprint == last.fingerprint
    # Who asks for a training gets one all the same.
    asked = build_plan(workspace, PIPELINE, Request(retrain=True, parts=frozenset({"train"})))
    assert "training set" in [step.stage.name for step in asked.needed]
    record(workspace, plans[0], {"production": "refused"}, output)
    assert build_plan(workspace, PIPELINE, TRAIN).training.why == "nothing is in production"


def test_a_canary_of_a_release_that_is_deployed_again_is_asked_about_by_each_run(workspace: Workspace) -> None:
    """Its version was promoted once and rolled back since: that it was done then does not end the canary."""
    first = build_plan(workspace, PIPELINE, TRAIN)
    last = first.needed[-1].stage
    assert isinstance(last, Promote)
    record(workspace, first, {}, {})
    output: dict[str, object] = {"version": "2", "group": last.group, "definition": last.definition, "why": last.why}
    again = replace(first, steps=first.needed[-1:])
    record(workspace, again, {"production": "waiting"}, output)
    plan = build_plan(workspace, PIPELINE, TRAIN)
    assert plan.training.why == "v2 is taking over churn"
    assert [step.stage for step in plan.needed] == [last]
    record(workspace, plan, {"production": "done"}, {})
    assert build_plan(workspace, PIPELINE, TRAIN).training.under_way is None
