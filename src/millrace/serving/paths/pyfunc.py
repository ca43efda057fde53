"""Any MLflow model, through MLflow: slow and right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from millrace.serving.inputs import Inputs
from millrace.serving.paths.frames import to_frame
from millrace.serving.paths.path import PredictFunction
from millrace.serving.types import Prediction


def open_pyfunc(folder: Path, signature: Sequence[tuple[str, str]]) -> PredictFunction:
    """Load a model as MLflow's python_function; probabilities come from a native model that has them."""
    import mlflow.pyfunc

    model = mlflow.pyfunc.load_model(str(folder))
    native = _native(model)

    def predict(inputs: Inputs) -> Prediction:
        frame = to_frame(inputs, signature)
        scores = np.asarray(native.predict_proba(frame)) if hasattr(native, "predict_proba") else None
        binary = scores is not None and scores.ndim == 2 and scores.shape[1] == 2  # noqa: PLR2004 - n x 2
        return Prediction(
            _labels(model.predict(frame)), scores[:, 1].tolist() if scores is not None and binary else None
        )

    return predict


def _native(model: Any) -> object:
    try:
        return model.get_raw_model()
    except (AttributeError, NotImplementedError):
        return None


def _labels(result: Any) -> list[object]:
    if hasattr(result, "columns"):
        result = result.iloc[:, 0] if len(result.columns) == 1 else result.to_dict("records")
    return list(result.tolist() if hasattr(result, "tolist") else result)
