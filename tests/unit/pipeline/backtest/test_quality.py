from __future__ import annotations

import math
from datetime import datetime
from math import log

import numpy as np
import pytest

import millrace as mr
from millrace.pipeline.backtest.alarms import judge_alarms
from millrace.pipeline.backtest.quality import Measured, loss_kind, row_loss
from millrace.pipeline.backtest.types import Alert, Policy
from tests.unit.pipeline.backtest.scenes import NEVER, ask, at, run, scene

NAN = math.nan
MONTHLY = Policy("monthly", mr.Retrain(on=(), every="month"))
# Twelve weeks with 50 keys each, every second one 1; of the last two weeks no label is known.
SCENE = scene(range(12), [[float(key % 2) for key in range(50)]] * 10 + [[NAN] * 50] * 2)


def scores_of(trained: datetime) -> np.ndarray:
    """The model of week 0 is right with 0.6, that of week 4 with 0.8, any other with 0.5."""
    sure = {at(0): 0.6, at(4): 0.8}.get(trained, 0.5)
    return np.where(np.arange(600) % 2 == 1, sure, 1 - sure)


def measured(*policies: Policy) -> Measured:
    return Measured(SCENE, ask(11, *policies), scores_of, "log_loss", seed=0)


def test_each_step_has_the_loss_of_the_version_that_answered_it() -> None:
    found = measured().stretches(run(MONTHLY, {0: 1, 4: 2}, 11))
    assert [each.version for each in found[:5]] == [1, 1, 1, 1, 2]
    assert [each.rows for each in found] == [50] * 12
    assert found[3].loss == pytest.approx(-log(0.6))
    assert found[4].loss == pytest.approx(-log(0.8))


def test_where_no_label_is_known_there_is_no_loss() -> None:
    found = measured().stretches(run(NEVER, {0: 1}, 11))
    assert [each.labelled for each in found[-3:]] == [50, 0, 0]
    assert [each.loss for each in found[-2:]] == [None, None]


def test_before_the_first_version_nobody_is_answered() -> None:
    found = measured().stretches(run(NEVER, {2: 1}, 11))
    assert [(each.version, each.labelled) for each in found[:3]] == [(None, 0), (None, 0), (1, 50)]


def test_two_policies_are_compared_where_different_models_answered() -> None:
    one, other = run(NEVER, {0: 1}, 11), run(MONTHLY, {0: 1, 4: 2}, 11)
    difference = measured(NEVER, MONTHLY).difference(one, other)
    assert difference.rows == 6 * 50
    assert difference.value == pytest.approx(log(0.8) - log(0.6))
    assert difference.interval.low == pytest.approx(difference.value)
    back = measured(NEVER, MONTHLY).difference(other, one)
    assert back.value == pytest.approx(-difference.value)


def test_policies_with_the_same_models_do_not_differ() -> None:
    difference = measured().difference(run(NEVER, {0: 1, 4: 2}, 11), run(MONTHLY, {0: 1, 4: 2}, 11))
    assert difference.rows == 0


def test_a_retraining_is_measured_against_going_on_with_the_model_before() -> None:
    (gain,) = measured().gains(run(MONTHLY, {0: 1, 4: 2}, 11))
    assert (gain.at, gain.version, gain.labelled) == (at(4), 2, 300)
    assert gain.mean.value == pytest.approx(log(0.8) - log(0.6))


def test_a_retraining_of_the_end_has_no_gain_yet() -> None:
    (gain,) = measured().gains(run(MONTHLY, {0: 1, 10: 2}, 11))
    assert gain.labelled == 0
    assert math.isnan(gain.mean.value)


def test_the_loss_is_that_of_the_metric_where_it_has_one() -> None:
    labels, scores = np.array([0.0, 1.0]), np.array([0.2, 0.4])
    assert row_loss("log_loss", labels, scores).tolist() == pytest.approx([-log(0.8), -log(0.4)])
    assert row_loss("brier", labels, scores).tolist() == pytest.approx([0.04, 0.36])
    assert row_loss("accuracy", labels, scores).tolist() == [0.0, 1.0]
    assert [loss_kind(name) for name in ("brier", "roc_auc", "f1", "log_loss")] == ["brier", *["log_loss"] * 3]


def alarm_of(began: int, holdout: float, *, closed: int | None = None, changes: tuple[datetime, ...] = ()) -> Alert:
    """What an alarm about the first version, which began in a week, turned out to be, if its holdout's losses were such."""
    alert = Alert(1, 1, "drift", at(began), at(began + 1), None if closed is None else at(closed), "moved")
    told = run(NEVER, {0: 1}, 11, alerts=(alert,))
    losses = {at(0): holdout + np.tile([0.01, -0.01], 250)}
    (found,) = judge_alarms(told, measured(), ask(11, changes=changes), losses)
    return found


def test_an_alarm_is_true_where_the_loss_was_higher_afterwards() -> None:
    found = alarm_of(3, holdout=-log(0.7))
    assert found.alarm == "true"
    assert "+43.2%" in found.why  # ln 0.6 over ln 0.7


def test_an_alarm_is_false_where_it_was_not() -> None:
    assert alarm_of(3, holdout=-log(0.6)).alarm == "false"
    assert alarm_of(3, holdout=-log(0.5)).alarm == "false"


def test_two_per_cent_more_are_no_trouble() -> None:
    assert alarm_of(3, holdout=-log(0.6) / 1.02).alarm == "false"


def test_of_a_time_without_labels_nobody_can_tell() -> None:
    found = alarm_of(11, holdout=-log(0.7))
    assert (found.alarm, found.why) == ("unknown", "0 labels of that time are known")


def test_after_a_change_that_somebody_named_no_alarm_is_false() -> None:
    assert alarm_of(3, holdout=-log(0.5), changes=(at(2),)).alarm == "true"
    assert alarm_of(3, holdout=-log(0.5), changes=(at(5),)).alarm == "false"  # later than the alarm
    assert (
        alarm_of(3, holdout=-log(0.5), changes=(at(-2),)).alarm == "false"
    )  # the version had been judged on rows after it
