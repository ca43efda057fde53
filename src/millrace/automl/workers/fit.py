"""Fit one model and judge it: all that a worker does."""

from __future__ import annotations

import pickle
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from millrace.automl.metrics import score
from millrace.automl.prepare import transformer
from millrace.automl.rows import Rows
from millrace.automl.space import build
from millrace.automl.splits import all_rows, fit_weights, folds_of
from millrace.automl.types import Preparation, Problem, SplitPlan


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker needs once: the rows, and how they are split."""

    problem: Problem
    plan: SplitPlan
    rows: Rows


@dataclass(frozen=True, slots=True)
class FitTask:
    """One fit.

    Attributes:
        trial: its trial's number.
        fold: which fold; None for all rows, with nothing to judge on.
        estimator, params, preparation: as in `Trial`.
        to: the file that the fitted model is written to.
    """

    trial: int
    fold: int | None
    estimator: str
    params: Mapping[str, object]
    preparation: Preparation
    to: str


@dataclass(frozen=True, slots=True)
class FitResult:
    """What came of it.

    Attributes:
        trial, fold: of the task.
        score: on the fold's rows to judge; NaN where it could not be computed.
        predictions: for these rows: n x k probabilities or n numbers, float64; None after a failure or for all rows.
        seconds: how long the fit and the judging took.
        error: one line; empty where it went well.
    """

    trial: int
    fold: int | None
    score: float
    predictions: np.ndarray | None
    seconds: float
    error: str = ""


class Fitter:
    """Fits on one set of rows, whose folds are dealt once."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._folds = folds_of(job.plan, job.problem.task, job.rows)

    def run(self, task: FitTask) -> FitResult:
        """Fit, write the model down whole, judge."""
        begun = time.monotonic()
        rows, problem = self._job.rows, self._job.problem
        fit, judge = (all_rows(self._job.plan, problem.task, rows), None)
        if task.fold is not None:
            fit, judge = self._folds[task.fold]
        model = fitted(task, self._job, fit)
        write_whole(Path(task.to), model)
        if judge is None:
            return FitResult(task.trial, task.fold, float("nan"), None, time.monotonic() - begun)
        said = predictions(model, problem, rows.features.iloc[judge])
        weights = None if rows.weights is None else rows.weights[judge]
        value = score(problem, rows.target[judge], said, weights)
        return FitResult(task.trial, task.fold, value, said, time.monotonic() - begun)


def fitted(task: FitTask, job: Job, fit: np.ndarray) -> Any:
    """A scikit-learn pipeline of preparation and estimator, fitted on some rows."""
    from sklearn.pipeline import Pipeline

    rows = job.rows
    steps = [("model", build(task.estimator, task.params))]
    if not task.estimator.startswith("sklearn.dummy"):
        steps.insert(0, ("prepare", transformer(task.preparation, job.problem, job.plan.seed)))
    weights = fit_weights(job.plan, job.problem.task, rows, fit)
    more = {} if weights is None else {"model__sample_weight": weights}
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # a search says what it found in scores; a linear fit that is cut short is one of them
        return Pipeline(steps).fit(rows.features.iloc[fit], rows.target[fit], **more)


def predictions(model: Any, problem: Problem, features: Any) -> np.ndarray:
    """What it says: n x k probabilities, or n numbers, float64."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        said = model.predict_proba(features) if problem.task == "classification" else model.predict(features)
    return np.asarray(said, dtype=np.float64)


def write_whole(path: Path, value: object) -> None:
    """Pickle into a file that is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_bytes(pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL))
    part.replace(path)
