from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import millrace as mr
from millrace.core.errors import InvalidInput
from millrace.pipeline.policy import (
    Attempt,
    Decision,
    Labels,
    Situation,
    Trigger,
    Trouble,
    decide,
    named_policies,
    tick_after,
    tick_before,
)

DAY = timedelta(days=1)
NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)
PROMOTED, TRAINED_TO, BEGAN, UNTIL = NOW - 60 * DAY, NOW - 90 * DAY, NOW - 20 * DAY, NOW - 5 * DAY
POLICY = mr.Retrain(on=("performance", "drift+estimate"), cooldown=14 * DAY, min_new_labels=100)


def counted(per_day: int) -> Callable[[datetime], Labels]:
    """So many labels a day, up to UNTIL."""
    return lambda since: Labels(max((UNTIL - since).days, 0) * per_day, UNTIL)


def situation(*kinds: str, **changes: Any) -> Situation:
    """v3 in production, with an open episode of these kinds; no episode where there is none."""
    given: dict[str, Any] = {
        "champion": "3",
        "champion_at": PROMOTED,
        "trained_to": TRAINED_TO,
        "episodes": [Trouble(7, kinds, BEGAN, "it moved")] if kinds else [],
        "answered": counted(10),
        "trainable": counted(100),
    }
    return Situation(NOW, **given | changes)


def refused(trigger: Trigger, at: datetime, train_to: datetime | None = None) -> Attempt:
    return Attempt(trigger, at, "refused", train_to, "v3 is better")


def test_calm_without_a_policy_a_champion_or_a_cause() -> None:
    assert decide(None, situation("performance")) == Decision("calm", "no retraining policy")
    assert decide(POLICY, Situation(NOW)) == Decision("calm", "nothing in production yet")
    assert decide(POLICY, situation()) == Decision("calm", "no open episode for v3")


def test_a_measured_loss_is_due_when_there_are_labels() -> None:
    found = decide(POLICY, situation("performance"))
    assert found == Decision(
        "due",
        "150 labels of predictions made since 2026-02-28 are known early enough to train on "
        "(training ends 2026-03-15, before the holdout; at least 100 asked for)",
        Trigger(7),
        150,
    )
    few = decide(POLICY, situation("performance", answered=counted(6)))
    assert (few.state, few.labels, few.trigger) == ("waiting", 90, Trigger(7))
    assert few.reason.startswith("90 of 100 labels")


def test_drift_alone_is_no_cause_by_default_and_is_one_where_the_estimate_falls_too() -> None:
    alone = decide(POLICY, situation("drift"))
    assert alone.state == "waiting"
    assert alone.reason == "an episode is open, but there is no verdict of estimate: it moved"
    holding = decide(POLICY, situation("drift", windows={"estimate": [True] + [False] * 7}))
    assert "estimate is bad in 0 of the last 7 windows (1 are asked for)" in holding.reason
    assert decide(POLICY, situation("drift", windows={"estimate": [False] * 6 + [True]})).state == "due"
    assert decide(POLICY, situation("drift", "estimate")).state == "due"


def test_labels_are_counted_since_the_cause_began_whatever_else_is_older() -> None:
    since = {"quality": BEGAN - 30 * DAY, "performance": BEGAN, "drift": BEGAN + 9 * DAY}
    trouble = Trouble(7, tuple(since), BEGAN - 30 * DAY, "it moved", since)
    assert decide(POLICY, situation(episodes=[trouble])).labels == 150
    assert decide(replace(POLICY, on=("drift",)), situation(episodes=[trouble])).labels == 60
    assert decide(replace(POLICY, on=("drift", "performance")), situation(episodes=[trouble])).labels == 150
    # A cause that does not hold by its windows is none.
    calm = {"performance": [False], "drift": [True], "quality": [True]}
    either = replace(POLICY, on=("drift", "performance"))
    assert decide(either, situation(episodes=[trouble], windows=calm)).labels == 60


def test_other_kinds_are_no_cause() -> None:
    found = decide(POLICY, situation("quality"))
    assert found.reason == "an episode is open, of a kind that the policy does not retrain on: it moved"
    assert decide(replace(POLICY, on=("quality",)), situation("quality")).state == "due"


@given(st.lists(st.booleans(), max_size=12), st.integers(1, 5), st.integers(0, 5))
def test_k_of_the_last_n_windows(windows: list[bool], breaches: int, more: int) -> None:
    policy = replace(POLICY, on=("drift",), breaches=breaches, out_of=breaches + more)
    found = decide(policy, situation("drift", windows={"drift": windows}))
    bad = len([one for one in list(reversed(windows))[: breaches + more] if one])
    assert (found.state == "due") == (bad >= breaches)


