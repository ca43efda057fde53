from __future__ import annotations

import itertools
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.automl import final
from millrace.automl.final import Judged, greedy
from millrace.automl.folder import SearchFolder
from millrace.automl.model import parts_of
from millrace.automl.types import Final, Member, Preparation, Problem, SplitKind, SplitPlan, Trial
from millrace.automl.workers.fit import write_whole

PROBLEM = Problem("regression", "y", "rmse", higher_is_better=False)
PLAN = SplitPlan("random", 5)


def judged(truth: np.ndarray, *said: np.ndarray) -> Judged:
    errors = [float(np.sqrt(((each - truth) ** 2).mean())) for each in said]
    trials = [
        Trial(number, "linear", "x.Y", {}, Preparation(), "done", fold_scores={0: error}, score=error)
        for number, error in enumerate(errors)
    ]
    board = sorted(trials, key=lambda trial: trial.score)
    return Judged(PROBLEM, board, dict(enumerate(said)), truth, None)


def choose(found: Judged, plan: SplitPlan, *, low_latency: bool = False, blend: bool = True) -> Final:
    return final.choose(found.trials, plan, low_latency=low_latency, blend=blend, judged=lambda: found)


@given(st.integers(0, 2**32 - 1))
def test_a_mix_scores_at_least_as_well_as_the_best_on_the_rows_that_choose_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=60)
    found = judged(truth, *(truth + rng.normal(size=60) * rng.uniform(0.5, 2) for _ in range(4)))
    weights = greedy(found, np.arange(60))
    assert sum(weights.values()) == pytest.approx(1.0)
    assert found.score(weights) <= found.trials[0].score + 1e-12


def cancelling() -> Judged:
    """Two trials whose errors cancel."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=400)
    error, other = rng.normal(size=400), rng.normal(size=400) * 0.1
    return judged(truth, truth + error, truth - error + other)


def test_models_whose_errors_cancel_are_blended() -> None:
    chosen = choose(cancelling(), PLAN)
    assert chosen.kind == "blend"
    assert {member.trial for member in chosen.members} == {0, 1}
    assert [member.weight for member in chosen.members] == pytest.approx([0.5, 0.5])


@pytest.mark.parametrize("kind", ["time", "column"])
def test_models_of_folds_that_have_not_seen_the_newest_are_neither_blended_nor_bagged(kind: SplitKind) -> None:
    found = cancelling()
    chosen = choose(found, SplitPlan(kind, 5, column="t"))
    assert (chosen.kind, [member.trial for member in chosen.members]) == ("refit", [found.trials[0].number])


def test_without_a_refit_in_time_the_model_is_that_of_the_last_fold(tmp_path: Path) -> None:
    folder = SearchFolder(tmp_path)
    for fold in range(4):
        write_whole(folder.model(0, fold), f"fold {fold}")
    bag = Final("bag", (Member(0, 1.0),), 0.5, "there was no time")
    named = [name for name, _, _ in parts_of(bag, SplitPlan("time", 5, column="t"), folder)]
    assert named == ["trial_0_fold_3"]
    assert len(parts_of(bag, PLAN, folder)) == 4


def test_a_blend_is_looked_for_as_long_as_there_is_time() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 100, 10_000)
    said = {}
    for number in range(12):
        shares = rng.random((10_000, 100))
        shares[np.arange(10_000), truth] += 0.2
        said[number] = shares / shares.sum(axis=1, keepdims=True)
    problem = Problem("classification", "y", "roc_auc", higher_is_better=True, classes=tuple(range(100)))
    trials = [Trial(number, "linear", "x.Y", {}, Preparation(), "done", score=0.6) for number in said]
    found = Judged(problem, trials, said, truth, None, end=time.monotonic() + 0.5)  # all of it would take a minute
    chosen = choose(found, PLAN)
    assert (chosen.kind, [member.trial for member in chosen.members]) == ("bag", [0])
    assert chosen.why.endswith("; there was no time to look for a blend")


def test_the_single_trial_is_taken_at_whichever_score_the_time_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    found = replace(cancelling(), end=0.5)
    looks = itertools.count()
    monkeypatch.setattr(final, "time", SimpleNamespace(monotonic=lambda: next(looks) * 0.0))
    assert choose(found, PLAN).kind == "blend"
    for last in range(next(looks)):
        clock = (float(look >= last) for look in itertools.count())
        monkeypatch.setattr(final, "time", SimpleNamespace(monotonic=partial(next, clock)))
        chosen = choose(found, PLAN)
        assert (chosen.kind, chosen.why.rpartition("; ")[2]) == ("bag", "there was no time to look for a blend")


def test_a_worse_copy_is_not_blended_in() -> None:
    rng = np.random.default_rng(0)
    truth, error = rng.normal(size=400), rng.normal(size=400)
    chosen = choose(judged(truth, truth + error, truth + 2 * error), PLAN)
    assert (chosen.kind, [member.trial for member in chosen.members]) == ("bag", [0])


def test_low_latency_and_order_in_time_ask_for_one_fit() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=50)
    found = judged(truth, truth + rng.normal(size=50))
    assert choose(found, PLAN, low_latency=True).kind == "refit"
    assert choose(found, SplitPlan("time", 5, column="t")).kind == "refit"


@pytest.mark.parametrize(
    "without", [{"low_latency": True}, {"blend": False}, {"plan": SplitPlan("time", 5, column="t")}]
)
def test_what_trials_said_is_not_read_where_no_blend_may_be_taken(without: dict[str, Any]) -> None:
    def read() -> Judged:
        raise AssertionError

    trials = cancelling().trials
    asked: dict[str, Any] = {"plan": PLAN, "low_latency": False, "blend": True} | without
    assert final.choose(trials, **asked, judged=read).members == (Member(trials[0].number, 1.0),)
