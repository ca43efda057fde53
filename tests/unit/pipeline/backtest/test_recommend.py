from __future__ import annotations

import math

from millrace.pipeline.backtest.recommend import Contender, Recommendation, recommend, told
from millrace.statistics.bootstrap import Interval
from millrace.statistics.two_way import Mean

NEVER, MONTHLY, DRIFT = (
    Contender("never", 0.50, 0, 0),
    Contender("monthly", 0.40, 12, 12_000),
    Contender("drift", 0.41, 2, 2_000),
)


def mean(value: float, low: float, high: float, blocks: int = 8) -> Mean:
    return Mean(value, Interval(low, high, 0.95), 100, blocks)


def advice(never: Mean, drift: Mean) -> Recommendation:
    """With these differences to monthly, which has the lowest loss."""
    differences = {("never", "monthly"): never, ("drift", "monthly"): drift}
    differences |= {
        (b, a): Mean(-m.value, Interval(-m.interval.high, -m.interval.low, 0.95), 100, m.blocks)
        for (a, b), m in differences.items()
    }
    differences |= {("never", "drift"): never, ("drift", "never"): mean(-0.01, -0.02, 0.01)}
    return recommend([NEVER, MONTHLY, DRIFT], differences)


def test_the_cheapest_of_those_that_can_not_be_told_from_the_best() -> None:
    found = advice(never=mean(0.10, 0.05, 0.15), drift=mean(0.01, -0.01, 0.03))
    assert (found.policy, found.told_apart) == ("drift", True)
    assert "drift costs less (2 retrainings) and can't be told from monthly (12 retrainings)" in found.reason
    assert "never is worse: +0.1000 (95 % interval +0.0500 to +0.1500)" in found.reason


def test_the_best_where_all_others_are_worse() -> None:
    found = advice(never=mean(0.10, 0.05, 0.15), drift=mean(0.02, 0.01, 0.03))
    assert (found.policy, found.told_apart) == ("monthly", True)


def test_those_that_served_the_same_are_told_at_once() -> None:
    by = mean(0.10, 0.05, 0.15)
    found = advice(never=by, drift=by)
    assert found.reason == "monthly has the lowest loss, 0.4000; never and drift are worse: " + told(by)


def test_never_where_the_history_can_not_tell() -> None:
    found = advice(never=mean(0.02, -0.05, 0.15), drift=mean(0.01, -0.01, 0.03))
    assert (found.policy, found.told_apart) == ("never", False)
    assert found.reason.startswith("this history can't tell the policies apart, and never is the cheapest")


def test_a_few_blocks_of_time_tell_nothing_apart() -> None:
    found = advice(never=mean(0.10, 0.05, 0.15, blocks=5), drift=mean(0.01, 0.005, 0.03, blocks=5))
    assert (found.policy, found.told_apart) == ("never", False)


def test_without_labels_nothing_speaks_for_a_training() -> None:
    unknown = [Contender(one.name, math.nan, one.trainings, one.rows) for one in (MONTHLY, NEVER)]
    found = recommend(unknown, {})
    assert found.policy == "never"
    assert "no label of the time is known" in found.reason


def test_one_policy_is_recommended_for_want_of_others() -> None:
    assert recommend([DRIFT], {}) == Recommendation("drift", "nothing else was tried", False)


def test_a_difference_is_told_with_what_it_rests_on() -> None:
    assert (
        told(mean(0.01, -0.01, 0.03, blocks=4))
        == "+0.0100 (95 % interval -0.0100 to +0.0300, over 4 blocks of time only)"
    )
    assert told(Mean(0.01, Interval(math.nan, math.nan, 0.95), 5, 1)) == "+0.0100, over too short a time to tell"
    assert "same models" in told(Mean(math.nan, Interval(math.nan, math.nan, 0.95), 0, 0))
