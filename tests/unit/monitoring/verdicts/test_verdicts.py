from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from millrace.core.errors import InvalidInput
from millrace.monitoring.counts.sums import LossSums
from millrace.monitoring.counts.window_counts import WindowCounts
from millrace.monitoring.observe import observe
from millrace.monitoring.reference.column import ColumnProfile
from millrace.monitoring.reference.profile import LossProfile, ReferenceProfile
from millrace.monitoring.types import MonitorSpec, WindowVerdict
from millrace.monitoring.verdicts.drift import judge_drift
from millrace.monitoring.verdicts.loss_change import judge_loss
from millrace.monitoring.windows import Granularity

SPEC = MonitorSpec("logs.p", "metrics")
_LOSS = LossProfile("log_loss", rows=10_000, mean=0.5, sd=0.4, mean_sd=0.004)


def column(counts: Sequence[int], missing: int = 0) -> ColumnProfile:
    return ColumnProfile(
        "region", "text", (), tuple("abcdefgh"[: len(counts) - 1]), tuple(counts), missing, 0, 0, None, None, None, None
    )


def drift_of(profile: ColumnProfile, *windows: Sequence[int] | None) -> list[WindowVerdict]:
    counted = [
        WindowCounts(number, sum(cells), LossSums(), {"region": np.array(cells)})
        for number, cells in enumerate(windows)
        if cells is not None
    ]
    return list(judge_drift(SPEC, "1", counted, {"region": profile}))


def performance_of(*windows: tuple[int, int, float], loss: LossProfile | None = _LOSS) -> list[WindowVerdict]:
    """Windows as (rows, labelled, mean loss), with a standard deviation of 0.4."""
    counted = [
        WindowCounts(at, rows, LossSums(labelled, labelled * mean, labelled * (mean**2 + 0.16)))
        for at, (rows, labelled, mean) in enumerate(windows)
    ]
    return list(judge_loss(SPEC, "1", counted, loss))


def test_a_shift_is_drift_and_its_reason_has_the_figures() -> None:
    (verdict,) = drift_of(column([500, 500, 0]), [0, 180, 20, 0])
    assert (verdict.status, verdict.columns, verdict.figures["rows"]) == ("drift", ("region",), 200)
    assert verdict.figures["distance"] == pytest.approx(0.4)
    # Total variation between fair coins of 200 and 1000: sqrt(2 / pi) * 2 * sqrt(1/4) * sqrt(1/200 + 1/1000) / 2.
    chance = math.sqrt(2 / math.pi) * math.sqrt(1 / 200 + 1 / 1000) / 2
    assert verdict.score == pytest.approx(0.4 - chance)
    assert verdict.reason == f"region: TV 0.40 over 1 day (n=200), limit {0.1 + chance:.2f}"
    assert verdict.figures["p_value"] < 1e-10


def test_the_reference_s_own_shares_are_no_drift() -> None:
    (verdict,) = drift_of(column([500, 500, 0]), [0, 103, 97, 0])
    assert (verdict.status, verdict.columns, verdict.score) == ("ok", (), 0.0)
    assert verdict.reason.startswith(
        "no drift; the largest distance is region: TV 0.02 over 7 days (n=200), limit 0.13"
    )


def test_too_few_rows_say_nothing_until_windows_add_up() -> None:
    first, second, third = drift_of(column([500, 500, 0]), [0, 0, 12, 0], [0, 0, 12, 0], [0, 0, 12, 0])
    assert [first.status, second.status, third.status] == ["insufficient_data", "insufficient_data", "drift"]
    assert first.reason == "12 rows over 28 days, 30 are needed"
    assert first.score is None
    assert third.figures["windows"] == 7


def test_windows_without_rows_are_gaps_not_neighbours() -> None:
    windows: list[Sequence[int] | None] = [[0, 0, 20, 0], *[None] * 6, [0, 0, 20, 0]]
    last = drift_of(column([500, 500, 0]), *windows)[-1]
    assert (last.status, last.figures["windows"], last.figures["rows"]) == ("drift", 28, 40)


def test_values_that_go_missing_are_drift_by_themselves() -> None:
    (verdict,) = drift_of(column([500, 480, 0], missing=20), [30, 85, 85, 0])
    assert (verdict.status, verdict.columns) == ("drift", ("region",))
    assert verdict.reason == "region: 15.0% missing over 1 day (n=200), 2.0% in the reference"
    (fewer,) = drift_of(column([300, 300, 0], missing=400), [0, 100, 100, 0])
    assert fewer.status == "drift"
    assert fewer.reason.startswith("region: 0.0% missing")
    (small,) = drift_of(column([500, 480, 0], missing=20), [9, 95, 96, 0])  # under the floor of 3 points
    assert small.status == "ok"


def test_a_column_that_the_reference_never_had_is_judged_on_missing_values_only() -> None:
    (verdict,) = drift_of(column([0], missing=1000), [0, 50])
    assert (verdict.status, verdict.reason[:30]) == ("drift", "region: 0.0% missing over 1 day"[:30])


