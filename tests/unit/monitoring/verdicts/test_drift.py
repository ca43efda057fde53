from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.core.clock import epoch_us
from millrace.monitoring.counts.sums import Moments
from millrace.monitoring.counts.window_counts import WindowCounts
from millrace.monitoring.reference.column import ColumnProfile
from millrace.monitoring.reference.profile import ReferenceProfile
from millrace.monitoring.types import MonitorSpec, WindowVerdict
from millrace.monitoring.verdicts.drift import judge_drift
from millrace.monitoring.verdicts.tracks import tracks_of

SPEC = MonitorSpec("logs.p", "metrics", effect_floor=0.05)
START = datetime(2025, 1, 6, tzinfo=UTC)
DAY_US = 86_400_000_000


def text(counts: Sequence[int], missing: int = 0, name: str = "region") -> ColumnProfile:
    return ColumnProfile(
        name, "text", (), tuple("abcdefgh"[: len(counts) - 1]), tuple(counts), missing, 0, 0, None, None, None, None
    )


def drift_of(profile: ColumnProfile, *windows: Sequence[int] | None) -> list[WindowVerdict]:
    counted = [
        WindowCounts(number, sum(cells), {"region": np.array(cells)})
        for number, cells in enumerate(windows)
        if cells is not None
    ]
    return list(judge_drift(SPEC, "1", counted, {"region": profile}))


def days_of(values: Mapping[str, Sequence[Sequence[float]]], profiles: Sequence[ColumnProfile]) -> list[WindowCounts]:
    """Windows from day 20100 on, of columns' values by day."""
    windows = []
    for at in range(len(next(iter(values.values())))):
        cells, moments = {}, {}
        for profile in profiles:
            column = np.asarray(values[profile.name][at], dtype=np.float64)
            cells[profile.name] = np.bincount(profile.cells_of(pa.array(column)) + 1, minlength=len(profile.counts) + 1)
            moments[profile.name] = Moments.of(column)
        rows = int(next(iter(cells.values())).sum())
        windows.append(WindowCounts(20100 + at, rows, cells, moments))
    return windows


def referenced(days: Mapping[str, Sequence[Sequence[float]]]) -> tuple[ColumnProfile, ...]:
    """Profiles of columns whose values by day end on day 20099."""
    count = len(next(iter(days.values())))
    lengths = [len(one) for one in next(iter(days.values()))]
    numbers = np.repeat(np.arange(20100 - count, 20100), lengths)
    table = pa.table({name: np.concatenate([np.asarray(day) for day in values]) for name, values in days.items()})
    times = pa.array(numbers * DAY_US, pa.timestamp("us", "UTC"))
    return ReferenceProfile.build(table, timestamps=times).columns


def test_a_shift_is_drift_and_its_reason_has_the_figures() -> None:
    (verdict,) = drift_of(text([500, 500, 0]), [0, 180, 20, 0])
    assert (verdict.status, verdict.columns, verdict.severity) == ("drift", ("region",), "critical")
    assert verdict.figures["rows"] == 200
    assert verdict.figures["effect"] == pytest.approx(0.4)
    assert verdict.score == pytest.approx(0.4)
    assert verdict.reason == "region: share of 'a' moved by 40.0%, 50.0% in the reference, over 1 day (n=200)"
    from scipy import stats

    # Without windows of the reference three quarters of the floor are granted; half of the rows were in the cell.
    exact = 2 * stats.binom.sf(180 - 0.0375 * 200 - 1, 200, 0.5)
    assert verdict.figures["p_value"] == pytest.approx(
        max(exact * 2, 2 * 2 * stats.norm.sf((0.4 - 0.0375) / math.sqrt(0.25 / 200 + 0.25 / 1000))), rel=1e-3
    )


