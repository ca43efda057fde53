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
_UPPER = 0.975


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
    shares: list[float] = []
    for number in range(min(job.plan.folds, len(folds))):
        if not folder.model(trial, number).exists():
            continue
        fit, judge = folds[number]
        found = _of_fold(job, folder.load_model(trial, number), judge[:_MOST_ROWS], end, (seed, number))
        if found is None:
            break
        losses.append(found)
        shares.append(len(judge) / len(fit))
    return summed(list(job.rows.features.columns), np.array(losses), float(np.mean(shares))) if losses else ()


def summed(names: Sequence[str], losses: np.ndarray, share: float) -> tuple[Importance, ...]:
    """The columns with their intervals, the most important first.

    Folds are fitted on nearly the same rows, so their losses are less apart than those of new samples would be: the variance of the mean is that of
    the losses times (1/J + judged/fitted), and the interval Student's with J - 1 degrees. Source: Nadeau & Bengio 2003, Inference for the
    generalization error, section 3.

    Args:
        names: of m columns.
        losses: J x m, by fold.
        share: how many rows judge for each row that is fitted on.
    """
    from scipy.special import stdtrit

    count = len(losses)
    means, spreads = losses.mean(axis=0), losses.std(axis=0)
    half = np.full(len(names), np.nan)
    if count > 1:
        half = stdtrit(count - 1, _UPPER) * losses.std(axis=0, ddof=1) * np.sqrt(1 / count + share)
    lines = zip(names, means, spreads, means - half, means + half, strict=True)
    found = [Importance(name, *map(float, numbers)) for name, *numbers in lines]
    return tuple(sorted(found, key=lambda each: -each.loss))


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
