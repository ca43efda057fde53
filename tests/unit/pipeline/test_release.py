"""Whether a release that was deployed once stands as it was deployed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

import millrace as mr
from millrace.jobs.types import StageRun
from millrace.pipeline.plan import Step
from millrace.pipeline.release import Release, as_it_stands
from millrace.pipeline.stages.deploy import DeployStaging, Promote
from millrace.pipeline.stages.stage import Stage
from millrace.registry.types import ModelName, ModelVersion, VersionEntry
from millrace.targets.types import DeploymentStatus
from millrace.workspace import Workspace, open_workspace

NOW = datetime(2025, 3, 3, tzinfo=UTC)
PIPELINE = mr.Pipeline(
    name="churn",
    label=mr.Label("ml.labels.churn", "churned", ("customer_id",), "label_time"),
    lookups=[mr.FeatureLookup("ml.features.activity", "customer_id", timestamp_lookup_key="label_time")],
    candidates=[mr.Linear(), mr.Dummy()],
)
FIRST = VersionEntry(ModelName("ml.models.churn"), ModelVersion("1"), "", None, NOW)
STAGES: list[Stage] = [DeployStaging("g", "d"), Promote("g", "d", "because")]


class NamesTheFirst:
    """A registry whose aliases all name version 1; a whole one takes seconds, and has tests of its own."""

    def by_alias(self, model: ModelName, alias: str) -> VersionEntry:
        assert (model, alias in {"staging", "production"}) == (FIRST.model, True)
        return FIRST


@dataclass
class Target:
    """A place whose endpoints all stand alike."""

    stands: DeploymentStatus | None

    def status(self, endpoint: str) -> DeploymentStatus | None:
        assert endpoint in {PIPELINE.staging_endpoint, PIPELINE.endpoint}
        return self.stands


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    opened = open_workspace(tmp_path / "home")
    opened.__dict__["registry"] = NamesTheFirst()
    yield opened
    opened.__dict__.pop("registry")
    opened.close()


@pytest.mark.parametrize("stage", STAGES, ids=["staging", "production"])
@pytest.mark.parametrize(
    ("stands", "needed"),
    [
        (DeploymentStatus("churn", "ready", "1"), False),
        # The configuration of an endpoint names the version also while no worker answers for it.
        (DeploymentStatus("churn", "ready", "1", ready=False), True),
        (DeploymentStatus("churn", "updating", "1"), True),
        # It serves what it did before the change that failed.
        (DeploymentStatus("churn", "failed", "1", "no such file"), False),
        (DeploymentStatus("churn", "ready", "2"), True),
        (None, True),
    ],
)
def test_what_was_deployed_once_is_deployed_again_where_it_does_not_answer(
    workspace: Workspace, stage: Stage, stands: DeploymentStatus | None, *, needed: bool
) -> None:
    done = StageRun(cast(Any, 1), "churn", stage.name, stage.fingerprint, "done", NOW, NOW, 0.1, {"version": "1"})
    step = Step(stage, needed=False, why="done, unchanged since", done=done)
    release = Release(FIRST, "g", "d", "because")
    found = as_it_stands(workspace, PIPELINE, release, step, lambda: nullcontext(cast(Any, Target(stands))))
    assert (found.needed, found.done) == (needed, None if needed else done)
