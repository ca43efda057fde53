from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cloudpickle  # type: ignore[import-untyped,unused-ignore]
import pytest

from millrace.serving.endpoints.endpoints import served_entity
from millrace.serving.models.mlmodel import read_model_folder
from millrace.serving.types import LoadPlan

Logged = Callable[[Any, Sequence[tuple[str, str]]], LoadPlan]


@pytest.fixture
def logged(write_model: Callable[..., Path]) -> Logged:
    """Writes a fitted model as MLflow's flavor for its library would, and plans to load it."""

    def write(model: Any, signature: Sequence[tuple[str, str]]) -> LoadPlan:
        library = type(model).__module__.partition(".")[0]
        flavor = library if library in {"xgboost", "lightgbm"} else "sklearn"
        details = {"model_class": f"{library}.sklearn.{type(model).__name__}", "serialization_format": "cloudpickle"}
        file = "model.ubj" if flavor == "xgboost" else "model.pkl"
        details["pickled_model" if flavor == "sklearn" else "data"] = file
        pyfunc = {"loader_module": f"mlflow.{flavor}", "model_path": file, "data": file, "env": {}}
        folder = write_model("model", {flavor: details, "python_function": pyfunc}, signature)
        if flavor == "xgboost":
            model.save_model(folder / file)
        else:
            (folder / file).write_bytes(cloudpickle.dumps(model))
        facts = read_model_folder(folder)
        return LoadPlan(served_entity("ml.models.churn", "1"), str(folder), facts.flavor, facts.inputs, None)

    return write
