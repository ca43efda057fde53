from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.core.errors import InvalidInput
from millrace.monitoring.reference.cells import (
    BINS,
    Floats,
    as_numbers,
    coarse_cells,
    count_cells,
    distinct_values,
    frequent_categories,
    kind_of,
    numeric_cells,
    quantile_edges,
    text_cells,
)
from millrace.monitoring.reference.effects import chance_distances, distances, effects, summed

_NUMBERS = st.one_of(st.integers(-5, 5).map(float), st.floats(-100, 100), st.sampled_from([0.0, 1.5, 1e9]))


def exact_ks(left: Sequence[float], right: Sequence[float]) -> float:
    def share(values: Sequence[float], at: float) -> float:
        return sum(value <= at for value in values) / len(values)

    return max(abs(share(left, at) - share(right, at)) for at in {*left, *right})


def edges_of(values: Sequence[float]) -> Floats:
    return quantile_edges(*distinct_values(np.array(values, dtype=np.float64)))


def ks_in_cells(reference: Sequence[float], current: Sequence[float]) -> float:
    edges = edges_of(reference)
    counts = [
        np.bincount(numeric_cells(np.array(values), edges), minlength=len(edges) + 1) for values in (reference, current)
    ]
    return float(distances("numeric", counts[0], counts[1][None, :])[0])


@given(st.lists(_NUMBERS, min_size=1, max_size=60), st.lists(_NUMBERS, min_size=1, max_size=60))
@settings(max_examples=80, deadline=None)
def test_ks_in_cells_is_exact_for_a_reference_of_few_values(reference: list[float], current: list[float]) -> None:
    assert ks_in_cells(reference, current) == pytest.approx(exact_ks(reference, current), abs=1e-12)


@given(st.integers(0, 10_000), st.floats(-1, 1), st.sampled_from([0, 1, 2, 3]), st.integers(300, 3000))
@settings(max_examples=60, deadline=None)
def test_ks_in_cells_is_within_a_512th_of_the_exact_one(seed: int, shift: float, decimals: int, rows: int) -> None:
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(seed)
    reference, current = rng.normal(size=rows), rng.normal(shift, 1, size=150)
    if decimals:  # ties
        reference, current = np.round(reference, decimals), np.round(current, decimals)
    if seed % 2:  # a value that fills many cells, between others
        reference[: rows // 3] = 0.25
    found = ks_in_cells(reference.tolist(), current.tolist())
    exact = ks_2samp(reference, current, method="asymp").statistic
    assert exact - 1 / BINS - 1e-12 <= found <= exact + 1e-12


@given(st.lists(st.sampled_from([0.0, -0.0, 1e-320, 1.0, 2.0, 1.7e308, -1.7976931348623157e308]), min_size=1))
def test_cells_hold_at_most_a_512th_or_one_value(values: list[float]) -> None:
    edges = edges_of(values)
    assert np.isfinite(edges).all()
    assert (edges[1:] > edges[:-1]).all()
    held: dict[int, list[float]] = {}
    for value, at in zip(values, numeric_cells(np.array(values), edges).tolist(), strict=True):
        held.setdefault(at, []).append(value)
    assert all(len(set(inside)) == 1 for inside in held.values())
    assert len(edges) not in held


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=900))
def test_coarse_cells_are_few_and_in_order(counts: list[int]) -> None:
    coarse = coarse_cells("numeric", np.array(counts, dtype=np.int64))
    assert coarse[0] == 0
    assert set(np.diff(coarse)) <= {0, 1}
    assert coarse[-1] < 32
    merged = np.bincount(coarse, counts)
    # What is together is a 32nd of the rows, and the halves of the cells at its ends.
    assert merged.max() <= sum(counts) / 32 + max(counts)


def test_rare_categories_are_together_in_coarse_cells() -> None:
    assert coarse_cells("text", np.ones(40, dtype=np.int64)).tolist() == [*range(32)] + [31] * 8
    assert coarse_cells("text", np.ones(3, dtype=np.int64)).tolist() == [0, 1, 2]


