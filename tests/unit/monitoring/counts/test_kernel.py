from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.core.errors import InvalidInput
from millrace.monitoring.counts import kernel
from millrace.monitoring.counts.kernel import Counts, count_batch, count_batches, moments, parquet_batches
from millrace.monitoring.counts.sums import Moments
from millrace.monitoring.reference.cells import count_cells
from millrace.monitoring.reference.column import ColumnProfile
from millrace.monitoring.reference.profile import ReferenceProfile

REFERENCE = pa.table({"x": np.arange(100.0), "t": ["a"] * 50 + ["b"] * 30 + ["c"] * 20})
_NUMBERS = st.one_of(st.none(), st.floats(), st.integers(-5, 105).map(float))
_TEXTS = st.one_of(st.none(), st.sampled_from(["a", "b", "zebra", "", "ß"]))
_ROWS = st.lists(st.tuples(_NUMBERS, _TEXTS, st.integers(-1, 2)), max_size=50)


def profiles(table: pa.Table = REFERENCE) -> dict[str, ColumnProfile]:
    return {column.name: column for column in ReferenceProfile.build(table).columns}


def table_of(rows: list[tuple[float | None, str | None, int]]) -> pa.Table:
    return pa.table(
        {"x": pa.array([x for x, _, _ in rows], pa.float64()), "t": pa.array([t for _, t, _ in rows], pa.string())}
    )


def cells(counts: Counts, name: str) -> list[list[int]]:
    found: list[list[int]] = counts[name].cells.tolist()
    return found


@given(_ROWS, st.integers(0, 50), st.sampled_from(["plain", "dictionary", "chunks"]))
@settings(max_examples=60, deadline=None)
def test_counts_are_those_of_looking_up_each_value(
    rows: list[tuple[float | None, str | None, int]], cut: int, form: str
) -> None:
    table = table_of(rows)
    if form == "dictionary":
        table = table.set_column(1, "t", table.column("t").dictionary_encode())
    if form == "chunks":  # which begin in the middle of a byte of their nulls
        table = pa.concat_tables([table.slice(0, cut), table.slice(cut)])
    groups = np.array([group for _, _, group in rows], dtype=np.int64)
    columns = profiles()
    found = count_batch(table, columns, groups, 3)
    inside = groups >= 0
    for name, profile in columns.items():
        each = profile.cells_of(table_of(rows).column(name))
        assert (found[name].cells == count_cells(each[inside], groups[inside], 3, len(profile.counts))).all()
    for group in range(3):
        numbers = [x for x, _, number in rows if number == group]
        values = np.array([math.nan if x is None else x for x in numbers], dtype=np.float64)
        with np.errstate(over="ignore"):
            expected = Moments.of(values[np.abs(values) < 1e150], 0)
        assert moments(found["x"], group).nans == sum(x is not None and math.isnan(x) for x in numbers)
        if (np.abs(values[np.isfinite(values)]) < 1e150).all():
            largest = float(np.abs(values[np.isfinite(values)]).max(initial=0.0))
            assert moments(found["x"], group).total == pytest.approx(expected.total, abs=1e-11 * largest)
            assert moments(found["x"], group).low == expected.low


@given(_ROWS, st.integers(1, 20))
@settings(max_examples=30, deadline=None)
def test_batches_add_up_to_the_whole(rows: list[tuple[float | None, str | None, int]], size: int) -> None:
    table, columns = table_of(rows), profiles()
    whole, parts = count_batch(table, columns), count_batches(table.to_batches(size), columns)
    for name in columns:
        assert cells(parts, name) == cells(whole, name)
        assert moments(parts[name], 0).high == moments(whole[name], 0).high


def test_threads_and_one_thread_count_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    table = pa.table({"x": rng.normal(50, 30, 3000), "t": rng.choice(["a", "b", "new"], 3000)})
    alone = count_batch(table, profiles())
    monkeypatch.setattr(kernel, "_ALONE", 0)
    threads = count_batch(table, profiles())
    assert all(cells(alone, name) == cells(threads, name) for name in alone)


