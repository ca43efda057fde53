from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from millrace.core.principal import Principal
from millrace.lake.adapters.sail import SailEngine
from millrace.workspace import Workspace, open_workspace

NOW = datetime(2025, 6, 2, tzinfo=UTC)
Fill = Callable[[str, pa.Table], None]


@pytest.fixture(scope="session")
def sail() -> Iterator[SailEngine]:
    """One engine for all tests: starting it is the costly part."""
    engine = SailEngine(1)
    yield engine
    engine.close()


@pytest.fixture
def open_home(tmp_path: Path, sail: SailEngine) -> Iterator[Callable[[], Workspace]]:
    """Opens homes, each empty and in virtual time, with the shared engine."""
    opened: list[Workspace] = []

    def open_one() -> Workspace:
        workspace = open_workspace(tmp_path / f"home{len(opened)}", principal=Principal("user", "ada"))
        workspace.clock.set(NOW)
        workspace.__dict__["spark"] = sail
        opened.append(workspace)
        return workspace

    yield open_one
    for workspace in opened:
        workspace.__dict__.pop("spark", None)
        workspace.close()


@pytest.fixture
def workspace(open_home: Callable[[], Workspace]) -> Workspace:
    return open_home()


@pytest.fixture
def fill(workspace: Workspace) -> Fill:
    """Appends rows to a table, which is made where it is missing."""

    def append(name: str, rows: pa.Table) -> None:
        workspace.lake.ensure(name, rows.schema)
        workspace.lake.append(name, rows)

    return append


def utc_times(times: Sequence[datetime | None]) -> pa.Array:
    return pa.array(times, pa.timestamp("us", "UTC"))
