from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from millrace.core.names import TableName
from millrace.features.tables import create_feature_table, write_feature_rows
from millrace.workspace import Workspace, open_workspace
from tests.unit.cli.conftest import Cli
from tests.unit.cli.spend import NAME, NOW, rows


@pytest.fixture
def workspace(home: Path) -> Iterator[Workspace]:
    opened = open_workspace(home)
    opened.clock.set(NOW)
    first = rows(("north", 1, 1.5), ("south", 7, 3.5))
    create_feature_table(opened.lake, NAME, first.schema, primary_keys="region", timeseries_column="ts")
    write_feature_rows(opened.lake, NAME, first)
    yield opened
    opened.close()


def test_publishing_tells_what_was_done(cli: Cli, workspace: Workspace) -> None:
    first = cli("features", "publish", NAME)
    assert first.code == 0, first.err
    assert first.out == f"{NAME} version 1 is online with 2 keys: all written, because it was not published before\n"
    workspace.clock.set(NOW + timedelta(hours=1))
    write_feature_rows(workspace.lake, NAME, rows(("south", 8, 5.5)))
    workspace.lake.delete(NAME, "region = 'north'")
    (before,) = cli("features", "online", "--json").json()["online_tables"]
    assert (before["versions_behind"], before["newest"], before["waiting_since"]) == (
        2,
        "2025-03-07T00:00:00Z",
        "2025-03-10T01:00:00Z",
    )
    done = cli("features", "publish", NAME, "--json").json()
    assert done == {
        "name": NAME,
        "mode": "TRIGGERED",
        "why": None,
        "keys": 1,
        "written": 1,
        "removed": 1,
        "version": 3,
        "published_at": "2025-03-10T01:00:00Z",
    }
    ((row,),) = workspace.online.get(TableName.parse(NAME), [("south",)])
    assert row.values == {"spend": 5.5}
    (after,) = cli("features", "online", "--json").json()["online_tables"]
    assert (after["versions_behind"], after["keys"], after["age_s"]) == (0, 1, 2 * 86400 + 3600)
    assert "up to date" in cli("features", "online").out
    assert cli("features", "publish", NAME, "--mode", "snapshot", "--json").json()["mode"] == "SNAPSHOT"


def test_what_can_not_be_published_is_said(cli: Cli, workspace: Workspace) -> None:
    assert "nothing is online yet" in cli("features", "online").out
    assert "ml.features.spnd" in cli("features", "publish", "ml.features.spnd").refused()
    assert workspace.online.tables() == []
    cli("features", "publish", NAME, "--mode", "continuous").refused(2)