def test_outer_cells_catch_what_is_out_of_range() -> None:
    edges = edges_of([1.0, 2.0, 3.0])
    cells = numeric_cells(np.array([0.5, -np.inf, 1.0, 3.0, 3.5, np.inf, np.nan]), edges)
    assert list(cells[:2]) == [0, 0]
    assert list(cells[4:6]) == [len(edges), len(edges)]
    assert cells[6] == -1
    assert 0 < cells[2] < cells[3] < len(edges)


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.one_of(st.none(), st.floats(-3, 3), st.integers(-2, 2).map(float))), max_size=80
    )
)
@settings(max_examples=80, deadline=None)
def test_counts_of_windows_add_up_to_the_counts_of_the_whole(rows: list[tuple[int, float | None]]) -> None:
    edges = edges_of([-1.0, 0.0, 0.5, 2.0])
    values = np.array([np.nan if value is None else value for _, value in rows], dtype=np.float64)
    cells, windows = numeric_cells(values, edges), np.array([window for window, _ in rows], dtype=np.int64)
    counts = count_cells(cells, windows, 10, len(edges) + 1)
    whole = count_cells(cells, np.zeros(len(rows), dtype=np.int64), 1, len(edges) + 1)
    assert (counts.sum(axis=0) == whole[0]).all()
    assert whole[0][0] == sum(value is None for _, value in rows)
    assert list(counts.sum(axis=1)) == [sum(window == number for window, _ in rows) for number in range(10)]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_rolling_sums_are_sums_of_the_last_windows(counts: list[int], scale: int) -> None:
    found = summed(np.array(counts)[:, None], np.arange(len(counts)), scale)[:, 0]
    assert list(found) == [sum(counts[max(0, at - scale + 1) : at + 1]) for at in range(len(counts))]


def test_categories_are_the_most_frequent_and_all_others_share_a_cell() -> None:
    column = pa.chunked_array([["b", "a", "b", None], ["c"]])
    categories, rows, distinct = frequent_categories(column)
    assert (categories, rows.tolist(), distinct) == (("b", "a", "c"), [2, 1, 1, 0], 3)
    assert list(text_cells(pa.array(["a", "never seen", None, "b"]), categories)) == [1, 3, -1, 0]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([1, None, 3]), [1.0, None, 3.0]),
        (pa.array([True, False]), [1.0, 0.0]),
        (pa.array([Decimal("1.25"), None]), [1.25, None]),
        (pa.array([0, 1], pa.timestamp("ms", "UTC")), [0.0, 1000.0]),
        (pa.array([1.5, float("nan")]), [1.5, None]),
        (pa.array([1_999, None], pa.timestamp("ns")), [1.0, None]),
        (pa.array([2], pa.duration("ms")), [2000.0]),
        (pa.array([3], pa.time32("s")), [3_000_000.0]),
    ],
)
def test_stored_types_become_numbers(column: pa.Array, expected: list[float | None]) -> None:
    found = [None if np.isnan(value) else float(value) for value in as_numbers(column, "c")]
    assert found == expected


def test_a_list_is_no_number() -> None:
    with pytest.raises(InvalidInput, match="column 'c' of type list"):
        as_numbers(pa.array([[1]]), "c")


def test_kinds_of_types() -> None:
    assert kind_of(pa.string()) == kind_of(pa.dictionary(pa.int32(), pa.string())) == "text"
    assert kind_of(pa.decimal128(10, 2)) == kind_of(pa.bool_()) == "numeric"


def test_the_mean_distance_of_chance_is_what_simulation_shows() -> None:
    rng = np.random.default_rng(5)
    reference = np.array([50_000] * 20)
    numeric = rng.multinomial(200, np.full(20, 1 / 20), size=3000)
    expected = chance_distances("text", reference, np.array([200.0]))[0]
    assert distances("text", reference, numeric).mean() == pytest.approx(expected, rel=0.03)
    # In 20 cells the KS distance is a little less than the continuous one, whose mean the formula gives.
    continuous = chance_distances("numeric", reference, np.array([200.0]))[0]
    assert 0.85 * continuous < distances("numeric", reference, numeric).mean() < continuous


def test_effects_have_chance_taken_off_and_are_never_negative() -> None:
    reference = np.array([500, 500])
    assert effects("numeric", reference, np.array([[50, 50], [0, 0], [100, 0]]))[:2].tolist() == [0.0, 0.0]
    assert 0.3 < effects("numeric", reference, np.array([[100, 0]]))[0] < 0.5
