"""LightGBM's classifiers and regressors: natively, and without a frame on one thread."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from millrace.serving.inputs import Inputs, is_text
from millrace.serving.models.mlmodel import ModelFolder
from millrace.serving.models.paths.classes import answered, own_prediction
from millrace.serving.models.paths.frames import to_frame
from millrace.serving.models.paths.path import OwnModel, PredictFunction, Unsuitable
from millrace.serving.models.paths.saved import load_saved
from millrace.serving.types import Prediction

_CLASSES = {"LGBMClassifier", "LGBMRegressor"}


def own_lightgbm(folder: Path, facts: ModelFolder) -> OwnModel:
    """Load an `LGBMClassifier` or `LGBMRegressor`.

    Raises:
        Unsuitable: another class, or text inputs.
    """
    name = str(facts.details.get("model_class", "")).rpartition(".")[2]
    if name not in _CLASSES:
        raise Unsuitable(f"it is a {name or 'model without a class'}")
    if any(is_text(kind) for _, kind in facts.inputs):
        raise Unsuitable("it has text inputs")
    model = load_saved(folder / str(facts.details["data"]), facts.details)
    return OwnModel(model, lambda inputs: own_prediction(model, to_frame(inputs, facts.inputs)))


def fast_lightgbm(own: OwnModel) -> PredictFunction:
    """`Booster.predict` on one array."""
    booster, classes = own.model.booster_, getattr(own.model, "classes_", None)
    labels = None if classes is None else np.asarray(classes).tolist()
    trees = own.model.best_iteration_ or None

    def predict(inputs: Inputs) -> Prediction:
        scores = booster.predict(inputs.numbers, num_iteration=trees, num_threads=1)
        return answered(scores.reshape(len(inputs), -1), "values" if labels is None else "probabilities", labels)

    return predict
