"""The loop by hand: verdicts, labels and trainings are made up, the decisions are not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import millrace as mr
from millrace.pipeline.backtest.replay import Replay
from millrace.pipeline.backtest.types import Model, Policy, Run, Scene
from millrace.pipeline.backtest.watched import Known
from tests.unit.pipeline.backtest.scenes import NEVER, WEEK, Trainer, at, declared, scene, verdict

WEEKS = 30
FULL = scene(range(WEEKS), [[0.0, 1.0, 0.0]] * WEEKS)
ON_DRIFT = Policy("drift", mr.Retrain(on=("drift",), cooldown=2 * WEEK, min_new_labels=4))


def replay(
    policy: Policy,
    verdicts: Sequence[Known] = (),
    trainer: Trainer | None = None,
    weeks: int = WEEKS,
    shown: Scene = FULL,
    **declaration: Any,
) -> Run:
    def watch(model: Model) -> Sequence[Known]:
        return sorted((one for one in verdicts if one.verdict.start >= model.at), key=lambda one: one.at)

    lived = Replay(declared(**declaration), shown, trainer or Trainer(), watch, policy)
    for week in range(weeks):
        lived.live(at(week))
    return lived.run()


def promoted(run: Run) -> list[int]:
    return [(attempt.at - at(0)) // WEEK for attempt in run.attempts if attempt.version is not None]


def test_without_a_policy_the_first_model_serves_to_the_end() -> None:
    found = replay(NEVER, [verdict(week, "drift") for week in range(3, 20)])
    assert promoted(found) == [0]
    assert {day.version for day in found.days} == {1}
    assert [(alert.kind, alert.opened_at, alert.closed_at) for alert in found.alerts] == [("drift", at(3), None)]


def test_drift_leads_to_a_retraining_once_enough_labels_of_it_can_be_trained_on() -> None:
    found = replay(ON_DRIFT, [verdict(week, "drift") for week in range(5, 30)])
    # The episode began at week 5. At week w the newest known label is of week w - 3, the holdout is that week alone, and training
    # ends 3 weeks before it: at w - 6. Three answers a week: 4 of them, of weeks 6 and 7, are there at week 13.
    assert promoted(found)[:2] == [0, 13]
    assert "6 labels of predictions" in found.attempts[1].why
    assert found.alerts[0].closed_at == at(13)
    waiting = [day for day in found.days if day.state == "waiting"]
    assert waiting[0].at == at(5)


def test_the_version_that_replaced_it_starts_with_a_clean_slate() -> None:
    found = replay(ON_DRIFT, [verdict(week, "drift" if week < 14 else "ok") for week in range(5, 30)])
    assert promoted(found) == [0, 13]
    assert [alert.version for alert in found.alerts] == [1]


def test_what_is_explained_is_no_alarm() -> None:
    found = replay(ON_DRIFT, [verdict(week, "explained") for week in range(1, 30)])
    assert promoted(found) == [0]
    assert found.alerts == ()


def test_what_is_only_info_is_no_alarm() -> None:
    found = replay(ON_DRIFT, [verdict(week, "drift", severity="info") for week in range(1, 30)])
    assert promoted(found) == [0]
    assert found.alerts == ()


def test_a_verdict_counts_when_it_could_be_known() -> None:
    on_loss = Policy("loss", mr.Retrain(on=("performance",), cooldown=WEEK, min_new_labels=0))
    found = replay(on_loss, [verdict(4, "degraded", "performance", known=7)])
    assert promoted(found) == [0, 7]
    assert found.alerts[0].opened_at == at(7)
    assert found.alerts[0].began_at == at(4)


def test_a_refused_retraining_is_a_result_and_is_not_tried_again_without_new_labels() -> None:
    trainer = Trainer(refused={at(week): "no better" for week in range(1, 30)})
    found = replay(ON_DRIFT, [verdict(week, "drift") for week in range(5, 30)], trainer)
    refused = [attempt for attempt in found.attempts if attempt.refused]
    assert promoted(found) == [0]
    assert refused[0].at == at(13)
    assert all(later.at - sooner.at >= 2 * WEEK for sooner, later in pairwise(refused))
    assert {day.version for day in found.days} == {1}


def test_each_training_meets_the_champion_of_its_day() -> None:
    monthly = Policy("monthly", mr.Retrain(on=(), every="month", cooldown=timedelta(0), min_new_labels=0))
    trainer = Trainer()
    found = replay(monthly, trainer=trainer)
    # The Mondays on or after the first of February to July, from the 6th of January on.
    assert promoted(found) == [0, 4, 8, 13, 17, 21, 26]
    assert trainer.asked == [(at(week), None if not before else at(before[-1])) for week, before in _with_before(found)]


def _with_before(found: Run) -> list[tuple[int, list[int]]]:
    weeks = promoted(found)
    return [(week, weeks[:place] if place else []) for place, week in enumerate(weeks)]


def test_before_anything_can_be_trained_nothing_serves() -> None:
    found = replay(NEVER, trainer=Trainer(impossible=frozenset({at(0), at(1)}), refused={at(2): "worse than guessing"}))
    assert [day.version for day in found.days[:4]] == [None, None, None, 1]
    assert [(attempt.at, attempt.version) for attempt in found.attempts] == [(at(2), None), (at(3), 1)]


@pytest.mark.parametrize("seed", range(20))
def test_no_day_sees_what_became_known_after_it(seed: int) -> None:
    """The law of a backtest: other verdicts and labels after a time change nothing before it."""
    rng = np.random.default_rng(seed)
    day = int(rng.integers(8, 25))
    past = [verdict(week, str(rng.choice(["ok", "drift"]))) for week in range(1, day + 1)]
    futures = [
        [verdict(week, str(rng.choice(["ok", "drift", "explained"]))) for week in range(day + 1, 30)] for _ in range(2)
    ]
    runs = []
    for future in futures:
        labels = [
            [0.0, 1.0, 0.0] if week + 3 <= day else [[0.0], [1.0, 1.0], [float("nan")]][rng.integers(3)]
            for week in range(WEEKS)
        ]
        runs.append(replay(ON_DRIFT, past + future, shown=scene(range(WEEKS), labels)))
    one, other = ([each for each in run.days if each.at <= at(day)] for run in runs)
    assert one == other
    assert [a for a in runs[0].attempts if a.at <= at(day)] == [a for a in runs[1].attempts if a.at <= at(day)]


def test_a_policy_on_what_the_pipeline_raises_no_alarm_about_is_heard_all_the_same() -> None:
    found = replay(
        ON_DRIFT,
        [verdict(week, "drift") for week in range(5, 30)],
        alerts=mr.Alert(on=("performance",), breaches=1, out_of=1),
    )
    assert 13 in promoted(found)
