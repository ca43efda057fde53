"""scikit-learn, loaded natively; a classifier's labels come from the same pass as its probabilities."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from millrace.serving.inputs import Inputs
from millrace.serving.models.mlmodel import ModelFolder
from millrace.serving.models.paths.classes import answered, own_prediction
from millrace.serving.models.paths.frames import to_frame
from millrace.serving.models.paths.path import OwnModel, PredictFunction
from millrace.serving.models.paths.saved import load_saved
from millrace.serving.types import Prediction


def own_sklearn(folder: Path, facts: ModelFolder) -> OwnModel:
    """Load a scikit-learn compatible model."""
    model = load_saved(folder / str(facts.details["pickled_model"]), facts.details)
    return OwnModel(model, lambda inputs: own_prediction(model, to_frame(inputs, facts.inputs)))


def fast_sklearn(own: OwnModel, facts: ModelFolder) -> PredictFunction:
    """One call for labels and probabilities."""
    model = own.model
    if not hasattr(model, "predict_proba"):
        return own.predict
    classes = np.asarray(model.classes_).tolist()

    def predict(inputs: Inputs) -> Prediction:
        scores = np.asarray(model.predict_proba(to_frame(inputs, facts.inputs)))
        return answered(scores, "probabilities", classes)

    return predict
