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