def test_the_reference_s_own_shares_are_no_drift() -> None:
    (verdict,) = drift_of(text([500, 500, 0]), [0, 103, 97, 0])
    assert (verdict.status, verdict.columns, verdict.score) == ("ok", (), 0.0)
    assert verdict.reason == (
        "no drift; the largest effect is region: TV 0.00 beyond chance, limit 0.05, over 7 days (n=200)"
    )


def test_too_few_rows_say_nothing_until_windows_add_up() -> None:
    first, second, third = drift_of(text([500, 500, 0]), [0, 0, 12, 0], [0, 0, 12, 0], [0, 0, 12, 0])
    assert [first.status, second.status, third.status] == ["insufficient_data", "insufficient_data", "drift"]
    assert first.reason == "12 rows over 28 days, 30 are needed"
    assert first.score is None
    assert third.figures["windows"] == 3


def test_windows_without_rows_are_gaps_not_neighbours() -> None:
    windows: list[Sequence[int] | None] = [[0, 0, 20, 0], *[None] * 6, [0, 0, 20, 0]]
    last = drift_of(text([500, 500, 0]), *windows)[-1]
    assert (last.status, last.figures["windows"], last.figures["rows"]) == ("drift", 28, 40)


def test_no_windows_no_verdicts() -> None:
    assert judge_drift(SPEC, "1", [], {"region": text([5, 5, 0])}) == []


def test_windows_of_nulls_alone_are_too_few_values_to_judge() -> None:
    (verdict,) = drift_of(text([500, 500, 0]), [400, 0, 0, 0])
    assert (verdict.status, verdict.columns) == ("insufficient_data", ())


@given(st.lists(st.integers(0, 60), min_size=2, max_size=2), st.floats(0.01, 50), st.floats(1, 100))
@settings(max_examples=40, deadline=None)
def test_a_larger_budget_never_raises_fewer_alarms(cells: list[int], budget: float, more: float) -> None:
    counted = [WindowCounts(0, sum(cells), {"region": np.array([0, *cells, 0])})]
    few, many = (
        judge_drift(MonitorSpec("l.p", "m", false_alarms_per_year=one), "1", counted, {"region": text([500, 500, 0])})[
            0
        ].status
        for one in (budget, budget * more)
    )
    assert (few, many) != ("drift", "ok")


