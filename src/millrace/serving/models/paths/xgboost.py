"""XGBoost's classifiers and regressors: natively, and through the C interface alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from millrace.serving.inputs import Inputs, is_text
from millrace.serving.models.mlmodel import ModelFolder
from millrace.serving.models.paths.classes import Kind, answered, own_prediction
from millrace.serving.models.paths.frames import to_frame
from millrace.serving.models.paths.path import OwnModel, PredictFunction, Unsuitable
from millrace.serving.models.paths.xgboost_library import XgboostLibrary
from millrace.serving.types import Prediction

_CLASSES = {"XGBClassifier", "XGBRegressor"}


def own_xgboost(folder: Path, facts: ModelFolder) -> OwnModel:
    """Load an `XGBClassifier` or `XGBRegressor` as MLflow does.

    Raises:
        Unsuitable: another class, or text inputs.
    """
    import xgboost

    name = str(facts.details.get("model_class", "")).rpartition(".")[2]
    if name not in _CLASSES:
        raise Unsuitable(f"it is a {name or 'model without a class'}")
    if any(is_text(kind) for _, kind in facts.inputs):
        raise Unsuitable("it has text inputs")
    model = getattr(xgboost, name)(n_jobs=1)
    model.load_model(_file(folder, facts))
    return OwnModel(model, lambda inputs: own_prediction(model, to_frame(inputs, facts.inputs)))


def open_xgboost(folder: Path, facts: ModelFolder, kind: Kind, classes: Sequence[object] | None) -> PredictFunction:
    """The model through the C interface: one call for all rows, on one thread."""
    library = XgboostLibrary(_file(folder, facts))

    def predict(inputs: Inputs) -> Prediction:
        return answered(library.predict(inputs.numbers), kind, classes)

    return predict


def _file(folder: Path, facts: ModelFolder) -> Path:
    return folder / str(facts.details["data"])
