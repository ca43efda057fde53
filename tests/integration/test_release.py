"""A training in acts: trained and registered once, judged once, found by its commit; whatever was killed goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete

from millrace.ci.commit import Commit
from millrace.ci.project import find_project
from millrace.ci.stages.scene import Scene, commit_of
from millrace.ci.stages.train import train
from millrace.ci.stages.validate import validate
from millrace.ci.types import StageResult
from millrace.core.errors import InvalidState, NotFound
from millrace.database.schema import stage_runs
from millrace.pipeline.context import Quiet
from millrace.pipeline.load import load_pipeline
from millrace.workspace import Workspace, open_target, open_workspace
from tests.integration.test_pipeline_run import MODEL, NOW, PAGE, START, WEEK, purchases_between

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
FIRST, SECOND, DIRTY = Commit("a" * 40), Commit("b" * 40), Commit("b" * 40, ("pipeline.py",))


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    workspace = open_workspace(tmp_path / "home")
    workspace.clock.set(NOW)
    rows = purchases_between(START - 3 * WEEK, NOW, seed=1)
    workspace.lake.create("bronze.purchases", rows.schema)
    workspace.lake.append("bronze.purchases", rows)
    yield workspace
    workspace.close()


def scene_of(workspace: Workspace, folder: Path, commit: Commit | None, threshold: float = 0.6) -> Scene:
    page = folder / f"pipeline_{str(threshold).replace('.', '_')}.py"
    page.write_text(PAGE.replace("THRESHOLD", str(threshold)))
    target = find_project(folder).targets[0]
    return Scene(target, workspace, load_pipeline(page), commit, lambda: open_target(workspace), Quiet())


def test_a_story_of_releases(workspace: Workspace, tmp_path: Path) -> None:
    first = scene_of(workspace, tmp_path, FIRST)
    with pytest.raises(
        InvalidState, match=r"no version of ml\.models\.shop was trained from commit aaaaaaaaaaaa in target dev"
    ):
        validate(first)
    trained = train(first)
    assert (trained.status, trained.facts["version"], trained.facts["commit"]) == ("passed", "1", FIRST.sha)
    (entry,) = workspace.registry.versions(MODEL)
    assert (entry.aliases, commit_of(entry.tags)) == ((), FIRST.sha)
    assert workspace.promotions.read() == []
    assert "already" in train(first).summary
    judged = validate(first)
    assert judged.checks
    assert "<svg" in judged.attachments["report.html"]
    assert validate(first).checks == judged.checks
    assert workspace.registry.versions(MODEL)[0].tags["millrace.verdict"] == (
        "passed" if judged.exit_code == 0 else "refused"
    )
    _a_commit_that_changes_no_pipeline_trains_nothing(workspace, tmp_path)
    _one_that_was_killed_makes_no_second_version(workspace, first)
    _a_refusal_is_a_result(workspace, tmp_path)


def _a_commit_that_changes_no_pipeline_trains_nothing(workspace: Workspace, folder: Path) -> None:
    second = scene_of(workspace, folder, SECOND)
    assert train(second).facts["version"] == "1"
    (entry,) = workspace.registry.versions(MODEL)
    assert {name for name in entry.tags if "commit." in name} == {
        f"millrace.commit.{each.sha}" for each in (FIRST, SECOND)
    }
    for commit in (SECOND, DIRTY, None):  # without a commit to go by it is the definition that counts
        assert validate(scene_of(workspace, folder, commit)).facts["version"] == "1"
    with pytest.raises(NotFound, match="has no version 7"):
        validate(second, "7")


def _one_that_was_killed_makes_no_second_version(workspace: Workspace, scene: Scene) -> None:
    """As if it had been killed after the version was made, and before that was written down."""
    with workspace.engine.begin() as connection:
        connection.execute(delete(stage_runs).where(stage_runs.c.stage == "register"))
    assert train(scene).facts["version"] == "1"
    assert len(workspace.registry.versions(MODEL)) == 1


def _a_refusal_is_a_result(workspace: Workspace, folder: Path) -> None:
    strict = scene_of(workspace, folder, Commit("c" * 40), 0.9999)
    assert train(strict).facts["version"] == "2"
    refused: StageResult = validate(strict)
    assert (refused.status, refused.exit_code) == ("refused", 3)
    assert any("roc_auc" in reason for reason in refused.reasons)
    assert workspace.registry.by_alias(MODEL, "staging") is None
    assert [version.aliases for version in workspace.registry.versions(MODEL)] == [(), ()]
