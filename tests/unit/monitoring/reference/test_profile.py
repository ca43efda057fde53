from __future__ import annotations

import json
import math
import statistics
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.core.errors import InvalidInput
from millrace.monitoring.reference.calibrate import spans
from millrace.monitoring.reference.profile import ReferenceProfile

_FLOATS = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True, width=64))


@given(st.lists(st.tuples(_FLOATS, st.one_of(st.none(), st.text(max_size=3))), min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_json_brings_every_profile_back_exactly(rows: list[tuple[float | None, str | None]]) -> None:
    table = pa.table(
        {
            "n": pa.array([number for number, _ in rows], pa.float64()),
            "t": pa.array([text for _, text in rows], pa.string()),
        }
    )
    profile = ReferenceProfile.build(table)
    again = ReferenceProfile.from_json(profile.to_json())
    assert again == profile
    assert again.fingerprint == profile.fingerprint
    assert [column.rows for column in profile.columns] == [len(rows), len(rows)]


def test_a_profile_holds_moments_counts_and_missing_values() -> None:
    values = [3.0, 1.0, None, 2.0, 2.0, float("nan"), 0.0]
    table = pa.table({"x": values, "region": ["n", "s", "n", None, "n", "n", "s"], "id": range(7)})
    profile = ReferenceProfile.build(table, columns=["x", "region"])
    x, region = profile.columns
    known = [3.0, 1.0, 2.0, 2.0, 0.0]
    assert (x.missing, x.zeros, x.distinct, sum(x.counts)) == (2, 1, 4, 5)
    assert x.mean == pytest.approx(statistics.fmean(known))
    assert x.sd == pytest.approx(statistics.pstdev(known))
    assert (x.low, x.high) == (0.0, 3.0)
    assert (region.categories, region.counts, region.missing) == (("n", "s"), (4, 2, 0), 1)
    assert profile.probability is None
    assert profile.prediction is None


def test_answers_count_only_where_they_are_known() -> None:
    table = pa.table({"x": [1.0, 2.0, 3.0, 4.0]})
    probabilities = pa.array([None, 0.8, 0.4, 0.5])
    profile = ReferenceProfile.build(
        table, probabilities, pa.array([1, 1, 0, None]), predictions=pa.array([None, 1, 0, 1])
    )
    assert profile.probability is not None
    assert profile.prediction is not None
    assert (profile.probability.rows, profile.probability.missing, profile.prediction.rows) == (3, 0, 3)


@pytest.mark.parametrize(
    ("table", "arguments", "message"),
    [
        (pa.table({"x": pa.array([], pa.float64())}), {}, "no rows"),
        (pa.table({"x": [1.0]}), {"columns": ["y"]}, "no column 'y'"),
        (pa.table({"x": [1.0]}), {"probabilities": pa.array([0.1, 0.2])}, r"\[2\] values beside 1 rows"),
        (pa.table({"x": [[1.0]]}), {}, "can't be monitored as a number"),
        (
            pa.table({"x": [1.0]}),
            {"timestamps": pa.nulls(1, pa.timestamp("us"))},
            "1 rows of the reference have no time",
        ),
    ],
)
def test_a_bad_reference_is_refused(table: pa.Table, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        ReferenceProfile.build(table, **arguments)  # type: ignore[arg-type]


def test_text_that_is_no_profile_is_refused() -> None:
    profile = ReferenceProfile.build(pa.table({"x": [1.0, 2.0]}))
    for text in ("", "{}", "[1]", '{"format":1}'):
        with pytest.raises(InvalidInput, match="not a reference profile"):
            ReferenceProfile.from_json(text)
    newer = json.dumps(json.loads(profile.to_json()) | {"format": 99})
    with pytest.raises(InvalidInput, match="format 99"):
        ReferenceProfile.from_json(newer)


def test_what_an_earlier_millrace_wrote_is_read() -> None:
    profile = ReferenceProfile.build(pa.table({"x": [1.0, 2.0], "t": ["a", None]}))
    data = json.loads(profile.to_json())
    for column in data["columns"]:
        del column["days"]
        column["variation"] = {"7": {"windows": 6, "mean": 0.1, "sd": 0.1}}
    del data["importances"]
    assert ReferenceProfile.from_json(json.dumps(data | {"format": 1})) == profile


def test_importances_travel_and_change_no_fingerprint() -> None:
    profile = ReferenceProfile.build(pa.table({"x": [1.0, 2.0]}))
    weighed = replace(profile, importances={"x": 1.0})
    assert ReferenceProfile.from_json(weighed.to_json()) == weighed
    assert weighed.fingerprint == profile.fingerprint
    assert ReferenceProfile.build(pa.table({"x": [1.0, 3.0]})).fingerprint != profile.fingerprint


def test_days_of_the_reference_hold_rows_moments_and_coarse_counts() -> None:
    monday = datetime(2025, 3, 10, tzinfo=UTC)
    rows = [(0, 1.0, "a"), (0, 3.0, None), (1, None, "b"), (8, math.inf, "a"), (8, 5.0, "a"), (8, 7.0, "b")]
    table = pa.table({"x": [x for _, x, _ in rows], "t": [t for _, _, t in rows]})
    times = pa.array([monday + timedelta(days=day) for day, _, _ in rows], pa.timestamp("us", "UTC"))
    profile = ReferenceProfile.build(table, timestamps=times)
    assert ReferenceProfile.from_json(profile.to_json()) == profile
    x, text = profile.columns
    days = x.days
    assert days is not None
    assert text.days is not None
    assert [number - days.numbers[0] for number in days.numbers] == [0, 1, 8]
    assert (days.rows, days.missing, days.means) == ((2, 1, 3), (0, 1, 0), (2.0, None, 6.0))
    assert days.sds == (1.0, None, 1.0)
    expected = np.zeros((3, x.coarse[-1] + 1), dtype=int)
    cells = x.coarse[x.cells_of(pa.array([1.0, 3.0, math.inf, 5.0, 7.0]))]
    np.add.at(expected, (np.array([0, 0, 2, 2, 2]), cells), 1)
    assert days.counts == tuple(map(tuple, expected.tolist()))
    assert text.days.counts == ((1, 0, 0), (0, 1, 0), (2, 1, 0))
    assert text.days.missing == (1, 0, 0)
    assert text.days.means == (None, None, None)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 900),
            st.one_of(_FLOATS, st.integers(-2, 2).map(float)),
            st.one_of(st.none(), st.sampled_from("abc")),
        ),
        min_size=1,
        max_size=40,
    )
)
@settings(max_examples=60, deadline=None)
def test_counts_of_a_reference_are_those_of_its_cells(rows: list[tuple[int, float | None, str | None]]) -> None:
    start = datetime(2020, 1, 1, tzinfo=UTC)
    table = pa.table(
        {"x": pa.array([x for _, x, _ in rows], pa.float64()), "t": pa.array([t for *_, t in rows], pa.string())}
    )
    times = pa.array([start + timedelta(days=day) for day, _, _ in rows], pa.timestamp("us", "UTC"))
    for profile in ReferenceProfile.build(table, timestamps=times).columns:
        each = profile.cells_of(table.column(profile.name))
        whole = np.bincount(each + 1, minlength=len(profile.counts) + 1)
        assert [profile.missing, *profile.counts] == whole.tolist()
        days = profile.days
        assert days is not None
        coarse = np.append(profile.coarse, -1)[each] + 1
        for at, number in enumerate(days.numbers):
            inside = [
                row
                for row, (day, _, _) in enumerate(rows)
                if day - max(d for d, _, _ in rows) == number - days.numbers[-1]
            ]
            found = np.bincount(coarse[inside], minlength=len(days.counts[at]) + 1)
            assert [days.missing[at], *days.counts[at]] == found.tolist()


