from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from millrace.ci.approval import Consent, approvals, approve, require_approval
from millrace.ci.project import find_project
from millrace.core.errors import NotApproved
from millrace.registry.types import ModelName, ModelVersion, Promotion, VersionEntry
from millrace.workspace import Workspace, open_workspace

NOW = datetime(2025, 3, 3, tzinfo=UTC)
MODEL = ModelName("ml.models.churn")
SECOND = VersionEntry(MODEL, ModelVersion("2"), "", "run", NOW)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    opened = open_workspace(tmp_path / "home")
    opened.clock.set(NOW)
    yield opened
    opened.close()


def moved(workspace: Workspace, version: str, replaced: str, verdict: dict[str, object]) -> None:
    """A move of `production`, a minute after what was before and a minute before what comes."""
    at = workspace.clock.now() + timedelta(minutes=1)
    to, leaving = ModelVersion(version), ModelVersion(replaced)
    workspace.promotions.append(Promotion(MODEL, to, "production", leaving, at, "user:ada", "", verdict))
    workspace.clock.set(at + timedelta(minutes=1))


def test_an_approval_from_before_a_rollback_does_not_count(workspace: Workspace, tmp_path: Path) -> None:
    dev, _, prod = find_project(tmp_path).targets
    approve(workspace, SECOND, prod, "ada", "looked at it")
    moved(workspace, "2", "1", {"winner": "linear"})
    again = require_approval(workspace, SECOND, dev, prod, Consent())
    assert again is not None
    assert again.reason == "looked at it"
    moved(workspace, "1", "2", {})
    with pytest.raises(NotApproved, match=r"nobody has approved ml\.models\.churn v2 for target prod"):
        require_approval(workspace, SECOND, dev, prod, Consent())
    # The same person's is one more now, and once.
    for reason in ("found the cause", "said twice"):
        approve(workspace, SECOND, prod, "ada", reason)
    assert [each.reason for each in approvals(workspace, SECOND, prod)] == ["found the cause"]
    anew = require_approval(workspace, SECOND, dev, prod, Consent())
    assert anew is not None
    assert anew.at == NOW + timedelta(minutes=4)
