"""The final model as one scikit-learn object, made of scikit-learn's own classes, so that whoever loads it needs nothing of ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from millrace.automl.folder import SearchFolder
from millrace.automl.types import Final, Member, Problem, SplitPlan

Part = tuple[str, float, Any]
_REPEATS_ALONE = 2


def parts_of(final: Final, plan: SplitPlan, folder: SearchFolder) -> list[Part]:
    """The fitted models by name, each with its weight; a member's weight is spread evenly over its fold models."""
    found: list[Part] = []
    for member in final.members:
        models = [(fold, folder.load_model(member.trial, fold)) for fold in member_folds(final, member, plan, folder)]
        for fold, model in models:
            found.append((part_name(member.trial, fold), member.weight / len(models), model))
    return found


def part_name(trial: int, fold: int | None) -> str:
    """`trial_7_fold_2`; `trial_7` for the one of all rows."""
    return f"trial_{trial}" + ("" if fold is None else f"_fold_{fold}")


def member_folds(final: Final, member: Member, plan: SplitPlan, folder: SearchFolder) -> list[int | None]:
    """Which of a member's fold models are parts of the final model; None for the one of all rows.

    Those of the first repeat; of two where there is one member. More of them would be slower, and hardly better. In time only the last fold's,
    which has seen the most: a refit stands in its place unless there was no time for one.
    """
    most = plan.folds * min(plan.repeats, 1 if len(final.members) > 1 else _REPEATS_ALONE)
    folds: list[int | None] = [None] if final.kind == "refit" else list(range(most))
    there = [fold for fold in folds if folder.model(member.trial, fold).exists()]
    return there[-1:] if plan.kind == "time" else there


def assemble(problem: Problem, parts: Sequence[Part]) -> Any:
    """One object with `predict`, for classes `predict_proba` and `classes_` as they stand in the data.

    A single part stays what it is where its classes are the data's own; else parts are a `VotingClassifier` or `VotingRegressor`.
    """
    from sklearn.ensemble import VotingClassifier, VotingRegressor
    from sklearn.preprocessing import LabelEncoder
    from sklearn.utils import Bunch

    if len(parts) == 1 and list(problem.classes) == list(range(len(problem.classes))):
        return parts[0][2]
    named = [(name, model) for name, _, model in parts]
    weights = [weight for _, weight, _ in parts]
    if problem.task == "regression":
        voting = VotingRegressor(named, weights=weights)
    else:
        voting = VotingClassifier(named, voting="soft", weights=weights)
        voting.le_ = LabelEncoder()
        voting.le_.classes_ = voting.classes_ = np.asarray(problem.classes)
    voting.estimators_ = [model for _, model in named]
    voting.named_estimators_ = Bunch(**dict(named))
    return voting
