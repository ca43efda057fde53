"""Load a logged model and ask it for probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from millrace.core.errors import InvalidInput
from millrace.database.mlflow import tell_mlflow

if TYPE_CHECKING:
    import pandas as pd


def load_native(folder: str | Path) -> object:
    """The native object in a local MLflow model folder: by its own flavor, else as a pyfunc.

    Raises:
        InvalidInput: the folder holds no MLflow model.
    """
    tell_mlflow()
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        flavors = mlflow.models.Model.load(str(folder)).flavors
    except (MlflowException, OSError) as error:
        raise InvalidInput(f"{folder} holds no MLflow model", hint="log the model again") from error
    if "xgboost" in flavors:
        import mlflow.xgboost

        return mlflow.xgboost.load_model(str(folder))
    if "lightgbm" in flavors:
        import mlflow.lightgbm

        return mlflow.lightgbm.load_model(str(folder))
    if "sklearn" in flavors:
        import mlflow.sklearn

        return mlflow.sklearn.load_model(str(folder))
    import mlflow.pyfunc

    return mlflow.pyfunc.load_model(str(folder))


def feature_spec_of(folder: str | Path) -> str | None:
    """JSON of the feature spec that travels in the model; None where it has none."""
    tell_mlflow()
    from mlflow.models import Model

    kept = (Model.load(str(folder)).metadata or {}).get("millrace") or {}
    spec = kept.get("feature_spec")
    return None if spec is None else str(spec)


def predict_proba(model: Any, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Probability of class 1 for each row.

    Raises:
        InvalidInput: the model has no `predict_proba`, or its classes are not 0 and 1.
    """
    if not hasattr(model, "predict_proba"):
        raise InvalidInput(
            f"a {type(model).__name__} gives no probabilities", hint="use a classifier that has predict_proba"
        )
    classes = [int(label) for label in model.classes_]
    if classes != [0, 1]:
        raise InvalidInput(f"the model's classes are {classes}", hint="train it on labels 0 and 1")
    return np.asarray(model.predict_proba(frame)[:, 1], dtype=np.float64)
