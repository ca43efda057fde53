"""A commit that others disturb is made again on what they left."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from millrace.core.errors import Conflict
from millrace.core.principal import Principal
from millrace.lake.adapters.delta import DeltaTableStore
from millrace.lake.types import CommitInfo, Location, TableDefinition

COMMIT = CommitInfo(datetime(2025, 3, 1, tzinfo=UTC), Principal("user", "ada"))
ROWS = pa.table({"id": [1]})


def disturbed() -> Exception:
    from deltalake.exceptions import CommitFailedError

    return CommitFailedError("somebody else was faster")


@pytest.fixture
def location(tmp_path: Path) -> Location:
    location = Location(str(tmp_path / "t"))
    DeltaTableStore().create(location, ROWS.schema, TableDefinition(), COMMIT)
    return location


def test_it_looks_again_before_it_writes_again(location: Location) -> None:
    store, seen = DeltaTableStore(), []

    def write(table: Any) -> None:
        seen.append(table.version())
        if len(seen) < 3:
            store.append(location, ROWS, COMMIT)  # somebody else, in between
            raise disturbed()

    store._commit(location, COMMIT, write)
    assert seen == [0, 1, 2]


def test_it_gives_up_with_a_conflict(location: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("millrace.lake.adapters.delta.time.sleep", waits.append)

    def write(_: Any) -> None:
        raise disturbed()

    with pytest.raises(Conflict, match="is being changed by others"):
        DeltaTableStore()._commit(location, COMMIT, write)
    assert len(waits) > 10
    assert max(waits) <= 1.0


def test_a_location_may_be_a_url(tmp_path: Path) -> None:
    store, location = DeltaTableStore(), Location((tmp_path / "warehouse" / "t").as_uri())
    store.create(location, ROWS.schema, TableDefinition(), COMMIT)
    store.append(location, ROWS, COMMIT)
    assert store.read(location).to_pylist() == [{"id": 1}]
    assert [Path(file).suffix for file in store.files(location)] == [".parquet"]
    store.remove(location)
    assert list((tmp_path / "warehouse").iterdir()) == []
