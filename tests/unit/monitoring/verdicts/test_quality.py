from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from millrace.monitoring.counts.window_counts import WindowCounts
from millrace.monitoring.reference.column import ColumnProfile
from millrace.monitoring.types import MonitorSpec, WindowVerdict
from millrace.monitoring.verdicts.quality import judge_quality

SPEC = MonitorSpec("logs.p", "metrics")


def text(counts: Sequence[int], missing: int = 0) -> ColumnProfile:
    categories = tuple("abcdefgh"[: len(counts) - 1])
    return ColumnProfile("region", "text", (), categories, tuple(counts), missing, 0, 0, None, None, None, None)


AMOUNT = ColumnProfile("amount", "numeric", (0.0, 5.0, 9.0), (), (0, 500, 500, 0), 0, 99, 0, 5.0, 2.0, 0.0, 9.0)


def quality_of(profile: ColumnProfile, *windows: Sequence[int], absent: int = 0) -> list[WindowVerdict]:
    counted = [
        WindowCounts(
            at,
            sum(cells),
            {profile.name: np.array(cells)},
            absent={profile.name: absent} if absent else {},
        )
        for at, cells in enumerate(windows)
    ]
    return list(judge_quality(SPEC, "1", counted, {profile.name: profile}))


def test_a_null_burst_is_broken_and_its_p_value_is_the_binomial_s() -> None:
    from scipy import stats

    (verdict,) = quality_of(text([500, 480, 0], missing=20), [30, 85, 85, 0])
    assert (verdict.status, verdict.columns, verdict.severity) == ("broken", ("region",), "critical")
    assert verdict.reason == "region: 15.0% missing, 2.0% in the reference, over 1 day (n=200)"
    share = (20 + 0.5) / 1001
    exact = 2 * stats.binom.sf(29, 200, share)
    normal = 2 * stats.norm.sf((0.15 - share) / np.sqrt(share * (1 - share) * (1 / 200 + 1 / 1000)))
    assert verdict.figures["p_value"] == pytest.approx(max(exact, normal), rel=1e-6)


def test_fewer_missing_values_than_before_are_told_as_well() -> None:
    (verdict,) = quality_of(text([300, 300, 0], missing=400), [0, 100, 100, 0])
    assert verdict.status == "broken"
    assert verdict.reason.startswith("region: 0.0% missing, 40.0% in the reference")


@pytest.mark.parametrize("missing", [4, 9])
def test_what_is_under_three_points_or_within_chance_is_ok(missing: int) -> None:
    (verdict,) = quality_of(text([500, 480, 0], missing=20), [missing, 95, 105 - missing, 0])
    assert (verdict.status, verdict.columns) == ("ok", ())


def test_categories_that_the_reference_does_not_list_are_broken() -> None:
    (verdict,) = quality_of(text([500, 500, 0]), [0, 80, 80, 40])
    assert verdict.status == "broken"
    assert "20.0% in categories that the reference does not list" in verdict.reason


def test_ten_thousand_new_categories_are_one_verdict() -> None:
    (verdict,) = quality_of(text([500, 500, 0]), [0, 0, 0, 10_000])
    assert verdict.reason.startswith("region: 100.0% in categories")


def test_values_beyond_the_reference_s_range_are_broken() -> None:
    (verdict,) = quality_of(AMOUNT, [0, 10, 80, 80, 30])
    assert verdict.status == "broken"
    assert verdict.reason.startswith("amount: 20.0% outside of the reference's range, 0.0% in the reference")
    assert quality_of(AMOUNT, [0, 1, 95, 95, 1])[0].status == "ok"


def test_a_column_that_was_not_logged_is_broken_however_few_the_rows() -> None:
    (verdict,) = quality_of(text([500, 500, 0]), [3, 0, 0, 0], absent=3)
    assert (verdict.status, verdict.severity) == ("broken", "critical")
    assert verdict.reason.startswith("region: 100.0% logged without the column")


def test_one_row_a_day_is_too_little_until_a_month_is_together() -> None:
    verdicts = quality_of(text([500, 500, 0]), *[[0, 1, 0, 0]] * 31)
    assert [one.status for one in verdicts[:28]] == ["insufficient_data"] * 28
    assert verdicts[0].reason == "1 rows over 28 days, 30 are needed"


def test_a_window_of_nulls_alone_is_broken_where_the_reference_has_values() -> None:
    (verdict,) = quality_of(AMOUNT, [100, 0, 0, 0, 0])
    assert verdict.status == "broken"
    assert verdict.score == pytest.approx(1.0)


def test_an_unimportant_column_is_for_information() -> None:
    window = WindowCounts(0, 200, {"region": np.array([100, 50, 50, 0])})
    profile = {"region": text([500, 500, 0])}
    (verdict,) = judge_quality(SPEC, "1", [window], profile, importances={"region": 0.004})
    assert (verdict.status, verdict.severity) == ("broken", "info")


@pytest.mark.parametrize(("rows", "status"), [(100, "ok"), (598, "ok"), (600, "broken")])
def test_a_small_reference_does_not_know_the_range(rows: int, status: str) -> None:
    """Of each fifth reference of a hundred values more than 3 % of all others are out of range, by chance."""
    profile = replace(AMOUNT, counts=(0, rows // 2, rows // 2, 0))
    (verdict,) = quality_of(profile, [0, 0, 450, 450, 100])
    assert verdict.status == status
