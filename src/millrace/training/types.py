"""What a trainer is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Features and labels, ready to fit.

    Attributes:
        features: n x m; columns in model input order: float64 (missing is NaN), or `str` objects for text.
        labels: n values, 0/1 int64 for a binary label, else the label's own values as int64 codes or floats.
        seed: for every random choice of the fit.
        threads: how many threads the fit may use.
    """

    features: pd.DataFrame
    labels: np.ndarray
    seed: int
    threads: int


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
    def flavor(self) -> str:
        """The MLflow flavor of the fitted model: `xgboost`, `lightgbm` or `sklearn`."""
        ...

    def fit(self, data: TrainingData) -> object:
        """Train. Same data, seed and threads: the same model to the last bit."""
        ...


FitFunction = Callable[[TrainingData], object]
