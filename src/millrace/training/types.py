"""What a trainer is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from millrace.tracking.port import Tracking
from millrace.tracking.types import RunId

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


def _nothing(said: str) -> None:
    del said


@dataclass(frozen=True, slots=True)
class Track:
    """A place for a fit that consists of many: a search.

    Attributes:
        folder: what it keeps there lets it go on after it was killed, and give the same model when it is asked again.
        tracking: where its parts are runs.
        experiment: that they belong to.
        run: that they are nested under; None where the fit is not logged.
        tell: is told in a few words how far the fit is.
    """

    folder: Path
    tracking: Tracking
    experiment: str
    run: RunId | None = None
    tell: Callable[[str], object] = _nothing


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Features and labels, ready to fit.

    Attributes:
        features: n x m; columns in model input order: float64 (missing is NaN), or text (missing is None or NaN).
        labels: n values, 0/1 int64 for a binary label, both present.
        seed: for every random choice of the fit.
        threads: how many threads the fit may use.
        track: where a long fit keeps what it has done; None where there is no such place.
        times: n times of the questions that the rows answer, datetime64[us]; None where features are not looked up by time, or by
            several columns.
    """

    features: pd.DataFrame
    labels: np.ndarray
    seed: int
    threads: int
    track: Track | None = None
    times: np.ndarray | None = None


class Candidate(Protocol):
    """A way to train. Frozen, comparable, printable: it is part of the plan's fingerprint."""

    @property
    def name(self) -> str:
        """Unique among the candidates of a pipeline: `xgboost`, `linear`."""
        ...

    @property
    def params(self) -> Mapping[str, object]:
        """What is logged with the run, JSON-compatible."""
        ...

    @property
    def is_baseline(self) -> bool:
        """Whether others must beat it and it never goes into production itself (the dummy)."""
        ...

    @property
    def complexity(self) -> int:
        """0 for a constant, 1 for a linear model, 2 for trees and the like: between equals the simpler is chosen."""
        ...

    def fit(self, data: TrainingData) -> object:
        """Train a classifier with scikit-learn's methods. Same data, seed and threads: the same model to the last bit."""
        ...


FitFunction = Callable[[TrainingData], object]


@dataclass(frozen=True, slots=True)
class FittedModel:
    """A model and what is known of how it was made.

    Attributes:
        candidate: its name.
        params: the candidate's parameters.
        is_baseline, complexity: as the candidate says.
        model: the native object; `predict_proba` (or a booster's `predict`) gives probabilities.
        flavor: the MLflow flavor that stores it: `xgboost`, `lightgbm` or `sklearn`, decided by what was fitted.
        inputs: its input columns in order, each with `double` or `string`.
        label: the label column it was trained on.
        rows: how many rows it was trained on.
        seed, threads: what it was trained with.
        requirements: pinned pip requirements to load it.
        example: up to 20 of its training rows, evenly spread, in model input order.
    """

    candidate: str
    params: Mapping[str, object]
    is_baseline: bool
    complexity: int
    model: object
    flavor: str
    inputs: Mapping[str, str]
    label: str
    rows: int
    seed: int
    threads: int
    requirements: tuple[str, ...]
    example: pd.DataFrame