def test_a_lower_budget_asks_for_a_stronger_case() -> None:
    counted = [WindowCounts(0, 60, LossSums(), {"region": np.array([0, 12, 48, 0])})]
    many = judge_drift(
        MonitorSpec("l.p", "m", false_alarms_per_year=100.0), "1", counted, {"region": column([500, 500, 0])}
    )
    few = judge_drift(
        MonitorSpec("l.p", "m", false_alarms_per_year=0.01), "1", counted, {"region": column([500, 500, 0])}
    )
    assert [many[0].status, few[0].status] == ["drift", "ok"]


@pytest.mark.parametrize(
    "change", [{"false_alarms_per_year": 0.0}, {"effect_floor": 0.0}, {"effect_floor": 1.5}, {"label_coverage": 0.0}]
)
def test_impossible_specs_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(InvalidInput):
        MonitorSpec("logs.p", "metrics", **change)  # type: ignore[arg-type]


def test_a_worse_loss_is_degraded_with_the_test_s_figures() -> None:
    (verdict,) = performance_of((200, 200, 0.65))
    z = (0.65 - 0.5) / math.sqrt(0.16 / 200 + 0.004**2)
    assert verdict.status == "degraded"
    assert verdict.score == pytest.approx(0.3)
    assert verdict.figures["p_value"] == pytest.approx(math.erfc(z / math.sqrt(2)) / 2)
    assert verdict.reason == f"log-loss 0.650 over 1 day (n=200), 0.500 in the reference: +30.0%, z {z:.1f}"


@pytest.mark.parametrize("mean", [0.35, 0.5, 0.54])
def test_a_loss_that_is_better_or_within_chance_is_ok(mean: float) -> None:
    assert [verdict.status for verdict in performance_of((200, 200, mean))] == ["ok"]


def test_a_sure_but_small_change_is_no_degradation() -> None:
    assert (
        performance_of((10**7, 10**7, 0.51), loss=LossProfile("log_loss", 10**7, 0.5, 0.4, 0.4 / 10**3.5))[0].status
        == "ok"
    )


def test_weeks_that_differ_in_the_reference_make_the_test_milder() -> None:
    varied = LossProfile("log_loss", 10_000, 0.5, 0.4, 0.004, between_sd=0.08)
    assert performance_of((200, 200, 0.65), loss=varied)[0].status == "ok"


def test_small_windows_add_up_and_immature_ones_wait() -> None:
    verdicts = performance_of((25, 25, 0.9), (25, 25, 0.9), (100, 20, 0.9), (25, 0, 0.0))
    assert [verdict.status for verdict in verdicts] == ["insufficient_data", "degraded", "insufficient_data"]
    assert verdicts[1].figures["rows"] == 50
    assert verdicts[2].reason == "20 of 100 rows have labels: too few to judge, 30 are needed"


def test_without_a_reference_loss_there_is_no_verdict() -> None:
    assert performance_of((100, 100, 0.9), loss=None) == []


def test_verdicts_become_observations() -> None:
    start = Granularity.parse("1 day").start(0)
    verdicts = [
        *drift_of(column([500, 500, 0]), [0, 180, 20, 0], [0, 5, 5, 0]),
        *performance_of((200, 200, 0.5), (9, 9, 1.0)),
    ]
    seen = observe(verdicts, "churn")
    # The second windows follow 200 rows each: seven days of them still say something.
    assert [(one["kind"], one["bad"]) for one in seen] == [
        ("drift", True),
        ("drift", True),
        ("performance", False),
        ("performance", False),
    ]
    assert seen[0]["at"] == start + timedelta(days=1) == datetime(1970, 1, 2, tzinfo=UTC)
    assert (seen[0]["subject"], seen[0]["data"]["columns"]) == ("churn", ["region"])
    assert observe(drift_of(column([500, 500, 0]), [0, 5, 5, 0]), "churn")[0]["bad"] is None
    assert observe(verdicts, "churn", "2") == []


def test_a_column_with_its_own_ups_and_downs_needs_a_larger_distance() -> None:
    rng = np.random.default_rng(4)
    weeks = np.repeat(np.arange(12), 500)
    times = pa.array(
        [datetime(2025, 1, 6, tzinfo=UTC) + timedelta(weeks=int(week)) for week in weeks], pa.timestamp("us", "UTC")
    )
    table = pa.table({"calm": rng.normal(size=6000), "wild": rng.normal(size=6000) + rng.normal(0, 0.5, 12)[weeks]})
    calm, wild = ReferenceProfile.build(table, timestamps=times).columns
    moved = pa.table({"calm": rng.normal(0.6, 1, 300), "wild": rng.normal(0.6, 1, 300)})
    counted = {
        profile.name: np.bincount(profile.cells_of(moved.column(profile.name)) + 1, minlength=len(profile.counts) + 1)
        for profile in (calm, wild)
    }
    (verdict,) = judge_drift(SPEC, "1", [WindowCounts(0, 300, LossSums(), counted)], {"calm": calm, "wild": wild})
    assert (verdict.status, verdict.columns) == ("drift", ("calm",))
