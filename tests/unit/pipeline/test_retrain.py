from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

import pyarrow as pa
import pytest

import millrace as mr
from millrace.alerts.types import Episode, EpisodeId, Notification
from millrace.core.clock import iso
from millrace.jobs.types import Status
from millrace.monitoring.tables.schemas import MetricTables, verdicts_schema
from millrace.monitoring.tables.verdict_table import verdict_row
from millrace.monitoring.types import MonitorSpec, Severity, WindowVerdict
from millrace.monitoring.types import Status as VerdictStatus
from millrace.pipeline.attempts import recorded
from millrace.pipeline.definition import definition
from millrace.pipeline.fingerprint import fingerprint
from millrace.pipeline.plan import build_plan
from millrace.pipeline.policy import Decision, Trigger
from millrace.pipeline.retrain import alert_rule, close_episode, close_left_behind, decide, situation, subject
from millrace.registry.types import ModelName, ModelVersion, Promotion
from millrace.workspace import Workspace
from tests.unit.pipeline.conftest import NOW, Fill, utc_times
from tests.unit.pipeline.shop import DAY, LABELS, WEEK, declared

PIPELINE = declared()
PROMOTED = NOW - 10 * WEEK
BEGAN = NOW - 6 * WEEK


def promote(
    workspace: Workspace,
    version: str = "1",
    at: datetime = PROMOTED,
    alias: str = "production",
    verdict: Mapping[str, object] | None = None,
) -> None:
    promotion = Promotion(
        ModelName(PIPELINE.model_name), ModelVersion(version), alias, None, at, "user:ada", "because", verdict or {}
    )
    workspace.promotions.append(promotion)


def open_episode(
    workspace: Workspace, version: str = "1", kinds: tuple[str, ...] = ("drift",), began_at: datetime = BEGAN
) -> Episode:
    episode = Episode(
        EpisodeId(0),
        alert_rule(PIPELINE).name,
        subject(PIPELINE, version),
        "open",
        began_at,
        began_at + DAY,
        began_at + DAY,
        None,
        "spend moved",
        {"kinds": list(kinds)},
        kinds[0],
    )
    return workspace.episodes.open(episode, Notification(f"k{version} {kinds[0]}", "t", "b", (), began_at))


def labels_known(fill: Fill, until: datetime) -> None:
    """Weekly labels; their horizon is two weeks, so the newest known at `until` is two weeks older."""
    times = [until - n * WEEK for n in range(20)]
    fill(
        LABELS,
        pa.table({"customer_id": [1] * 20, "label_time": utc_times(times), "came_back": [n % 2 for n in range(20)]}),
    )


def predictions(fill: Fill, times: list[datetime], labels: list[int | None]) -> None:
    rows = {"timestamp": utc_times(times), "actual_label": pa.array(labels, pa.float64())}
    fill(str(PIPELINE.predictions_table), pa.table(rows))


def decided(workspace: Workspace, as_of: datetime = NOW, **changes: Any) -> Decision:
    return decide(workspace, declared(**changes), as_of)


def test_calm_without_a_policy_a_champion_or_an_episode(workspace: Workspace) -> None:
    assert decided(workspace).reason == "nothing in production yet"
    promote(workspace, alias="staging")
    assert decided(workspace).reason == "nothing in production yet"
    promote(workspace)
    assert decided(workspace) == Decision("calm", "no open episode for v1")
    open_episode(workspace)
    assert decided(workspace, retrain=None) == Decision("calm", "no retraining policy")


def test_an_episode_is_of_the_version_that_is_served(workspace: Workspace) -> None:
    promote(workspace)
    open_episode(workspace)
    assert decided(workspace).trigger is not None
    promote(workspace, "2", NOW)
    assert decided(workspace) == Decision("calm", "no open episode for v2")


def test_other_kinds_of_trouble_do_not_retrain(workspace: Workspace) -> None:
    promote(workspace)
    episode = open_episode(workspace, kinds=("quality",))
    found = decided(workspace)
    assert (found.state, found.trigger) == ("waiting", Trigger(episode.id))
    assert "of a kind that the policy does not retrain on: spend moved" in found.reason


