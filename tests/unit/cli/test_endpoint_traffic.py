from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from millrace.core.principal import Principal
from millrace.serving.canary.types import Canary, CanaryRun, CanarySettings, Finding, StepVerdict, Verdict
from millrace.serving.endpoints import endpoints
from millrace.serving.types import Capture, LoadPlan
from millrace.targets.types import DeploymentSpec, DeploymentStatus
from millrace.workspace import Workspace, open_workspace
from tests.unit.cli.conftest import Cli

NOW = datetime(2025, 3, 10, tzinfo=UTC)
ONE = endpoints.served_entity("ml.models.churn", "1")


@dataclass
class Target:
    """Notes what it is told."""

    told: list[tuple[object, ...]] = field(default_factory=list)
    state: Any = "ready"

    def _done(self, *told: object) -> DeploymentStatus:
        self.told.append(told)
        return DeploymentStatus("churn", self.state, "1", "no such file")

    def deploy(self, spec: DeploymentSpec) -> DeploymentStatus:
        return self._done("deploy", spec)

    def split(self, endpoint: str, traffic: Mapping[str, int]) -> DeploymentStatus:
        return self._done("split", endpoint, dict(traffic))

    def shadow(self, endpoint: str, model: str, version: str, percent: int) -> DeploymentStatus:
        return self._done("shadow", endpoint, model, version, percent)

    def roll_back(self, endpoint: str, why: str) -> DeploymentStatus:
        return self._done("roll_back", endpoint, why)


@pytest.fixture
def workspace(home: Path) -> Iterator[Workspace]:
    opened = open_workspace(home)
    opened.clock.set(NOW)
    config = endpoints.endpoint_config(ONE, capture=Capture("ml", "logs", "p"))
    made = endpoints.create(opened.endpoints, opened.clock, Principal("user", "ada"), "churn", config)
    plan = LoadPlan(ONE, "", "xgboost", (), None)
    endpoints.activate(opened.endpoints, opened.clock, endpoints.candidate(made, (plan,)), {})
    yield opened
    opened.close()


@pytest.fixture
def target(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Target:
    """Stands where the home's server is."""
    del workspace
    target = Target()

    @contextmanager
    def opened(_: Workspace) -> Iterator[Any]:
        yield target

    monkeypatch.setattr("millrace.workspace.open_target", opened)
    return target


def test_traffic_is_split_and_the_endpoint_shown(cli: Cli, target: Target) -> None:
    shown = cli("endpoint", "traffic", "churn", "churn-1=90", "churn-2=10", "--json").json()
    assert target.told == [("split", "churn", {"churn-1": 90, "churn-2": 10})]
    assert (shown["name"], shown["entities"][0]["traffic"]) == ("churn", 100)
    assert "ENTITY=PERCENT" in cli("endpoint", "traffic", "churn", "churn-1").refused(2)
    assert "not a whole number" in cli("endpoint", "traffic", "churn", "churn-1=all").refused(2)


def test_a_shadow_is_of_the_served_model_unless_another_is_named(cli: Cli, target: Target) -> None:
    cli("endpoint", "shadow", "churn", "--version", "2", "--percent", "20")
    cli("endpoint", "shadow", "churn", "--model", "ml.models.other", "--version", "7", "--percent", "0")
    assert target.told == [
        ("shadow", "churn", "ml.models.churn", "2", 20),
        ("shadow", "churn", "ml.models.other", "7", 0),
    ]


def test_a_canary_is_begun_with_what_was_said_and_defaults_for_the_rest(cli: Cli, target: Target) -> None:
    said = ["--steps", "5,50,100", "--min-requests", "30", "--wait-hours", "0.5", "--limit", "errors=0.02"]
    cli("endpoint", "canary", "churn", "--version", "2", *said)
    ((_, spec),) = target.told
    assert isinstance(spec, DeploymentSpec)
    assert (spec.endpoint, spec.model, spec.version) == ("churn", "ml.models.churn", "2")
    assert spec.canary == {
        "steps": [5, 50, 100],
        "shadow": 0,
        "min_requests": 30,
        "min_labels": 0,
        "wait_s": 1800.0,
        "after_wait": "stop",
        "limits": {
            "errors": 0.02,
            "latency": 1.5,
            "latency_ms": 1.0,
            "predictions": 0.3,
            "quality": 0.1,
            "false_stop": 0.01,
        },
    }
    wrong = cli("endpoint", "canary", "churn", "--version", "2", "--limit", "error=1").refused(2)
    assert "did you mean 'errors'" in wrong
    assert "don't lead to 100" in cli("endpoint", "canary", "churn", "--version", "2", "--steps", "10,5").refused(1)


def test_a_canary_of_what_serves_already_is_refused(cli: Cli, target: Target) -> None:
    said = cli("endpoint", "canary", "churn", "--version", "1").refused()
    assert "ml.models.churn v1 is what endpoint 'churn' serves" in said
    assert target.told == []


def test_a_rollback_says_why_and_a_failure_is_told(cli: Cli, target: Target) -> None:
    cli("endpoint", "rollback", "churn", "--why", "it is slow")
    assert target.told == [("roll_back", "churn", "it is slow")]
    target.state = "failed"
    assert "was not changed: no such file" in cli("endpoint", "rollback", "churn").refused(1)
    assert "did you mean 'churn'" in cli("endpoint", "rollback", "chrun").refused(1)


def test_a_canary_is_shown_with_its_verdicts(cli: Cli, workspace: Workspace) -> None:
    stored = workspace.endpoints.list()[0]
    finding = Finding("errors", 0.0, 0.5, 0.5, 0.001, bad=True, reason="errors: half of them")
    verdict = StepVerdict(0, 10, NOW, Verdict("stop", "errors: half of them", (finding,)))
    canary = Canary("churn-1", "churn-2", CanarySettings((10, 100)))
    ended = CanaryRun(canary, "ml.models.churn", "2", 0, NOW, "rolled_back", (verdict,), "errors: half of them")
    workspace.endpoints.update(replace(stored, canary=ended), stored.generation)
    text = cli("endpoint", "show", "churn").out
    for part in ("ml.models.churn v2 takes over from churn-1", "rolled back", "errors: half of them"):
        assert part in text
    shown = cli("endpoint", "show", "churn", "--json").json()["canary"]
    assert (shown["outcome"], shown["verdicts"][0]["verdict"]["decision"]) == ("rolled_back", "stop")
