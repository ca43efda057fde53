"""Folds: which rows a model is fitted on, and which later or other rows judge it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from millrace.automl.rows import Rows
from millrace.automl.types import SplitPlan, Task
from millrace.core.errors import InvalidInput

Fold = tuple[np.ndarray, np.ndarray]
_FIRST_SHARE = 0.5  # of the time before the first fold that judges


def folds_of(plan: SplitPlan, task: Task, rows: Rows) -> list[Fold]:
    """(rows to fit, rows to judge) of each fold, as places; fold k of repeat r at r * folds + k. The same for the same plan and rows.

    Raises:
        InvalidInput: a fold would have nothing to fit or to judge, or a class that it has to tell is missing among the rows to fit.
    """
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", UserWarning
        )  # of a class with fewer rows than folds, which is dealt as far as it goes
        found = [fold for repeat in range(plan.repeats) for fold in _dealt(plan, task, rows, plan.seed + repeat)]
    for number, (fit, judge) in enumerate(found):
        _check(number, rows, task, fit, judge)
    return [(thinned(plan, task, rows, fit, number), judge) for number, (fit, judge) in enumerate(found)]


def all_rows(plan: SplitPlan, task: Task, rows: Rows) -> np.ndarray:
    """The rows that one refit sees: all but those that a column keeps for the test, thinned as in the folds."""
    whole = np.arange(len(rows))
    if plan.kind == "column":
        whole = np.flatnonzero(np.isin(np.asarray(rows.by), ("train", "validate")))
    return thinned(plan, task, rows, whole, plan.total)


def fit_weights(plan: SplitPlan, task: Task, rows: Rows, fit: np.ndarray) -> np.ndarray | None:
    """What each row to fit weighs: its own weight, times the inverse of the share that was kept of its class."""
    weights = None if rows.weights is None else rows.weights[fit]
    if task == "regression" or plan.majority_kept >= 1.0:
        return weights
    largest = rows.target[fit] == _largest(rows)
    inverse = np.where(largest, 1.0 / plan.majority_kept, 1.0)
    return inverse if weights is None else weights * inverse


def thinned(plan: SplitPlan, task: Task, rows: Rows, fit: np.ndarray, number: int) -> np.ndarray:
    """Rows to fit without those of the largest class that are not kept."""
    if task == "regression" or plan.majority_kept >= 1.0:
        return fit
    largest = np.flatnonzero(rows.target[fit] == _largest(rows))
    leave = np.random.default_rng((plan.seed, number)).permutation(largest)[round(plan.majority_kept * len(largest)) :]
    return np.delete(fit, leave)


def _largest(rows: Rows) -> int:
    return int(np.bincount(rows.target).argmax())


def _dealt(plan: SplitPlan, task: Task, rows: Rows, seed: int) -> Iterator[Fold]:
    from sklearn import model_selection as dealers

    places = np.zeros(len(rows))
    match plan.kind:
        case "stratified":
            yield from dealers.StratifiedKFold(plan.folds, shuffle=True, random_state=seed).split(places, rows.target)
        case "random":
            yield from dealers.KFold(plan.folds, shuffle=True, random_state=seed).split(places)
        case "group":
            kind = dealers.StratifiedGroupKFold if task == "classification" else dealers.GroupKFold
            yield from kind(plan.folds, shuffle=True, random_state=seed).split(places, rows.target, _by(rows))
        case "time":
            yield from _in_time(plan.folds, _by(rows))
        case "column":
            by = _by(rows)
            yield np.flatnonzero(by == "train"), np.flatnonzero(by == "validate")


def _in_time(folds: int, times: np.ndarray) -> Iterator[Fold]:
    """The first half fits, the rest is judged in equal parts, each by a model of all that is earlier; equal times stay together."""
    order = np.argsort(times, kind="stable")
    ranked = times[order]
    cuts = np.linspace(_FIRST_SHARE, 1.0, folds + 1)[:-1] * len(times)
    edges = [int(np.searchsorted(ranked, ranked[min(int(cut), len(times) - 1)])) for cut in cuts] + [len(times)]
    for start, end in pairwise(edges):
        yield order[:start], order[start:end]


def _by(rows: Rows) -> np.ndarray:
    assert rows.by is not None  # noqa: S101 - a plan of this kind comes with the column
    return rows.by


def _check(number: int, rows: Rows, task: Task, fit: np.ndarray, judge: np.ndarray) -> None:
    if not len(fit) or not len(judge):
        raise InvalidInput(
            f"fold {number} has {len(fit)} rows to fit and {len(judge)} to judge on",
            hint="name another column to split by, or leave it out",
        )
    if task == "classification":
        lacking = np.setdiff1d(rows.target, rows.target[fit])
        if len(lacking):
            raise InvalidInput(
                f"fold {number} would be fitted without any row of {len(lacking)} of the classes",
                hint="leave rare classes out, or split by another column: each fold must see every class",
            )


def plan_folds(rows: Rows, task: Task, kind: str, folds: int | None) -> tuple[int, int]:
    """How many folds, and how often dealt: small data is dealt several times, since one deal says little.

    Args:
        rows: what is split.
        task: classification or regression.
        kind: a `SplitKind`.
        folds: what the user wants; None: by the number of rows.

    Raises:
        InvalidInput: there is one group only, or not a row of any class for each of so many folds.
    """
    if kind == "column":
        return 1, 1
    if kind == "time":
        return _time_folds(rows, task, min(folds or _FOLDS, _FOLDS)), 1
    most = len(rows) if task == "regression" else int(np.bincount(rows.target).max())
    if kind == "group":
        return _group_folds(rows, min(folds or _FOLDS, most)), 1
    if folds is not None and folds > most:
        what = "rows" if task == "regression" else "rows of any class"
        raise InvalidInput(f"folds is {folds}, and there are no more than {most} {what}", hint="give fewer folds")
    return min(folds or _FOLDS, most), _repeats(len(rows))


def _group_folds(rows: Rows, most: int) -> int:
    groups = len(np.unique(_by(rows)))
    if groups < 2:  # noqa: PLR2004 - one to fit on, one to judge
        raise InvalidInput(
            "all rows are of one group, so none is left to judge on", hint="leave group_col out, or name another column"
        )
    return min(most, groups)


_FOLDS = 5
_REPEATS: Sequence[tuple[int, int]] = ((500, 4), (1500, 3), (4000, 2))


def _repeats(count: int) -> int:
    return next((repeats for limit, repeats in _REPEATS if count <= limit), 1)


def _time_folds(rows: Rows, task: Task, most: int) -> int:
    """As many as leave every class in the first half's fit."""
    for folds in range(most, 1, -1):
        parts = list(_in_time(folds, _by(rows)))
        whole = all(len(fit) and len(judge) for fit, judge in parts)
        if whole and (task == "regression" or len(np.unique(rows.target[parts[0][0]])) == len(np.unique(rows.target))):
            return folds
    return 1