def test_the_cooldown_is_since_the_promotion_or_a_refusal() -> None:
    found = decide(POLICY, situation("performance", champion_at=NOW - 14 * DAY + DAY / 2))
    assert (found.state, found.until) == ("waiting", NOW + DAY / 2)
    assert found.reason == "v3 was promoted 2026-03-07T00:00:00Z; the cooldown lasts until 2026-03-21T00:00:00Z"
    assert decide(POLICY, situation("performance", champion_at=NOW - 14 * DAY)).state == "due"
    earlier = [refused(Trigger(2), NOW - 3 * DAY)]
    found = decide(POLICY, situation("performance", attempts=earlier))
    assert (found.state, found.until) == ("waiting", NOW + 11 * DAY)
    assert found.reason.startswith("the retraining for episode 2 was refused: v3 is better; ")
    assert (
        "the retraining for episode 2 began 2026-03-17T12:00:00Z; the cooldown lasts until 2026-03-31" in found.reason
    )


def test_the_budget_is_of_the_calendar_month_and_refused_ones_count() -> None:
    policy = replace(POLICY, cooldown=timedelta(0), per_month=2)
    march, february = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 2, 28, 23, 59, tzinfo=UTC)
    used = [Attempt(Trigger(4), march, "promoted"), refused(Trigger(5), NOW - DAY)]
    found = decide(policy, situation("performance", attempts=used))
    assert (found.state, found.until) == ("waiting", datetime(2026, 4, 1, tzinfo=UTC))
    assert "2 of 2 retrainings of March 2026 are used; the next can come 2026-04-01T00:00:00Z" in found.reason
    before = [Attempt(Trigger(4), february, "promoted"), used[1]]
    assert decide(policy, situation("performance", attempts=before)).state == "due"


def test_what_is_waited_for_is_said_all_at_once() -> None:
    policy = replace(POLICY, per_month=1)
    attempts = [refused(Trigger(5), NOW - DAY)]
    found = decide(policy, situation("performance", attempts=attempts, answered=counted(1)))
    for part in ("the cooldown lasts until", "1 of 1 retrainings of March 2026", "15 of 100 labels"):
        assert part in found.reason
    assert found.until == datetime(2026, 4, 2, 12, tzinfo=UTC)


def test_a_refused_retraining_is_tried_again_only_with_new_labels() -> None:
    trained_to = UNTIL - 9 * DAY
    earlier = [refused(Trigger(7), NOW - 15 * DAY, trained_to)]
    found = decide(POLICY, situation("performance", attempts=earlier))
    assert (found.state, found.labels, found.trigger) == ("waiting", 90, Trigger(7, attempt=2))
    told = (
        "the retraining for episode 7 was refused: v3 is better; 90 of 100 labels since the refused attempt's training"
    )
    assert found.reason.startswith(told)
    # Another episode about the same champion is no new cause: the same labels would make the same model.
    other = [Trouble(8, ("performance",), BEGAN, "it moved")]
    assert decide(POLICY, situation(episodes=other, attempts=earlier)).labels == 90
    # What an older champion was challenged with does not matter.
    assert decide(POLICY, situation("performance", attempts=earlier, champion_at=NOW - 14 * DAY)).state == "due"
    again = decide(POLICY, situation("performance", attempts=earlier, answered=counted(12)))
    assert (again.state, again.labels, str(again.trigger)) == ("due", 108, "episode 7 attempt 2")
    # Even where no number is asked for: with the same labels it would be the same model.
    none = replace(POLICY, min_new_labels=0)
    assert decide(none, situation("performance", attempts=[refused(Trigger(7), NOW - 15 * DAY, UNTIL)])).labels == 0
    assert decide(none, situation("performance", attempts=[refused(Trigger(7), NOW - 15 * DAY, UNTIL)])).state != "due"


def test_one_that_is_under_way_goes_on_whatever_is_asked_for_now() -> None:
    under_way = Attempt(Trigger(7), NOW - DAY, "under_way", UNTIL, why="120 of 100 labels")
    for now in (situation(attempts=[under_way]), situation("performance", attempts=[under_way], champion_at=NOW)):
        found = decide(POLICY, now)
        assert (found.state, found.trigger) == ("due", Trigger(7))
        assert (found.reason, found.began) == ("the retraining for episode 7 goes on", "120 of 100 labels")


