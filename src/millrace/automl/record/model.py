"""The final model, ready to be logged."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from millrace.automl.types import Problem
from millrace.database.mlflow import quiet, tell_mlflow
from millrace.tracking.types import ModelToLog
from millrace.training.fit import is_vote, requirements_of

if TYPE_CHECKING:
    import pandas as pd

_EXAMPLE_ROWS = 20


def example_of(features: pd.DataFrame) -> pd.DataFrame:
    """A few rows from all over, with all columns."""
    places = np.unique(np.linspace(0, len(features) - 1, min(len(features), _EXAMPLE_ROWS)).astype(int))
    return features.iloc[places].reset_index(drop=True)


def model_to_log(model: object, example: pd.DataFrame, problem: Problem, search_id: str) -> ModelToLog:
    """The model with its signature, a few rows as example, and pinned requirements."""
    return ModelToLog(
        model=model,
        flavor="sklearn",
        signature=_signature(example, problem),
        example=example,
        requirements=requirements_of(model),
        metadata={"automl": search_id},
        quick=is_vote(model),
    )


def rehearse(model: object) -> None:
    """Write a small model as MLflow will be asked to write the final one, into a folder that is removed: libraries are imported by it."""
    tell_mlflow()
    import mlflow.sklearn

    with TemporaryDirectory() as folder, quiet("mlflow.sklearn", "mlflow.models.model"):
        path, pinned = str(Path(folder) / "model"), list(requirements_of(model))
        mlflow.sklearn.save_model(model, path, pip_requirements=pinned, serialization_format="cloudpickle")


def _signature(example: pd.DataFrame, problem: Problem) -> object:
    tell_mlflow()
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    kinds = {"f": DataType.double, "M": DataType.datetime}
    columns = [ColSpec(kinds.get(values.dtype.kind, DataType.string), name) for name, values in example.items()]
    return ModelSignature(inputs=Schema(columns), outputs=Schema([ColSpec(_answer(problem))]))


def _answer(problem: Problem) -> object:
    from mlflow.types import DataType

    if problem.task == "regression":
        return DataType.double
    first = problem.classes[0]
    if isinstance(first, bool):
        return DataType.boolean
    if isinstance(first, int):
        return DataType.long
    return DataType.double if isinstance(first, float) else DataType.string
