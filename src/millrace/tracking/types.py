"""A run, as the loop sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NewType

RunId = NewType("RunId", str)


@dataclass(frozen=True, slots=True)
class RunInfo:
    """One tracked run. Times are Clock time. `status` is RUNNING, FINISHED or FAILED."""

    id: RunId
    experiment: str
    name: str
    status: str
    started_at: datetime
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelToLog:
    """A fitted model and what must go with it.

    Attributes:
        model: the native object (scikit-learn compatible).
        flavor: `xgboost`, `lightgbm` or `sklearn`: the MLflow flavor to store it in.
        signature: an `mlflow.models.ModelSignature` with inputs and outputs.
        example: a few input rows (pandas), stored with the model as its example; None for none.
        feature_spec: JSON of the FeatureSpec; None for a model without lookups.
        requirements: pinned pip requirements.
        metadata: further JSON-compatible facts to keep in the MLmodel file.
        quick: written with cloudpickle at once. skops, which restores known types only, takes seconds for a model of many parts.
    """

    model: object
    flavor: str
    signature: object
    example: object = None
    feature_spec: str | None = None
    requirements: tuple[str, ...] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)
    quick: bool = False