def test_an_episode_has_one_retraining() -> None:
    done = [Attempt(Trigger(7), NOW - 20 * DAY, "promoted")]
    assert decide(POLICY, situation("performance", attempts=done)) == Decision(
        "calm", "episode 7 has had its retraining"
    )


def test_by_the_estimate_it_does_not_wait_for_labels_of_the_changed_time() -> None:
    policy = replace(POLICY, labels="estimate")
    none = {"answered": counted(0), "windows": {"estimate": [True]}}
    assert decide(POLICY, situation("drift", **none)).state == "waiting"
    found = decide(policy, situation("drift", **none))
    assert (found.state, found.labels) == ("due", 8500)
    assert found.reason.startswith("8,500 labels since the champion's training (2025-12-20) are known")
    # Where the estimate holds it waits as usual.
    held = situation("performance", answered=counted(0), windows={"estimate": [False], "performance": [True]})
    assert decide(policy, held).state == "waiting"


def test_labels_that_can_not_be_counted_are_said() -> None:
    found = decide(POLICY, situation("performance", answered=lambda _: Labels(lacking="there is no table x yet")))
    assert found == Decision("waiting", "there is no table x yet", Trigger(7))


def test_a_schedule_has_one_retraining_per_tick() -> None:
    policy = replace(named_policies(POLICY)["monthly"], min_new_labels=1)
    tick = datetime(2026, 3, 1, tzinfo=UTC)
    found = decide(policy, situation())
    assert (found.state, found.trigger, str(found.trigger)) == ("due", Trigger(tick=tick), "tick 2026-03-01T00:00:00Z")
    tried = decide(policy, situation(attempts=[refused(Trigger(tick=tick), tick)]))
    assert tried.state == "calm"
    assert tried.reason.endswith("the next scheduled retraining is 2026-04-01T00:00:00Z")
    assert decide(policy, situation(champion_at=tick)).state == "calm"
    nothing_new = decide(policy, situation(trainable=counted(0)))
    assert (nothing_new.state, nothing_new.labels) == ("waiting", 0)


def test_an_episode_counts_beside_a_schedule() -> None:
    policy = replace(POLICY, every=7 * DAY)
    assert decide(policy, situation("performance")).trigger == Trigger(7)
    few = decide(policy, situation("performance", answered=counted(0)))
    assert few.trigger == Trigger(tick=datetime(2026, 3, 16, tzinfo=UTC))
    assert decide(policy, situation("performance", answered=counted(0), trainable=counted(0))).trigger == Trigger(7)


@pytest.mark.parametrize("every", ["month", 7 * DAY, 30 * DAY, timedelta(hours=5)])
@given(at=st.datetimes(datetime(1999, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_ticks_follow_one_another(every: Any, at: datetime) -> None:
    before, after = tick_before(every, at), tick_after(every, at)
    assert before <= at < after
    assert tick_before(every, before) == before
    assert tick_before(every, after) == after
    assert tick_before(every, after - timedelta(microseconds=1)) == before
    assert tick_after(every, before) == after


def test_the_named_policies_keep_what_they_do_not_say() -> None:
    own = mr.Retrain(min_new_labels=7, cooldown=3 * DAY, per_month=4, labels="estimate", every="month")
    named = named_policies(own)
    assert list(named) == ["never", "monthly", "drift", "loss", "estimate"]
    assert {policy.per_month for policy in named.values()} == {4}
    assert (named["drift"].min_new_labels, named["drift"].cooldown, named["drift"].every) == (7, 3 * DAY, None)
    assert decide(named["never"], situation("drift", "performance", "estimate")).state == "waiting"
    assert decide(named["drift"], situation("drift")).state == "due"
    assert decide(named["loss"], situation("drift")).state == "waiting"
    assert decide(named["loss"], situation("performance")).state == "due"
    assert decide(named["estimate"], situation("estimate", answered=counted(0))).state == "due"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"on": ("drfit",)}, "'drfit' is no kind of verdict"),
        ({"on": "drift"}, "on is the text 'drift'"),
        ({"on": ("drift+",)}, "'' is no kind of verdict"),
        ({"breaches": 0}, "0 of 7 windows"),
        ({"breaches": 4, "out_of": 3}, "4 of 3 windows"),
        ({"labels": "late"}, "labels is 'late'"),
        ({"every": "week"}, "every is 'week'"),
        ({"every": timedelta(0)}, "every is not positive"),
        ({"cooldown": -DAY}, "negative"),
        ({"min_new_labels": -1}, "negative"),
        ({"per_month": -1}, "negative"),
    ],
)
def test_what_can_not_be_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        mr.Retrain(**wrong)
