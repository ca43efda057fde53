"""Several processes write one table at the same moment: nothing is lost, nothing is there twice."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from millrace.core.principal import Principal
from millrace.lake.adapters.delta import DeltaTableStore
from millrace.lake.types import CommitInfo, Location, TableDefinition

pytestmark = pytest.mark.slow

_TIMEOUT_S = 120.0
_EACH = 12
COMMIT = CommitInfo(datetime(2025, 3, 1, tzinfo=UTC), Principal("user", "ada"), "a test")

# Each process says that it is ready, and starts when it reads a line: they start together, whatever imports took.
_WRITER = """
import sys
from dataclasses import replace
from datetime import UTC, datetime
import pyarrow as pa
from millrace.core.principal import Principal
from millrace.lake.adapters.delta import DeltaTableStore
from millrace.lake.types import CommitInfo, TableDefinition
location, number, each = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
store, commit = DeltaTableStore(), CommitInfo(datetime(2025, 3, 1, tzinfo=UTC), Principal("system", "writer"))
def rows(i):
    return pa.table({"id": [i], "by": [f"{number}:{i}"], f"only_{number}": [i]})
print("ready", flush=True)
sys.stdin.readline()
for i in range(each):
"""
_MERGE_OWN = "    store.merge(location, rows(number * 1000 + i), ['id'], commit)\n"
_MERGE_SAME = "    store.merge(location, rows(i), ['id'], commit)\n"
_APPEND = "    store.append(location, rows(number * 1000 + i).select(['id', 'by']), commit)\n"
_ONCE = "    store.append(location, rows(i).select(['id']), replace(commit, transaction=('capture', i)))\n"
_CREATE = "    store.create(location + str(i), rows(0).select(['id']).schema, TableDefinition(), commit)\n"


@pytest.fixture
def location(tmp_path: Path) -> Location:
    location = Location(str(tmp_path / "t"))
    schema = pa.schema([("id", pa.int64()), ("by", pa.string())])
    DeltaTableStore().create(location, schema, TableDefinition(), COMMIT)
    return location


def at_once(scripts: Sequence[str], location: Location) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITER + script, location, str(number), str(_EACH)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number, script in enumerate(scripts)
    ]
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        for process in started:
            _, errors = process.communicate(timeout=_TIMEOUT_S)
            assert process.returncode == 0, errors
    finally:
        for process in started:
            process.kill()
            process.communicate()


def ids(location: Location) -> list[int]:
    found: list[int] = sorted(DeltaTableStore().read(location).column("id").to_pylist())
    return found


def test_merges_and_appends_at_once_all_arrive(location: Location) -> None:
    at_once([_MERGE_OWN, _MERGE_OWN, _APPEND], location)
    assert ids(location) == [number * 1000 + i for number in range(3) for i in range(_EACH)]
    assert {"only_0", "only_1"} <= set(DeltaTableStore().schema(location).names)
    history = DeltaTableStore().history(location)
    assert len([info for info in history if info.why != "compact"]) == 3 * _EACH + 1
    assert all(info.at == COMMIT.at for info in history)


def test_merges_of_the_same_keys_leave_one_row_each(location: Location) -> None:
    at_once([_MERGE_SAME, _MERGE_SAME], location)
    assert ids(location) == list(range(_EACH))


def test_one_transaction_sent_by_two_arrives_once(location: Location) -> None:
    at_once([_ONCE, _ONCE], location)
    assert ids(location) == list(range(_EACH))


def test_two_who_create_the_same_table_both_have_it(location: Location) -> None:
    at_once([_CREATE, _CREATE], location)
    assert [DeltaTableStore().version(Location(f"{location}{i}")) for i in range(_EACH)] == [0] * _EACH


_PARTITION = """    for part in ("a", "b"):
        store.merge(location, pa.table({"id": [i], "part": [part], "by": [str(number)]}), ["id", "part"], commit)
"""
_MOVE = "    store.merge(location, pa.table({'id': [i], 'part': [f'{number}'], 'by': ['x']}), ['id'], commit)\n"
_DELETE = "    store.delete_keys(location, pa.table({'id': [i]}), commit)\n"
_CREATE_FULL = """    from millrace.core.errors import AlreadyExists
    own = pa.table({"id": [number]})
    try:
        store.create(location + str(i), own.schema, TableDefinition(), commit, own)
    except AlreadyExists:
        pass
"""


@pytest.fixture
def partitioned(tmp_path: Path) -> Location:
    location = Location(str(tmp_path / "parts"))
    schema = pa.schema([("id", pa.int64()), ("part", pa.string()), ("by", pa.string())])
    DeltaTableStore().create(location, schema, TableDefinition(partition_columns=("part",)), COMMIT)
    return location


def test_merges_on_the_same_partitions_leave_one_row_for_each_key(partitioned: Location) -> None:
    at_once([_PARTITION, _PARTITION], partitioned)
    rows = DeltaTableStore().read(partitioned).select(["id", "part"]).to_pylist()
    assert sorted((row["id"], row["part"]) for row in rows) == [(i, part) for i in range(_EACH) for part in ("a", "b")]


def test_a_key_that_two_put_into_different_partitions_is_in_one(partitioned: Location) -> None:
    at_once([_MOVE, _MOVE], partitioned)
    assert ids(partitioned) == list(range(_EACH))


def test_deletes_beside_merges_are_not_lost(location: Location) -> None:
    DeltaTableStore().append(location, pa.table({"id": list(range(_EACH)), "by": ["old"] * _EACH}), COMMIT)
    at_once([_MERGE_OWN.replace("number", "(number + 5)"), _DELETE], location)
    assert ids(location) == [5000 + i for i in range(_EACH)]


def test_of_two_who_create_a_table_with_rows_one_has_made_it(location: Location) -> None:
    at_once([_CREATE_FULL, _CREATE_FULL], location)
    for i in range(_EACH):
        made = DeltaTableStore().read(Location(f"{location}{i}"))
        assert made.column("id").to_pylist() in ([0], [1])
        assert DeltaTableStore().version(Location(f"{location}{i}")) == 0