def test_each_kind_of_trouble_has_its_own_beginning(workspace: Workspace) -> None:
    promote(workspace)
    open_episode(workspace, kinds=("quality",))
    open_episode(workspace, kinds=("drift",), began_at=BEGAN + 3 * WEEK)
    (trouble,) = situation(workspace, PIPELINE, NOW).episodes
    assert trouble.since == {"quality": BEGAN, "drift": BEGAN + 3 * WEEK}
    assert (trouble.kinds, trouble.began_at) == (("drift", "quality"), BEGAN)


def test_after_a_promotion_there_is_a_cooldown(workspace: Workspace, fill: Fill) -> None:
    promote(workspace, at=NOW - 2 * WEEK + timedelta(microseconds=1))
    open_episode(workspace)
    labels_known(fill, NOW)
    found = decided(workspace)
    assert found.state == "waiting"
    assert "the cooldown lasts until 2025-06-02T00:00:00.000001Z" in found.reason
    assert "cooldown" not in decided(workspace, NOW + timedelta(microseconds=1)).reason


def test_it_waits_for_a_label_table_that_is_not_there_yet(workspace: Workspace, fill: Fill) -> None:
    promote(workspace)
    episode = open_episode(workspace)
    assert decided(workspace) == Decision("waiting", "there is no table ml.labels.shop yet", Trigger(episode.id))
    labels_known(fill, NOW + 100 * WEEK)
    assert decided(workspace).reason.startswith("no label of ml.labels.shop is known")


def test_it_waits_for_labels_and_is_due_when_they_are_there(workspace: Workspace, fill: Fill) -> None:
    promote(workspace)
    open_episode(workspace)
    labels_known(fill, NOW)
    found = decided(workspace)
    assert (found.state, found.labels) == ("waiting", 0)
    # Known at NOW: labels up to NOW - 2 weeks. The holdout is that week, and training ends two weeks before it.
    train_to = NOW - 4 * WEEK
    assert f"training ends {train_to:%Y-%m-%d}" in found.reason
    inside = [BEGAN + timedelta(microseconds=1), train_to - DAY, train_to]
    outside = [BEGAN, train_to + timedelta(microseconds=1), NOW]
    predictions(fill, [*inside[:2], *outside], [0, 1, 1, 1, 1])
    assert decided(workspace).labels == 2
    predictions(fill, [train_to], [None])
    assert (decided(workspace).state, decided(workspace).labels) == ("waiting", 2)
    predictions(fill, [train_to], [1])
    found = decided(workspace)
    assert (found.state, found.labels) == ("due", 3)
    assert found.reason.startswith("3 labels of predictions made since 2025-04-21 are known early enough")


def test_the_policy_looks_at_the_last_windows_of_the_champion(workspace: Workspace, fill: Fill) -> None:
    promote(workspace, at=NOW - 3 * WEEK)
    open_episode(workspace)
    spec = MonitorSpec(str(PIPELINE.predictions_table), "ml.monitoring")
    seen: list[tuple[int, str, VerdictStatus, Severity]] = [
        (30, "1", "drift", "warning"),  # before it was promoted
        (9, "1", "drift", "warning"),
        (8, "2", "drift", "warning"),  # another version's
        (7, "1", "insufficient_data", "warning"),
        (6, "1", "drift", "info"),
        (5, "1", "explained", "warning"),
    ]
    verdicts = [
        WindowVerdict("drift", version, NOW - n * DAY, NOW - (n - 1) * DAY, status, 0.5, severity=severity)
        for n, version, status, severity in seen
    ]
    rows = [verdict_row(spec, verdict) for verdict in verdicts]
    fill(str(MetricTables.of(spec).verdicts), pa.Table.from_pylist(rows, schema=verdicts_schema(spec)))
    assert situation(workspace, PIPELINE, NOW).windows == {"drift": [True, False, False]}
    policy = mr.Retrain(on=("drift",), breaches=2, out_of=3)
    assert "drift is bad in 1 of the last 3 windows (2 are asked for)" in decided(workspace, retrain=policy).reason
    assert "drift is bad" not in decided(workspace, retrain=mr.Retrain(on=("drift",))).reason


