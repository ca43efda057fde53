"""Counting only what is new must give what counting all gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.lake.adapters.delta import DeltaTableStore
from millrace.lake.lake import Lake
from millrace.lake.types import Location, Version
from millrace.monitoring.counts.read_log import base
from millrace.monitoring.counts.table import Part, decoded
from millrace.monitoring.counts.update import Counted, commit_counts, count_new, counts_table
from millrace.monitoring.counts.window_counts import WindowCounts
from millrace.monitoring.types import MonitorSpec
from tests.unit.monitoring.counts.test_window_counts import same
from tests.unit.monitoring.logs import SPEC, log_of, make_lake, reference_of

REFERENCE = reference_of(log_of(range(-30, -10)))
REFERENCES = {"1": REFERENCE, "2": REFERENCE}
SLICED = replace(SPEC, slices=("region", "spend > 0"), granularities=("6 hours",))
Change = Callable[[Lake], object]


def count(lake: Lake, spec: MonitorSpec = SPEC) -> Counted:
    found = count_new(lake, spec, REFERENCES)
    commit_counts(lake, spec, found)
    return found


def stored(lake: Lake, spec: MonitorSpec = SPEC) -> dict[tuple[Part, int], WindowCounts]:
    rows = decoded(lake.read(counts_table(spec)), base(spec))
    return {(part, window.number): window for part, window in rows if window.rows}


def expected(lake: Lake, spec: MonitorSpec = SPEC) -> dict[tuple[Part, int], WindowCounts]:
    """All counted at once, into another place."""
    elsewhere = replace(spec, output_schema="elsewhere")
    if lake.exists(counts_table(elsewhere)):
        lake.drop(counts_table(elsewhere))
    count(lake, elsewhere)
    return stored(lake, elsewhere)


def check(lake: Lake, spec: MonitorSpec = SPEC) -> None:
    found, right = stored(lake, spec), expected(lake, spec)
    assert set(found) == set(right)
    for key, window in found.items():
        same(window, right[key])
        assert window.answers == right[key].answers


def labelled(day: int, version: str, seed: int) -> Change:
    rows = log_of([day], rows=12, version=version, seed=seed).select(["id", "actual_label"])
    return lambda lake: lake.merge(SPEC.table, rows, ["id"])


def appended(day: int, version: str, seed: int) -> Change:
    rows = log_of([day], rows=12, version=version, seed=seed, labels=False)
    return lambda lake: lake.append(SPEC.table, rows)


def compacted(lake: Lake, *, vacuumed: bool = False) -> None:
    from deltalake import DeltaTable

    location = lake.entry(SPEC.table).location
    DeltaTable(location).optimize.compact()
    if vacuumed:
        DeltaTable(location).vacuum(0, dry_run=False, enforce_retention_duration=False)


_DAY, _VERSION, _SEED = st.integers(0, 3), st.sampled_from(["1", "2", "3"]), st.integers(0, 1)
_CHANGES = st.one_of(
    st.builds(appended, _DAY, _VERSION, _SEED),
    st.builds(labelled, _DAY, _VERSION, _SEED),
    st.integers(0, 3).map(lambda at: lambda lake: lake.delete(SPEC.table, f"id LIKE '%-{at}-%-7'")),
    st.just(compacted),
)


@given(st.lists(st.tuples(_CHANGES, st.booleans()), min_size=3, max_size=9))
@settings(max_examples=6, deadline=None)
def test_counting_what_is_new_is_counting_all(changes: list[tuple[Change, bool]]) -> None:
    with TemporaryDirectory() as folder:
        lake = make_lake(Path(folder))
        for change, is_counted in changes:
            change(lake)
            if is_counted:
                count(lake, SLICED)
        count(lake, SLICED)
        check(lake, SLICED)


class Watched(DeltaTableStore):
    """Remembers which files of a log were read: paths, or None for all of a version."""

    def __init__(self, log: Location) -> None:
        super().__init__()
        self.log, self.seen = log, list[Sequence[str] | None]()

    def read(
        self,
        location: Location,
        version: Version | None = None,
        columns: Sequence[str] | None = None,
        where: object = None,
    ) -> pa.Table:
        assert location != self.log
        return super().read(location, version, columns, where)

    def batches(
        self,
        location: Location,
        columns: Sequence[str],
        where: object = None,
        *,
        version: Version | None = None,
        files: Sequence[str] | None = None,
        batch_rows: int = 1000,
    ) -> Iterator[pa.RecordBatch]:
        if location == self.log:
            self.seen.append(files)
        return super().batches(location, columns, where, version=version, files=files, batch_rows=batch_rows)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return make_lake(tmp_path)


def watching(lake: Lake) -> tuple[Lake, Watched]:
    store = Watched(lake.entry(SPEC.table).location)
    return replace(lake, store=store), store


def test_an_unchanged_log_is_not_read_and_neither_is_a_compacted_one(lake: Lake) -> None:
    for day in range(3):
        lake.append(SPEC.table, log_of([day], version="2"))
    count(lake)
    lake, store = watching(lake)
    version = lake.pin(counts_table(SPEC)).version
    assert not count(lake).rows.num_rows
    compacted(lake)
    assert not count(lake).rows.num_rows
    assert (store.seen, lake.pin(counts_table(SPEC)).version) == ([], version)


def test_only_files_that_were_added_are_read(lake: Lake) -> None:
    lake.append(SPEC.table, log_of(range(3)))
    count(lake)
    lake.append(SPEC.table, log_of([2], seed=1))
    lake.append(SPEC.table, log_of([3]))
    lake, store = watching(lake)
    found = count(lake)
    (files,) = store.seen
    assert files is not None
    assert len(files) == 2
    assert {number - min(found.changed["1"]) for number in found.changed["1"]} == {0, 1}
    check(lake)


def test_late_labels_reopen_only_their_windows_and_change_only_answers(lake: Lake) -> None:
    for day in range(4):
        lake.append(SPEC.table, log_of([day], labels=False))
    first = min(count(lake).changed["1"])
    lake.merge(SPEC.table, log_of([1, 3]).select(["id", "actual_label"]), ["id"])
    lake, store = watching(lake)
    found = count(lake)
    assert (found.changed, found.answered) == ({}, {"1": {first + 1, first + 3}})
    assert store.seen[1] is not None  # what was added, then the windows that lost their files
    check(lake)


def test_a_window_that_lost_its_rows_is_gone(lake: Lake) -> None:
    lake.append(SPEC.table, log_of([0]))
    lake.append(SPEC.table, log_of([1]))
    count(lake)
    lake.delete(SPEC.table, "id LIKE '1-1-%'")
    count(lake)
    assert len(stored(lake)) == 1
    check(lake)


def test_rows_of_versions_nobody_asked_for_are_looked_at_once(lake: Lake) -> None:
    lake.append(SPEC.table, log_of([0]))
    count(lake)
    lake.append(SPEC.table, log_of([1], version="9"))
    count(lake)
    lake, store = watching(lake)
    count(lake)
    assert store.seen == []
    check(lake)


def test_a_rewritten_log_is_counted_anew(lake: Lake) -> None:
    lake.append(SPEC.table, log_of(range(2)))
    count(lake)
    lake.overwrite(SPEC.table, log_of([1, 5], seed=3))
    count(lake)
    check(lake)
    lake.append(SPEC.table, log_of([6]))
    compacted(lake, vacuumed=True)
    assert count(lake).anew == {"1", "2"}
    check(lake)


def test_another_log_of_the_same_name_is_counted_anew(lake: Lake) -> None:
    lake.append(SPEC.table, log_of(range(3)))
    count(lake)
    lake.drop(SPEC.table)
    lake.create(SPEC.table, log_of([0]).schema, rows=log_of([7]))
    count(lake)
    check(lake)
    assert len(stored(lake)) == 1


def test_other_slices_and_windows_are_counted_anew(lake: Lake) -> None:
    lake.append(SPEC.table, log_of(range(2)))
    count(lake)
    count(lake, SLICED)
    assert {(part.slice_key, part.slice_value) for part, _ in stored(lake, SLICED)} == {
        (None, None),
        ("region", "north"),
        ("region", "south"),
        ("spend > 0", "true"),
        ("spend > 0", "false"),
    }
    check(lake, SLICED)


def test_rows_without_a_time_count_nowhere(lake: Lake) -> None:
    rows = log_of([0])
    at = rows.schema.get_field_index("timestamp")
    times = pa.array([None, *rows["timestamp"].to_pylist()[1:]], pa.timestamp("us", "UTC"))
    lake.append(SPEC.table, rows.set_column(at, "timestamp", times))
    count(lake)
    assert [window.rows for window in stored(lake).values()] == [39]
