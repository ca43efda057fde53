"""Any MLflow model, through MLflow: slow and right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from millrace.serving.inputs import Inputs
from millrace.serving.models.paths.classes import own_probabilities
from millrace.serving.models.paths.frames import to_frame
from millrace.serving.models.paths.path import PredictFunction
from millrace.serving.models.paths.program import labels_of, native_of
from millrace.serving.types import Prediction


def open_pyfunc(folder: Path, signature: Sequence[tuple[str, str]]) -> PredictFunction:
    """Load a model as MLflow's python_function; probabilities come from a native model that has them."""
    import mlflow.pyfunc

    model = mlflow.pyfunc.load_model(str(folder))
    native = native_of(model)

    def predict(inputs: Inputs) -> Prediction:
        frame = to_frame(inputs, signature)
        return Prediction(labels_of(model.predict(frame)), own_probabilities(native, frame))

    return predict
