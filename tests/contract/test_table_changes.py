"""Which files hold what changed between two versions: what every table store must tell."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from millrace.core.errors import InvalidState
from millrace.core.principal import Principal
from millrace.lake.adapters.delta import DeltaTableStore
from millrace.lake.port import TableStore
from millrace.lake.types import CommitInfo, FileChanges, Location, TableDefinition, Version

COMMIT = CommitInfo(datetime(2025, 3, 1, tzinfo=UTC), Principal("user", "ada"))


@pytest.fixture(params=[DeltaTableStore])
def store(request: pytest.FixtureRequest) -> TableStore:
    made: TableStore = request.param()
    return made


@pytest.fixture
def location(store: TableStore, tmp_path: Path) -> Location:
    made = Location(str(tmp_path / "My Häuser" / "t"))
    store.create(made, numbers(0, 0).schema, TableDefinition(), COMMIT)
    return made


def numbers(first: int, last: int) -> pa.Table:
    ids = list(range(first, last))
    return pa.table({"id": pa.array(ids, pa.int64()), "x": pa.array([0.5] * len(ids), pa.float64())})


def ids(store: TableStore, location: Location, files: tuple[str, ...]) -> list[int]:
    rows = store.batches(location, ["id"], files=files)
    return sorted(row["id"] for batch in rows for row in batch.to_pylist())


def changes(store: TableStore, location: Location, since: int, until: int) -> FileChanges:
    found = store.changes(location, Version(since), Version(until))
    assert found is not None
    return found


def test_rows_that_were_appended_are_in_added_files(store: TableStore, location: Location) -> None:
    for first in (0, 10, 20):
        store.append(location, numbers(first, first + 10), COMMIT)
    found = changes(store, location, 1, 3)
    assert (ids(store, location, found.added), found.removed) == (list(range(10, 30)), ())
    assert changes(store, location, 3, 3) == FileChanges()


def test_a_merge_and_a_delete_remove_the_files_of_the_rows_they_touch(store: TableStore, location: Location) -> None:
    store.append(location, numbers(0, 10), COMMIT)
    store.append(location, numbers(10, 20), COMMIT)
    store.merge(location, pa.table({"id": [3, 50], "x": [1.0, 1.0]}), ["id"], COMMIT)
    found = changes(store, location, 2, 3)
    assert ids(store, location, found.removed) == list(range(10))
    assert ids(store, location, found.added) == [*range(10), 50]
    store.delete(location, "id >= 15 and id < 20", COMMIT)
    found = changes(store, location, 3, 4)
    assert ids(store, location, found.removed) == list(range(10, 20))
    assert ids(store, location, found.added) == list(range(10, 15))


def test_a_file_that_came_and_went_is_not_added(store: TableStore, location: Location) -> None:
    store.append(location, numbers(0, 10), COMMIT)
    store.delete(location, "id < 5", COMMIT)
    found = changes(store, location, 0, 2)
    assert (ids(store, location, found.added), ids(store, location, found.removed)) == (
        [5, 6, 7, 8, 9],
        list(range(10)),
    )


def test_a_compaction_changes_nothing(store: TableStore, location: Location) -> None:
    for at in range(40):
        store.append(location, numbers(at, at + 1), COMMIT)
    compacted = [info.version for info in store.history(location) if info.operation == "OPTIMIZE"]
    assert compacted
    for version in compacted:
        assert changes(store, location, version - 1, version) == FileChanges()
    found = changes(store, location, 0, int(store.version(location)))
    assert (ids(store, location, found.added), found.removed) == (list(range(40)), ())


def test_what_can_t_be_told_is_not_told(store: TableStore, location: Location) -> None:
    for first in (0, 10):
        store.append(location, numbers(first, first + 10), COMMIT)
    assert store.changes(location, Version(2), Version(1)) is None
    for file in Path(location).glob("*.parquet"):
        file.unlink()  # as a vacuum does
    assert store.changes(location, Version(1), Version(2)) is None
    store.overwrite(location, pa.table({"id": ["a"], "x": [0.5]}), COMMIT)
    assert store.changes(location, Version(2), Version(3)) is None
    (Path(location) / "_delta_log" / f"{1:020d}.json").unlink()
    assert store.changes(location, Version(0), Version(2)) is None


def test_columns_that_came_later_and_those_of_folders_are_read_too(store: TableStore, tmp_path: Path) -> None:
    location = Location(str(tmp_path / "parts"))
    rows = pa.table({"id": [1, 2], "day": [date(2025, 3, 1), None], "who": ["a b", "c/d"]})
    store.create(location, rows.schema, TableDefinition(partition_columns=("day", "who")), COMMIT)
    store.append(location, rows, COMMIT)
    store.append(location, rows.append_column("new", pa.array([7, 8])), COMMIT)
    found = changes(store, location, 0, 2)
    read = pa.Table.from_batches(store.batches(location, ["id", "day", "who", "new"], files=found.added))
    expected = [{**row, "new": new} for row in rows.to_pylist() for new in (None, 7 if row["id"] == 1 else 8)]
    assert sorted(read.to_pylist(), key=str) == sorted(expected, key=str)


def test_hidden_rows_are_refused(store: TableStore, location: Location) -> None:
    log = Path(location) / "_delta_log" / f"{1:020d}.json"
    protocol = '{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors"]}}'
    log.write_text(protocol + '\n{"commitInfo":{"timestamp":0,"operation":"x"}}\n')
    with pytest.raises(InvalidState):
        store.changes(location, Version(0), Version(1))
