from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace.jobs.port import JobDesk
from millrace.workspace import Workspace, open_workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    workspace = open_workspace(tmp_path / "home")
    yield workspace
    workspace.close()


@pytest.fixture
def desk(workspace: Workspace) -> JobDesk:
    return workspace.jobs
