"""The newest version that changed rows, read without Delta's library, is what that library would say."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest

from millrace.lake.adapters import delta_newest
from millrace.lake.adapters.delta_newest import DeltaNewest
from millrace.lake.types import Location
from millrace.workspace import Workspace, open_workspace

_ROWS = pa.table({"x": [1]})


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with closing(open_workspace(tmp_path)) as workspace:
        yield workspace


def _newest(workspace: Workspace) -> DeltaNewest:
    return DeltaNewest(workspace.lake.catalog, workspace.lake.store.version)


def test_a_version_that_changed_rows_is_news_and_one_that_moved_them_is_none(workspace: Workspace) -> None:
    from deltalake import DeltaTable

    lake, watching, version = workspace.lake, _newest(workspace), 0
    assert watching.newest("bronze.t") is None
    lake.create("bronze.t", _ROWS.schema, rows=_ROWS)
    location = lake.entry("bronze.t").location
    for _ in range(3):
        version = lake.append("bronze.t", _ROWS).version
        assert watching.newest("bronze.t") == version == lake.store.version(location)
    DeltaTable(location).optimize.compact()
    assert lake.store.version(location) == version + 1
    assert watching.newest("bronze.t") == version
    assert _newest(workspace).newest("bronze.t") == version  # the same for one that begins now
    assert DeltaTable(location).delete("x = 1")["num_deleted_rows"] == 4
    assert watching.newest("main.bronze.t") == version + 2


def test_a_table_that_is_gone_has_none(workspace: Workspace) -> None:
    lake, watching = workspace.lake, _newest(workspace)
    lake.create("bronze.t", _ROWS.schema, rows=_ROWS)
    assert watching.newest("bronze.t") == 0
    shutil.rmtree(lake.entry("bronze.t").location)
    assert watching.newest("bronze.t") is None


def test_a_log_that_was_cut_short_is_read_from_what_is_left(workspace: Workspace) -> None:
    lake = workspace.lake
    lake.create("bronze.t", _ROWS.schema, rows=_ROWS)
    version = lake.append("bronze.t", _ROWS).version
    log = Path(lake.entry("bronze.t").location) / "_delta_log"
    (log / f"{0:020}.json").unlink()
    assert _newest(workspace).newest("bronze.t") == version
    (log / f"{version:020}.json").write_text("no JSON")
    assert _newest(workspace).newest("bronze.t") == version


def test_a_table_elsewhere_is_asked_for_seldom(workspace: Workspace) -> None:
    lake, asked = workspace.lake, list[str]()
    lake.create("bronze.t", _ROWS.schema, rows=_ROWS)
    entry = lake.entry("bronze.t")
    lake.catalog.update(replace(entry, location=Location("s3://bucket/t")))

    def version(location: Location) -> int:
        asked.append(location)
        return 7

    watching = DeltaNewest(lake.catalog, version)
    assert [watching.newest("bronze.t") for _ in range(3)] == [7, 7, 7]
    assert asked == ["s3://bucket/t"]


def test_a_commit_in_the_same_tick_as_the_last_look_is_seen(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, watching, tick = workspace.lake, _newest(workspace), 1_700_000_000_000_000_000
    lake.create("bronze.t", _ROWS.schema, rows=_ROWS)
    log = Path(lake.entry("bronze.t").location) / "_delta_log"
    os.utime(log, ns=(tick, tick))
    monkeypatch.setattr(delta_newest, "time", SimpleNamespace(time_ns=lambda: tick + 1_000_000))
    assert watching.newest("bronze.t") == 0
    version = lake.append("bronze.t", _ROWS).version
    os.utime(log, ns=(tick, tick))  # as a clock that has not ticked meanwhile leaves it
    assert watching.newest("bronze.t") == version


def test_a_folder_that_has_settled_is_listed_once(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    lake, watching, listed = workspace.lake, _newest(workspace), list[object]()
    lake.create("bronze.t", _ROWS.schema, rows=_ROWS)
    os.utime(Path(lake.entry("bronze.t").location) / "_delta_log", ns=(0, 0))

    def names(folder: Path) -> list[str]:
        listed.append(folder)
        return [path.name for path in folder.iterdir()]

    monkeypatch.setattr(delta_newest, "os", SimpleNamespace(listdir=names))
    assert [watching.newest("bronze.t") for _ in range(3)] == [0, 0, 0]
    assert len(listed) == 1
