"""scikit-learn, loaded natively; a classifier's labels come from the same pass as its probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from millrace.serving.inputs import Inputs
from millrace.serving.mlmodel import ModelFolder
from millrace.serving.paths.classes import classified, own_prediction
from millrace.serving.paths.frames import to_frame
from millrace.serving.paths.path import PredictPath
from millrace.serving.paths.saved import load_saved
from millrace.serving.types import Prediction

if TYPE_CHECKING:
    import pandas as pd


def open_sklearn(folder: Path, facts: ModelFolder, signature: Sequence[tuple[str, str]]) -> PredictPath:
    """Load a scikit-learn compatible model."""
    model = load_saved(folder / str(facts.details["pickled_model"]), facts.details)

    def fast(inputs: Inputs) -> Prediction:
        return _predict(model, to_frame(inputs, signature))

    def own(inputs: Inputs) -> Prediction:
        return own_prediction(model, to_frame(inputs, signature))

    return PredictPath(fast, own)


def _predict(model: Any, frame: pd.DataFrame) -> Prediction:
    if hasattr(model, "predict_proba"):
        return classified(np.asarray(model.predict_proba(frame)), np.asarray(model.classes_))
    return Prediction(np.asarray(model.predict(frame)).ravel().tolist(), None)