def test_a_due_retraining_is_planned(workspace: Workspace, fill: Fill) -> None:
    fill("ml.features.found", pa.table({"customer_id": [1], "spend": [1.0]}))
    labels_known(fill, NOW)
    predictions(fill, [NOW - 5 * WEEK] * 3, [0, 1, 1])
    found = [mr.FeatureLookup("ml.features.found", "customer_id")]
    given = declared(features=[], lookups=found, label=PIPELINE.labels, monitor=None)
    promote(workspace, verdict={"definition": definition(given, workspace.functions)})
    assert [step.stage.name for step in build_plan(workspace, given).steps] == ["publish ml.features.found"]
    episode = open_episode(workspace)
    plan = build_plan(workspace, given)
    assert (plan.decision.state, plan.training.key) == ("due", f"episode {episode.id}")
    assert [step.stage.name for step in plan.needed] == [
        "publish ml.features.found",
        "training set",
        "train linear",
        "train dummy",
        "validate",
        "register",
        "staging",
        "production",
    ]


def test_a_refused_retraining_is_not_planned_again(workspace: Workspace, fill: Fill) -> None:
    promote(workspace)
    labels_known(fill, NOW)
    predictions(fill, [NOW - 5 * WEEK] * 3, [0, 1, 1])
    trigger = Trigger(open_episode(workspace).id)
    assert (decided(workspace).state, decided(workspace).trigger) == ("due", trigger)
    kept = recorded(trigger, "g", definition(PIPELINE, workspace.functions), "because")
    run = workspace.runs.start("shop", NOW, NOW, "ada", "")
    for stage, status, output in (
        ("training set", "done", {"train_to": iso(NOW - 4 * WEEK), **kept}),
        ("validate", "refused", {"results": [{"passed": False, "reason": "v1 is better"}]}),
    ):
        assert decided(workspace).trigger == trigger  # also while it is under way
        opened = workspace.runs.start_stage(run, "shop", stage, fingerprint(stage, "g"), NOW)
        workspace.runs.end_stage(opened, cast("Status", status), NOW, 1.0, output)
    workspace.clock.set(NOW + 3 * WEEK)  # after the cooldown
    found = decided(workspace, NOW + 3 * WEEK)
    assert (found.state, found.trigger, found.labels) == ("waiting", replace(trigger, attempt=2), 0)
    assert found.reason.startswith(f"the retraining for {trigger} was refused: v1 is better; 0 of 3 labels since")


def test_a_replaced_versions_episode_ends(workspace: Workspace) -> None:
    promote(workspace)
    episode = open_episode(workspace)
    close_episode(workspace, PIPELINE, "1", "2")
    close_episode(workspace, PIPELINE, "1", "2")
    ended = workspace.episodes.get(episode.id)
    assert ended.status == "resolved"
    assert ended.closed_at == NOW
    (event,) = workspace.events.read(kind="episode.resolved")
    assert event.subject == "shop v1"


def test_episodes_of_versions_that_are_no_longer_served_end(workspace: Workspace) -> None:
    left, served = open_episode(workspace, "1"), open_episode(workspace, "2")
    close_left_behind(workspace, PIPELINE)
    assert workspace.episodes.get(left.id).status == "open"  # nothing is in production: nothing is known
    promote(workspace, "2")
    close_left_behind(workspace, PIPELINE)
    close_left_behind(workspace, PIPELINE)
    ended = workspace.episodes.get(left.id)
    assert (ended.status, ended.closed_at) == ("resolved", NOW)
    assert workspace.episodes.get(served.id).status == "open"
    assert [event.subject for event in workspace.events.read(kind="episode.resolved")] == ["shop v1"]


@pytest.mark.parametrize("field", ["breaches", "out_of", "resolve_after", "channels"])
def test_the_alert_rule_is_the_declared_one(field: str) -> None:
    alert = mr.Alert(breaches=4, out_of=6, resolve_after=5, channels=("json://x",))
    assert getattr(alert_rule(declared(alerts=alert)), field) == getattr(alert, field)