@pytest.mark.parametrize(
    ("column", "edges", "expected"),
    [
        (pa.array([1, None, 3], pa.int8()), (1.0, 2.0), [1, 1, 0, 1]),
        (pa.array([2**63, 1], pa.uint64()), (1.0, 2.0), [0, 1, 0, 1]),
        (pa.array([1.5, None], pa.float32()), (1.0, 2.0), [1, 0, 1, 0]),
        (pa.array([True, False, None]), (0.0, 0.5), [1, 1, 0, 1]),
        (pa.array([Decimal("1.25"), None], pa.decimal128(10, 2)), (1.0, 2.0), [1, 0, 1, 0]),
        (pa.array([datetime(1970, 1, 1, tzinfo=UTC), None], pa.timestamp("ns", "UTC")), (-1.0, 0.0), [1, 0, 1, 0]),
        (pa.array([date(1970, 1, 2)]), (0.0, 86_400_000_000.0), [0, 0, 1, 0]),
        (pa.array([1, 3, None]).dictionary_encode(), (1.0, 2.0), [1, 1, 0, 1]),
        (pa.nulls(3), (1.0, 2.0), [3, 0, 0, 0]),
        (pa.nulls(3, pa.float64()), (1.0, 2.0), [3, 0, 0, 0]),
        (pa.array([], pa.float64()), (1.0, 2.0), [0, 0, 0, 0]),
        (pa.array([math.nan, -0.0, 5e-324, math.inf, -math.inf]), (0.0, 5e-324), [1, 2, 1, 1]),
        (pa.array([1.0, 2.0]), (), [0, 2]),
    ],
)
def test_every_type_of_number_is_counted(column: pa.Array, edges: tuple[float, ...], expected: list[int]) -> None:
    counts = (0,) * (len(edges) + 1)
    profile = ColumnProfile("x", "numeric", edges, (), counts, 0, 0, 0, None, None, None, None)
    assert cells(count_batch(pa.table({"x": column}), {"x": profile}), "x") == [expected]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["a", None, "new"], pa.large_string()),
        pa.array(["a", None, "new"], pa.string_view()),
        pa.DictionaryArray.from_arrays(pa.array([0, 1, 2]), pa.array(["a", None, "new"])),
        pa.DictionaryArray.from_arrays(pa.array([0, None, 2], pa.int8()), pa.array(["a", "never", "new"])),
    ],
)
def test_every_type_of_text_is_counted(column: pa.Array) -> None:
    profile = profiles()["t"]
    found = count_batch(pa.table({"t": column}), {"t": profile})
    assert cells(found, "t") == [[1, 1, 0, 0, 1]]
    assert moments(found["t"], 0) == Moments(2, 4.0, 10.0, 1.0, 3.0)


def test_numbers_in_a_column_of_texts_are_texts_and_texts_are_no_numbers() -> None:
    text = profiles(pa.table({"t": ["1", "2"]}))["t"]
    assert cells(count_batch(pa.table({"t": [1, 3]}), {"t": text}), "t") == [[0, 1, 0, 1]]
    with pytest.raises(InvalidInput, match="can't be monitored as a number"):
        count_batch(pa.table({"x": ["north"]}), {"x": profiles()["x"]})


def test_ten_thousand_categories_are_counted_in_few_cells() -> None:
    rng = np.random.default_rng(0)
    texts = np.array([f"customer {at}" for at in range(10_000)])[rng.integers(0, 10_000, 50_000)]
    profile = profiles(pa.table({"t": texts}))["t"]
    found = count_batch(pa.table({"t": texts[:20_000]}), {"t": profile})
    known = sum(text in set(profile.categories) for text in texts[:20_000].tolist())
    assert len(profile.counts) == 256
    assert found["t"].cells[0, 1:-1].sum() == known
    assert found["t"].cells[0, -1] == 20_000 - known


def test_parquet_files_are_read_some_rows_at_a_time(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tables = [
        pa.table({"t": rng.choice(["a", "z"], 1000), "other": range(1000), "x": rng.normal(50, 9, 1000)})
        for _ in range(2)
    ]
    files = [str(tmp_path / f"{at}.parquet") for at in range(2)]
    for file, table in zip(files, tables, strict=True):
        pq.write_table(table, file)
    columns = profiles()
    batches = list(parquet_batches(files, columns, 300))
    assert max(batch.num_rows for batch in batches) == 300
    assert {batch.num_columns for batch in batches} == {2}
    assert all(pa.types.is_dictionary(batch.schema.field("t").type) for batch in batches)
    found, whole = count_batches(batches, columns), count_batch(pa.concat_tables(tables), columns)
    assert all(cells(found, name) == cells(whole, name) for name in columns)


def test_groups_of_batches_are_of_windows_and_slices() -> None:
    table = pa.table({"x": np.arange(100.0), "window": np.arange(100) // 50})
    profile = {"x": profiles()["x"]}
    found = count_batches(table.to_batches(30), profile, lambda batch: batch.column("window").to_numpy(), 2)
    assert found["x"].count.tolist() == [50, 50]
    assert found["x"].low.tolist() == [0.0, 50.0]