@given(st.permutations(["a", "b", "c"]), st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_the_order_of_columns_does_not_matter(order: list[str], seed: int) -> None:
    rng = np.random.default_rng(seed)
    profiles = {name: text([500, 300, 200, 0], name=name) for name in "abc"}
    windows = [
        WindowCounts(at, 80, {name: np.r_[0, rng.multinomial(80, [0.4, 0.3, 0.3]), 0] for name in "abc"})
        for at in range(5)
    ]
    ordered = {name: profiles[name] for name in order}
    assert judge_drift(SPEC, "1", windows, ordered) == judge_drift(SPEC, "1", windows, profiles)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_a_week_of_days_is_judged_as_their_sum(seed: int) -> None:
    rng = np.random.default_rng(seed)
    number = ColumnProfile("x", "numeric", (0.0, 1.0), (), (0, 600, 400), 30, 9, 0, 1.0, 1.0, 0.0, 2.0)
    columns = {"region": text([500, 300, 200, 0]), "x": number}
    days = [
        {
            name: rng.multinomial(60, [0.1, 0.4, 0.3, 0.2, 0][: len(profile.counts) + 1])
            for name, profile in columns.items()
        }
        for _ in range(7)
    ]
    apart = [WindowCounts(at, 60, day) for at, day in enumerate(days)]
    whole = WindowCounts(6, 420, {name: np.sum([day[name] for day in days], axis=0) for name in columns})
    for quality in (False, True):
        by_day = [t for t in tracks_of(SPEC, apart, columns, quality=quality) if t.scale == 7]
        together = [t for t in tracks_of(SPEC, [whole], columns, quality=quality) if t.scale == 7]
        for one, other in zip(by_day, together, strict=True):
            assert (one.column, one.measure, one.rows[-1]) == (other.column, other.measure, other.rows[-1])
            assert one.effects[-1] == pytest.approx(other.effects[-1])
            assert one.p_values[-1] == pytest.approx(other.p_values[-1], rel=1e-9)


def test_weekdays_that_differ_in_the_reference_are_expected_to_differ() -> None:
    rng = np.random.default_rng(5)

    def day(number: int, moved: float = 0.0) -> Sequence[float]:
        return list(rng.normal(0.6 * ((number + 3) % 7 >= 5) + moved, 1, 300))

    (profile,) = referenced({"spend": [day(n) for n in range(20100 - 84, 20100)]})
    quiet = judge_drift(
        SPEC, "1", days_of({"spend": [day(20100 + n) for n in range(21)]}, [profile]), {"spend": profile}
    )
    assert {verdict.status for verdict in quiet} == {"ok"}
    # A Sunday as others are Mondays: lower than Sundays are, though nearer to the mean of all days.
    moved = [day(20100 + n, -0.6 * ((20100 + n + 3) % 7 == 6)) for n in range(14)]
    found = judge_drift(SPEC, "1", days_of({"spend": moved}, [profile]), {"spend": profile})
    assert next((v.start.weekday(), v.figures["windows"]) for v in found if v.status == "drift") == (6, 1)


def test_a_column_with_its_own_ups_and_downs_needs_a_larger_distance() -> None:
    rng = np.random.default_rng(4)
    wild = [list(rng.normal(rng.normal(0, 0.5), 1, 200)) for _ in range(60)]
    profiles = referenced({"calm": [list(rng.normal(size=200)) for _ in range(60)], "wild": wild})
    now = {name: [list(rng.normal(0.6, 1, 300))] for name in ("calm", "wild")}
    columns = {profile.name: profile for profile in profiles}
    (verdict,) = judge_drift(SPEC, "1", days_of(now, profiles), columns)
    assert (verdict.status, verdict.columns) == ("drift", ("calm",))


def test_a_wider_spread_at_the_same_place_is_drift() -> None:
    rng = np.random.default_rng(6)
    profiles = referenced({"amount": [list(rng.normal(size=200)) for _ in range(30)]})
    windows = days_of({"amount": [list(rng.normal(0, 2, 1000))]}, profiles)
    (verdict,) = judge_drift(SPEC, "1", windows, {"amount": profiles[0]})
    assert verdict.status == "drift"
    assert "KS" in verdict.reason


class TestTrend:
    """A column that grew by one a day in the reference."""

    def reference(self) -> ColumnProfile:
        rng = np.random.default_rng(7)
        return referenced({"days_since_first": [list(rng.normal(n, 5, 400)) for n in range(60)]})[0]

    def verdict(self, mean: float, sd: float = 5.0, at: int = 30, rows: int = 200) -> WindowVerdict:
        profile = self.reference()
        rng = np.random.default_rng(8)
        values = [[]] * at + [list(rng.normal(mean, sd, rows))]
        windows = days_of({profile.name: values}, [profile])
        return judge_drift(SPEC, "1", windows[-1:], {profile.name: profile})[0]

    def test_where_it_leads_is_explained(self) -> None:
        verdict = self.verdict(60 + 30)
        assert (verdict.status, verdict.columns, verdict.severity) == ("explained", ("days_since_first",), "info")
        assert verdict.reason == (
            "days_since_first: drift explained by cohort age: grows 1.00 a day, as in the reference"
        )
        assert verdict.figures["slope_per_day"] == pytest.approx(1.0, abs=0.02)

    @pytest.mark.parametrize(("mean", "sd"), [(93, 5), (87, 5), (60, 5), (120, 5), (90, 12), (90, 2), (-90, 5)])
    def test_what_is_elsewhere_or_otherwise_spread_is_drift(self, mean: float, sd: float) -> None:
        assert self.verdict(mean, sd).status == "drift"

    def test_another_column_that_moves_is_still_told(self) -> None:
        rng = np.random.default_rng(9)
        profiles = referenced(
            {
                "age": [list(rng.normal(n, 5, 100)) for n in range(60)],
                "x": [list(rng.normal(size=100)) for _ in range(60)],
            }
        )
        windows = days_of({"age": [list(rng.normal(60, 5, 200))], "x": [list(rng.normal(1, 1, 200))]}, profiles)
        (verdict,) = judge_drift(SPEC, "1", windows, {one.name: one for one in profiles})
        assert (verdict.status, verdict.columns) == ("drift", ("x",))

    def test_ups_and_downs_are_no_trend(self) -> None:
        rng = np.random.default_rng(10)
        (profile,) = referenced({"x": [list(rng.normal(0.02 * n + rng.normal(0, 1), 1, 100)) for n in range(60)]})
        windows = days_of({"x": [list(rng.normal(9, 1, 200))]}, [profile])
        assert judge_drift(SPEC, "1", windows, {"x": profile})[0].status == "drift"


class TestCauses:
    columns: Mapping[str, ColumnProfile] = {name: text([500, 500, 0], name=name) for name in ("a", "b", "probability")}

    def verdict(self, importances: Mapping[str, float] | None = None, **cells: Sequence[int]) -> WindowVerdict:
        calm = [0, 100, 100, 0]
        window = WindowCounts(0, 200, {name: np.array(cells.get(name, calm)) for name in self.columns})
        return judge_drift(SPEC, "1", [window], self.columns, importances=importances)[0]

    def test_columns_are_ranked_by_importance_times_effect(self) -> None:
        far, near = [0, 180, 20, 0], [0, 160, 40, 0]
        assert self.verdict(a=near, b=far).columns == ("b", "a")
        found = self.verdict({"a": 0.8, "b": 0.2}, a=near, b=far)
        assert found.columns == ("a", "b")
        assert found.figures["a.importance"] == 0.8
        assert found.figures["b.effect"] == pytest.approx(0.4)

    def test_a_column_that_the_model_hardly_uses_is_never_told(self) -> None:
        verdict = self.verdict({"a": 0.995, "b": 0.005}, b=[0, 180, 20, 0])
        assert (verdict.status, verdict.severity, verdict.columns) == ("drift", "info", ("b",))
        both = self.verdict({"a": 0.995, "b": 0.005}, a=[0, 160, 40, 0], b=[0, 180, 20, 0])
        assert (both.severity, both.columns) == ("critical", ("a", "b"))

    def test_predictions_that_moved_are_explained_by_the_feature_that_did(self) -> None:
        verdict = self.verdict(a=[0, 160, 40, 0], probability=[0, 190, 10, 0])
        assert verdict.columns == ("a", "probability")
        assert verdict.reason.startswith("a: share")
        assert verdict.reason.endswith("; probability moved with it")
        alone = self.verdict(probability=[0, 190, 10, 0])
        assert (alone.columns, alone.severity) == (("probability",), "critical")

    def test_missing_values_are_named_before_the_drift_that_they_make(self) -> None:
        verdict = self.verdict(a=[120, 40, 40, 0], probability=[0, 190, 10, 0])
        assert verdict.columns == ("probability",)
        assert verdict.reason.startswith(
            "a: 60.0% missing, 0.0% in the reference, over 1 day (n=200); then probability"
        )


def test_the_day_is_the_window_s() -> None:
    (verdict,) = drift_of(text([500, 500, 0]), [0, 180, 20, 0])
    assert (verdict.start, verdict.end) == (datetime(1970, 1, 1, tzinfo=UTC), datetime(1970, 1, 2, tzinfo=UTC))
    assert epoch_us(verdict.end) - epoch_us(verdict.start) == timedelta(days=1) // timedelta(microseconds=1)
