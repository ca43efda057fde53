"""LightGBM without a frame: `Booster.predict` on one array, on one thread."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from millrace.serving.inputs import Inputs
from millrace.serving.mlmodel import ModelFolder
from millrace.serving.paths.classes import classified, own_prediction
from millrace.serving.paths.frames import to_frame
from millrace.serving.paths.path import PredictFunction, PredictPath, Unsuitable
from millrace.serving.paths.saved import load_saved
from millrace.serving.types import Prediction

_CLASSES = {"LGBMClassifier", "LGBMRegressor"}


def open_lightgbm(folder: Path, facts: ModelFolder, signature: Sequence[tuple[str, str]]) -> PredictPath:
    """Load an `LGBMClassifier` or `LGBMRegressor`.

    Raises:
        Unsuitable: another class, or text inputs.
    """
    name = str(facts.details.get("model_class", "")).rpartition(".")[2]
    if name not in _CLASSES:
        raise Unsuitable(f"it is a {name or 'model without a class'}")
    if any(kind in {"string", "datetime"} for _, kind in signature):
        raise Unsuitable("it has text inputs")
    model = load_saved(folder / str(facts.details["data"]), facts.details)
    return PredictPath(_fast(model), lambda inputs: own_prediction(model, to_frame(inputs, signature)))


def _fast(model: Any) -> PredictFunction:
    booster, classes = model.booster_, getattr(model, "classes_", None)
    trees = model.best_iteration_ or None

    def predict(inputs: Inputs) -> Prediction:
        scores = booster.predict(inputs.numbers, num_iteration=trees, num_threads=1)
        return Prediction(scores.tolist(), None) if classes is None else classified(scores, classes)

    return predict
