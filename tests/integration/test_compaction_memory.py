"""Compacting a table takes little memory, however wide its rows are: the drain does it, on machines of any size."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from millrace.core.principal import Principal
from millrace.lake.adapters import delta_compact
from millrace.lake.adapters.delta import DeltaTableStore
from millrace.lake.adapters.delta_files import MANY_FILES
from millrace.lake.types import CommitInfo, Location, TableDefinition

pytestmark = pytest.mark.slow

COMMIT = CommitInfo(datetime(2025, 3, 1, tzinfo=UTC), Principal("user", "ada"), "a test")
_SMALL_FILES = MANY_FILES - 4
_WIDE = 8_192
_LONG = ",".join(str(number / 7) for number in range(1_050))
_MOST_MB = 250
# The last commit, after which the table is compacted; and by how much the most memory that the process had has grown.
_LAST = r"""
import re, sys
from datetime import UTC, datetime
from pathlib import Path
import pyarrow as pa
from millrace.core.principal import Principal
from millrace.lake.adapters import delta_compact
from millrace.lake.adapters.delta import DeltaTableStore
from millrace.lake.types import CommitInfo
store, commit = DeltaTableStore(), CommitInfo(datetime(2025, 3, 1, tzinfo=UTC), Principal("user", "ada"))
store.version(sys.argv[1])
def most_mb():
    return int(re.search(r'VmHWM:\s*(\d+)', Path('/proc/self/status').read_text())[1]) // 1024
before = most_mb()
store.append(sys.argv[1], pa.table({"id": [-1], "text": ["last"]}), commit)
print(most_mb() - before)
"""


@pytest.fixture
def location(tmp_path: Path) -> Location:
    """A table that one more commit compacts: many short rows, and rows of 20 KB that repeat, so that they are small on the disk."""
    store, location = DeltaTableStore(), Location(str(tmp_path / "t"))
    store.create(location, pa.schema([("id", pa.int64()), ("text", pa.string())]), TableDefinition(), COMMIT)
    for start in range(0, 3 * _WIDE, _WIDE):
        ids = pa.array(range(start, start + _WIDE))
        text = pc.binary_join_element_wise(ids.cast(pa.string()), _LONG, ",")  # each another one
        store.append(location, pa.table({"id": ids, "text": text}), COMMIT)
    for number in range(_SMALL_FILES):
        store.append(location, pa.table({"id": [100_000 + number], "text": ["short"]}), COMMIT)
    assert len(store.files(location)) == MANY_FILES - 1
    return location


def test_rows_that_are_wide_are_compacted_in_little_memory(location: Location) -> None:
    said = subprocess.run(
        [sys.executable, "-c", _LAST, location], capture_output=True, text=True, timeout=120, check=True
    )
    store = DeltaTableStore()
    assert store.history(location)[-1].why == "compact"
    assert len(store.files(location)) < 8
    rows = store.read(location)
    assert sorted(rows.column("id").to_pylist()) == [-1, *range(3 * _WIDE), *range(100_000, 100_000 + _SMALL_FILES)]
    lengths = pc.value_counts(pc.utf8_length(rows.column("text"))).to_pylist()
    assert sum(each["counts"] for each in lengths if each["values"] > 10_000) == 3 * _WIDE
    assert int(said.stdout) < _MOST_MB


def test_files_that_are_too_much_together_stay_and_are_seldom_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    measured = delta_compact._target_bytes

    def counted(*given: object) -> int:
        nonlocal looks
        looks += 1
        return measured(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(delta_compact, "_target_bytes", counted)
    monkeypatch.setattr(delta_compact, "_LOADED_BYTES", 1)
    store, location = DeltaTableStore(), Location(str(tmp_path / "t"))
    store.create(location, pa.schema([("id", pa.int64())]), TableDefinition(), COMMIT)
    for number in range(MANY_FILES + 10):
        store.append(location, pa.table({"id": [number]}), COMMIT)
    assert (len(store.files(location)), looks) == (MANY_FILES + 10, 1)
    monkeypatch.setattr(delta_compact, "_LOADED_BYTES", 1 << 20)
    for number in range(MANY_FILES + 10, MANY_FILES * 3 // 2):
        store.append(location, pa.table({"id": [number]}), COMMIT)
    assert (len(store.files(location)), looks) == (1, 2)
    assert sorted(store.read(location).column("id").to_pylist()) == list(range(MANY_FILES * 3 // 2))