def test_of_a_long_history_the_newest_days_are_kept() -> None:
    start = datetime(2020, 1, 1, tzinfo=UTC)
    times = pa.array([start + timedelta(days=day) for day in range(1000)], pa.timestamp("us", "UTC"))
    (x,) = ReferenceProfile.build(pa.table({"x": np.arange(1000.0)}), timestamps=times).columns
    assert x.days is not None
    assert len(x.days.numbers) == 400
    assert x.days.means == tuple(float(at) for at in range(600, 1000))


def test_the_spread_of_large_numbers_in_a_window_is_exact() -> None:
    times = pa.array([datetime(2025, 1, 1, tzinfo=UTC)] * 3)
    (x,) = ReferenceProfile.build(pa.table({"x": [1e9 + 1, 1e9 + 2, 1e9 + 3]}), timestamps=times).columns
    assert x.days is not None
    assert x.days.sds[0] == pytest.approx(math.sqrt(2 / 3), rel=1e-12)


def test_moments_beyond_floats_are_not_told() -> None:
    times = pa.array([datetime(2025, 1, 1, tzinfo=UTC)] * 2)
    (x,) = ReferenceProfile.build(pa.table({"x": [1e308, -1.7e308]}), timestamps=times).columns
    assert x.days is not None
    assert (x.sd, x.high, x.days.sds) == (None, 1e308, (None,))


def test_timestamps_say_which_day_and_which_week_a_row_is_of() -> None:
    monday = datetime(2025, 3, 10, tzinfo=UTC)
    times = [monday, monday + timedelta(hours=23), monday + timedelta(days=6), monday + timedelta(days=7)]
    when = spans(pa.array(times, pa.timestamp("us", "UTC")))
    assert [int(n - when[1][0]) for n in when[1]] == [0, 0, 6, 7]
    assert [int(n - when[7][0]) for n in when[7]] == [0, 0, 0, 1]
