"""A trial as a notebook that anybody can run and change: it reads the search's rows and gives the trial's score again."""

from __future__ import annotations

import math

from millrace.automl.notebooks.folding import folding, is_weighted
from millrace.automl.notebooks.loading import features, reading, target
from millrace.automl.notebooks.pages import Cell, Notebook, assigned, code, text
from millrace.automl.notebooks.preparing import preparing
from millrace.automl.notebooks.scoring import scoring
from millrace.automl.types import Search, Trial

_IMPORTS = """
import warnings

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler, TargetEncoder
from threadpoolctl import threadpool_limits
"""


def trial_notebook(search: Search, trial: Trial) -> Notebook:
    """The notebook of a trial.

    It needs pandas, scikit-learn and the estimator's own package, and nothing of ours where the rows were kept as a file.

    Args:
        search: whose rows, folds and metric it is.
        trial: what is fitted. Of one that was pruned or stopped, the folds that were judged.

    Raises:
        InvalidInput: the search kept no rows that a notebook could read.
    """
    cells = [
        text(*_head(search, trial)),
        code(_IMPORTS),
        *reading(search.dataset),
        *target(search),
        *features(search),
        *([] if _is_dummy(trial) else preparing(trial.preparation, search.problem, search.split.seed)),
        *folding(search),
        *_model(trial),
        *scoring(search.problem),
        *_judging(search, trial),
    ]
    return Notebook(tuple(cells))


def _head(search: Search, trial: Trial) -> list[str]:
    metric, problem = search.problem.metric, search.problem
    judged = f"{metric} {trial.score:.6g}" if not math.isnan(trial.score) else "without a score"
    lines = [
        f"# {trial.name}: {judged}",
        "",
        f"One trial of a search for `{problem.target}` in {search.dataset.name}, {search.dataset.rows:,} rows: `{trial.estimator}`, {trial.state}.",
        "Run it as it is, and the last cell gives the score of the trial again. Then change what you like.",
    ]
    if trial.error:
        lines += ["", f"Its fit failed: {trial.error}"]
    if trial.fold_scores:
        lines += ["", f"| fold | {metric} |", "|-|-|"]
        lines += [f"| {fold} | {score:.6g} |" for fold, score in sorted(trial.fold_scores.items())]
    return lines


def _is_dummy(trial: Trial) -> bool:
    return trial.estimator.startswith("sklearn.dummy")


def _model(trial: Trial) -> list[Cell]:
    module, _, name = trial.estimator.rpartition(".")
    steps = f'("model", {name}(**PARAMS))'
    if not _is_dummy(trial):
        steps = f'("prepare", preparation()), {steps}'
    return [
        text("## Model"),
        code(
            f"from {module} import {name}\n",
            assigned("PARAMS", dict(trial.params)),
            f"\n\ndef model():\n    return Pipeline([{steps}])",
        ),
    ]


def _judging(search: Search, trial: Trial) -> list[Cell]:
    judged = sorted(trial.fold_scores) or list(range(search.split.total))
    of_fit = ", model__sample_weight=fit_weights[fit]" if is_weighted(search) else ""
    of_judge = ", weights[judge]" if search.split.weight is not None else ""
    whole = len(judged) == search.split.total
    return [
        text("## Fit and judge" if whole else "## Fit and judge, on the folds that the trial came to"),
        code(
            assigned("JUDGED", judged),
            "scores = {}",
            "with threadpool_limits(limits=1), warnings.catch_warnings():  # one thread, as in the search: sums keep their order",
            '    warnings.simplefilter("ignore")',
            "    for number in JUDGED:",
            "        fit, judge = folds[number]",
            f"        fitted = model().fit(X.iloc[fit], y[fit]{of_fit})",
            f"        scores[number] = float(score(fitted, X.iloc[judge], y[judge]{of_judge}))",
            '        print(f"fold {number}: {scores[number]:.6g}")',
        ),
        code(
            "found = float(np.mean(list(scores.values())))",
            *_compared(trial),
        ),
    ]


def _compared(trial: Trial) -> list[str]:
    if math.isnan(trial.score):
        return ['print(f"score {found!r}; the trial has none")']
    return [
        assigned("LOGGED", float(trial.score)),
        "print(f\"score {found!r}, the trial {LOGGED!r}: {'the same' if abs(found - LOGGED) <= 1e-9 else 'changed'}\")",
    ]
