"""Which columns the final choice needs: each is shuffled among rows that its models did not see."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from millrace.automl.folder import SearchFolder
from millrace.automl.metrics import score
from millrace.automl.splits import folds_of
from millrace.automl.types import Final, Importance
from millrace.automl.workers.fit import Job, predictions

_MOST_ROWS = 2000


def importance(job: Job, folder: SearchFolder, final: Final, *, end: float, seed: int) -> Sequence[Importance]:
    """Of each column, the most important first; nothing where the time is too short for one fold.

    The heaviest member stands for all. Source: Breiman 2001, Random forests, section 10; shuffled once a fold, on at most 2,000 rows.

    Args:
        job: rows and folds.
        folder: where the folds' models are.
        final: what was chosen.
        end: the `time.monotonic()` by which it stops, between two columns.
        seed: shuffles.
    """
    folds, trial = folds_of(job.plan, job.problem.task, job.rows), final.members[0].trial
    losses: list[list[float]] = []
    for number in range(min(job.plan.folds, len(folds))):
        if not folder.model(trial, number).exists():
            continue
        found = _of_fold(job, folder.load_model(trial, number), folds[number][1][:_MOST_ROWS], end, (seed, number))
        if found is None:
            break
        losses.append(found)
    if not losses:
        return ()
    table = np.array(losses)
    names = list(job.rows.features.columns)
    means, spreads = table.mean(axis=0), table.std(axis=0)
    order = np.argsort(-means, kind="stable")
    return tuple(Importance(names[place], float(means[place]), float(spreads[place])) for place in order)


def _of_fold(job: Job, model: object, judge: np.ndarray, end: float, seed: tuple[int, int]) -> list[float] | None:
    rows, problem, rng = job.rows, job.problem, np.random.default_rng(seed)
    features, target = rows.features.iloc[judge], rows.target[judge]
    weights = None if rows.weights is None else rows.weights[judge]
    usual = score(problem, target, predictions(model, problem, features), weights)
    losses = []
    for name in features.columns:
        if time.monotonic() > end:
            return None
        shuffled = features.copy(deep=False)
        shuffled[name] = features[name].to_numpy()[rng.permutation(len(features))]
        worse = score(problem, target, predictions(model, problem, shuffled), weights)
        losses.append(usual - worse if problem.higher_is_better else worse - usual)
    return losses
