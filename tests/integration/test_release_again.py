"""A release that is deployed again in one home, after another one or a rollback has taken its place: what serves decides, not what was done once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from millrace.ci.approval import Consent
from millrace.ci.project import find_project
from millrace.ci.stages.deploy import deploy
from millrace.ci.stages.scene import Scene
from millrace.ci.stages.train import train
from millrace.ci.stages.validate import validate
from millrace.ci.types import StageResult
from millrace.pipeline.context import Quiet
from millrace.pipeline.execute import run_pipeline
from millrace.pipeline.load import load_pipeline
from millrace.pipeline.rollback import roll_back
from millrace.targets.port import DeploymentTarget
from millrace.workspace import Workspace, open_target, open_workspace
from tests.integration.test_pipeline_run import MODEL, NOW, PAGE, START, WEEK, purchases_between

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
ADA, NOBODY = Consent(approve_as="ada", reason="looked at it"), Consent()


@dataclass
class Home:
    """A home with its server, and a project without targets: `dev`, `staging` and `prod` are this home."""

    workspace: Workspace
    server: DeploymentTarget
    folder: Path

    def scene(self, threshold: float) -> Scene:
        """A pipeline of that threshold, as a commit leaves it; without git its definition is what tells it from others."""
        page = self.folder / "pipeline.py"
        page.write_text(PAGE.replace("THRESHOLD", str(threshold)))
        dev, here = find_project(self.folder).targets[0], lambda: nullcontext(self.server)
        return Scene(dev, self.workspace, load_pipeline(page), None, here, Quiet())

    def released(self, threshold: float) -> Scene:
        scene = self.scene(threshold)
        train(scene)
        assert validate(scene).status == "passed"
        return scene

    def deploy(self, scene: Scene, to: str, consent: Consent = NOBODY, version: str | None = None) -> StageResult:
        target = next(each for each in find_project(self.folder).targets if each.name == to)
        return deploy(scene, target, consent, version)

    def later(self) -> None:
        self.workspace.clock.set(self.workspace.clock.now() + timedelta(minutes=1))

    def stands(self, alias: str) -> tuple[str, str]:
        """What the alias names, and what its endpoint serves."""
        entry = self.workspace.registry.by_alias(MODEL, alias)
        status = self.server.status("shop" if alias == "production" else "shop-staging")
        return str(entry and entry.version), str(status and status.version)

    @property
    def moves(self) -> list[tuple[str, str]]:
        return [(each.alias, str(each.version)) for each in self.workspace.promotions.read()]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    workspace = open_workspace(tmp_path / "home")
    workspace.clock.set(NOW)
    rows: pa.Table = purchases_between(START - 3 * WEEK, NOW, seed=1)
    workspace.lake.create("bronze.purchases", rows.schema)
    workspace.lake.append("bronze.purchases", rows)
    with open_target(workspace) as server:
        yield Home(workspace, server, tmp_path)
    workspace.close()


def test_what_serves_decides_whether_a_release_is_deployed(home: Home) -> None:
    """v1, v2 and v1 again, in one home: trainings are costly, so that it is one story."""
    first, second = home.released(0.6), home.released(0.5)
    _approval_is_asked_before_production(home, first)
    assert home.deploy(second, "prod", ADA).status == "passed"
    assert home.stands("production") == home.stands("staging") == ("2", "2")
    _twice_is_once(home, second)
    _the_first_again(home, first)
    _after_a_rollback(home, first, second)
    _where_only_the_endpoint_or_only_the_alias_differs(home, first)


def _approval_is_asked_before_production(home: Home, first: Scene) -> None:
    refused = home.deploy(first, "prod")
    assert (refused.status, refused.exit_code) == ("refused", 3)
    assert home.stands("staging") == ("1", "1")
    assert home.stands("production") == ("None", "None")
    assert home.deploy(first, "prod", ADA).status == "passed"
    assert home.stands("production") == ("1", "1")


def _twice_is_once(home: Home, second: Scene) -> None:
    before = home.moves
    again = home.deploy(second, "prod")
    assert (again.status, home.moves) == ("passed", before)
    assert [check.detail for check in again.checks if check.status == "skipped"] == [
        "shop-staging serves v2 already",
        "shop serves v2 already",
    ]


def _the_first_again(home: Home, first: Scene) -> None:
    """As after `git revert`: the version was deployed and approved before, and another one serves."""
    staged = home.deploy(first, "staging")
    assert staged.status == "passed"
    assert home.stands("staging") == ("1", "1")
    assert home.stands("production") == ("2", "2")
    deployed = home.deploy(first, "prod")
    assert deployed.summary == "ml.models.shop v1 is deployed to prod"
    assert home.stands("production") == home.stands("staging") == ("1", "1")
    assert home.deploy(first, "prod", ADA, version="2").status == "passed"
    assert home.stands("production") == ("2", "2")


def _after_a_rollback(home: Home, first: Scene, second: Scene) -> None:
    """A mere run leaves it as it is, and so does its commit; who names the release gets it, approved anew."""
    home.later()
    roll_back(home.workspace, first.open_server, MODEL, "trouble at night")
    home.later()
    assert home.stands("production") == ("1", "1")
    run_pipeline(home.workspace, first.pipeline, first.open_server, Quiet())
    assert home.stands("production") == ("1", "1")
    moves = home.moves
    for consent in (NOBODY, ADA):  # a job that runs again brings its approval along
        again = home.deploy(second, "prod", consent)
        assert (again.status, again.exit_code) == ("refused", 3)
        assert again.summary == "ml.models.shop v2 was rolled back 2025-04-14T00:01:00Z: trouble at night"
        assert "--model-version 2" in again.hint
    named = home.deploy(first, "prod", version="2")
    assert (named.exit_code, named.summary) == (3, "nobody has approved ml.models.shop v2 for target prod")
    assert (home.stands("production"), home.moves) == (("1", "1"), moves)
    assert home.deploy(first, "prod", ADA, version="2").status == "passed"
    assert home.stands("production") == ("2", "2")
    assert home.deploy(second, "prod").status == "passed"


def _where_only_the_endpoint_or_only_the_alias_differs(home: Home, first: Scene) -> None:
    server, registry = home.server, home.workspace.registry
    server.roll_back("shop", "by hand")
    assert home.stands("production") == ("2", "1")
    assert home.deploy(first, "prod", version="2").status == "passed"
    assert home.stands("production") == ("2", "2")
    entry = registry.by_alias(MODEL, "previous")
    assert entry is not None
    registry.set_alias(MODEL, "production", entry.version)
    assert home.deploy(first, "prod", version="2").status == "passed"
    assert home.stands("production") == ("2", "2")
