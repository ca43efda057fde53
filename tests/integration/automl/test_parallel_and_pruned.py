"""Trials in processes: two at once, and those that can't win ended between folds."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd  # noqa: TID253 - frames are what is asked
import pytest

from millrace.automl.ask import Asked, Wish, ask
from millrace.automl.contest import Contest
from millrace.automl.folder import SearchFolder
from millrace.automl.proposals import Proposals
from millrace.automl.read import Given
from millrace.automl.space import space_of
from millrace.automl.types import Trial
from millrace.automl.workers.fit import FitResult, FitTask, Fitter
from millrace.automl.workers.pool import Pool
from millrace.core.clock import SystemClock

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
GOOD, HOPELESS = 1.0, 1e-4  # C of a logistic regression


def asked() -> Asked:
    rng = np.random.default_rng(0)
    data = pd.DataFrame(rng.normal(size=(5000, 3)), columns=["a", "b", "c"])
    data = data.assign(y=(data.a + 0.1 * rng.normal(size=5000) > 0).astype(int))
    return ask(Given(data, dict.fromkeys(data.columns, "float64")), Wish("classification", "y"))


def test_two_fits_run_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'src'}:{ROOT}")
    found, folder, begun = asked(), SearchFolder(tmp_path / "k-1"), tmp_path / "begun"
    begun.mkdir()
    folder.begin(found.job)
    estimator, params = "tests.integration.automl.meeting.Meets", {"folder": str(begun), "fits": 2}
    with Pool(2) as pool:
        pool.load(folder.job)
        for fold in (0, 1):
            pool.give(FitTask(0, fold, estimator, params, found.preparations[False], str(folder.model(0, fold))))
        assert (pool.idle, len(pool.busy)) == (0, 2)
        results = collected(pool, 2)
        assert pool.idle == 2
    assert [(result.fold, result.error) for result in results] == [(0, ""), (1, "")]
    assert [result.score for result in results] == pytest.approx([np.log(2)] * 2)


def test_what_processes_find_is_what_one_finds(tmp_path: Path) -> None:
    found, folder, space = asked(), SearchFolder(tmp_path / "k-1"), space_of("linear")
    folder.begin(found.job)
    params = space.params({"C": GOOD}, found.job.problem, 0)

    def task(fold: int, to: Path) -> FitTask:
        return FitTask(0, fold, space.estimator(found.job.problem), params, found.preparations[True], str(to))

    with Pool(2) as pool:
        pool.load(folder.job)
        results: list[FitResult] = []
        left = [task(fold, folder.model(0, fold)) for fold in range(5)]
        while len(results) < 5:
            while left and pool.idle:
                pool.give(left.pop(0))
            results += collected(pool, 1)
    by_fold = {result.fold: result.score for result in results}
    fitter = Fitter(found.job)
    assert by_fold == {fold: fitter.run(task(fold, tmp_path / "model")).score for fold in range(5)}


@pytest.mark.parametrize(
    ("before", "folds"),
    [
        (1, 4),  # by the best of its family, when four folds are surely worse
        (4, 1),  # by the median of the others, at once
    ],
)
def test_a_hopeless_trial_ends_between_folds(before: int, folds: int, tmp_path: Path) -> None:
    proposed = [GOOD * (1 + number / 10) for number in range(before)]
    ended = contested(asked(), [*proposed, HOPELESS, GOOD * 2], tmp_path)
    assert [(trial.state, len(trial.fold_scores)) for trial in ended] == [
        *[("done", 5)] * before,
        ("pruned", folds),
        ("done", 5),
    ]
    hopeless = ended[before]
    assert hopeless.score == pytest.approx(np.mean(list(hopeless.fold_scores.values())))
    assert hopeless.score > ended[0].score
    assert not SearchFolder(tmp_path / "k-1").predictions(hopeless.number)
    assert not list((tmp_path / "k-1" / "models").glob(f"{hopeless.number}/*"))


def test_a_default_is_not_pruned(tmp_path: Path) -> None:
    ended = contested(asked(), [GOOD, HOPELESS], tmp_path, default=True)
    assert [(trial.state, len(trial.fold_scores)) for trial in ended] == [("done", 5)] * 2


def contested(found: Asked, proposed: list[float], folder: Path, *, default: bool = False) -> list[Trial]:
    """The trials of a contest of logistic regressions, one for each C, by one process."""
    kept, linear = SearchFolder(folder / "k-1"), space_of("linear")
    kept.begin(found.job)
    ended: list[Trial] = []
    proposals = Proposals(kept.journal, [linear], higher_is_better=False, seed=0, size=(4000, 3))
    study = proposals._study
    study.tell(study.ask(), state=_failed())  # the family's own default, which stands first in line
    for value in proposed:
        study.enqueue_trial({"family": "linear", "linear_C": value}, user_attrs={"default": default})
    with Pool(1) as pool:
        pool.load(kept.job)
        end = time.monotonic() + 240
        contest = Contest(
            problem=found.job.problem,
            plan=found.job.plan,
            folder=kept,
            preparations=found.preparations,
            proposals=proposals,
            pool=pool,
            clock=SystemClock(),
            seed=0,
            deadline=lambda _: end,
            last=end,
            max_trials=len(proposed),
            told=ended.append,
        )
        contest.run()
    return ended


def collected(pool: Pool, count: int) -> list[FitResult]:
    """So many results, by fold."""
    found: list[FitResult] = []
    end = time.monotonic() + 240
    while len(found) < count:
        assert time.monotonic() < end
        found += pool.collect(1.0)
    return sorted(found, key=lambda result: result.fold or 0)


def _failed() -> object:
    from optuna.trial import TrialState

    return TrialState.FAIL
