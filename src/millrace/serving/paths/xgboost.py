"""XGBoost without a frame: `Booster.inplace_predict` on one array."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from millrace.serving.inputs import Inputs
from millrace.serving.mlmodel import ModelFolder
from millrace.serving.paths.classes import classified, own_prediction
from millrace.serving.paths.frames import to_frame
from millrace.serving.paths.path import PredictFunction, PredictPath, Unsuitable
from millrace.serving.types import Prediction

_CLASSES = {"XGBClassifier", "XGBRegressor"}


def open_xgboost(folder: Path, facts: ModelFolder, signature: Sequence[tuple[str, str]]) -> PredictPath:
    """Load an `XGBClassifier` or `XGBRegressor`.

    Raises:
        Unsuitable: another class, or text inputs.
    """
    import xgboost

    name = str(facts.details.get("model_class", "")).rpartition(".")[2]
    if name not in _CLASSES:
        raise Unsuitable(f"it is a {name or 'model without a class'}")
    if any(kind in {"string", "datetime"} for _, kind in signature):
        raise Unsuitable("it has text inputs")
    model = getattr(xgboost, name)(n_jobs=1)
    model.load_model(folder / str(facts.details["data"]))
    booster = model.get_booster()
    booster.set_param({"nthread": 1})
    fast = _fast(booster, np.arange(model.n_classes_) if name == "XGBClassifier" else None)
    return PredictPath(fast, lambda inputs: own_prediction(model, to_frame(inputs, signature)))


def _fast(booster: Any, classes: np.ndarray | None) -> PredictFunction:
    best = booster.attr("best_iteration")
    trees = (0, int(best) + 1) if best is not None else (0, 0)

    def predict(inputs: Inputs) -> Prediction:
        scores = booster.inplace_predict(inputs.numbers, iteration_range=trees)
        return Prediction(scores.tolist(), None) if classes is None else classified(scores, classes)

    return predict
