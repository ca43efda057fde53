"""A model for each predict path, and a hot app that is known to have it on that path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from millrace.serving.inputs import Inputs
from millrace.serving.models.paths.kept import KeptProofs, key_of
from millrace.serving.models.paths.proof import prove
from millrace.serving.models.processes.environments import Environments
from millrace.serving.models.processes.needs import needs_of
from millrace.serving.types import Prediction
from tests.integration.formats.hot_server import Server
from tests.integration.formats.saved import Saved, labels_of, numbers

# From how many rows on XGBoost's C interface answers. Where it is the faster one is measured; here it must be known.
MANY_ROWS = 10


class Counting:
    """A predictor that notes how many rows each call had."""

    def __init__(self, predictor: Any) -> None:
        self._predictor = predictor
        self.path, self.why, self.quick_rows = predictor.path, predictor.why, predictor.quick_rows
        self.sizes: list[int] = []

    def predict(self, inputs: Inputs) -> Prediction:
        self.sizes.append(len(inputs))
        prediction: Prediction = self._predictor.predict(inputs)
        return prediction


@dataclass(frozen=True)
class Stage:
    """A hot app that keeps proofs and gives models environments of their own, and the models for it."""

    server: Server
    models: dict[str, Saved]
    root: Path
    environments: Environments
    proofs: Path

    def serve(self, name: str) -> tuple[Saved, Counting]:
        """Serve a model, on the path that it is for."""
        saved = self.models[name] if name in self.models else Saved(_WRITE[name](self.root / name), numbers)
        needs = needs_of(saved.folder)
        if needs is None:
            self._prove(name, saved.folder)
        else:
            self.environments.make(needs)
        self.server.serve(name, saved.folder)
        active: Any = self.server.app._generations.active(name)
        counting = active.first.model.predictor = Counting(active.first.model.predictor)
        return saved, counting

    def _prove(self, name: str, folder: Path) -> None:
        outcome, graph = prove(folder)
        if name == "boosted":
            assert outcome.path in {"onnx", "onnx+xgboost"}
            assert "is ruled out" not in outcome.why  # both may answer
            outcome = replace(outcome, path="onnx+xgboost", many_rows=MANY_ROWS)
        KeptProofs(self.proofs).write(key_of(folder), outcome, graph)


def _write_hinged(folder: Path) -> Path:
    """XGBoost's, of an objective that is not converted."""
    import mlflow
    from xgboost import XGBClassifier

    model = _fitted(XGBClassifier(objective="binary:hinge", n_estimators=10, max_depth=3, n_jobs=1))
    return _saved(mlflow.xgboost.save_model, model, folder)


def _write_averaged(folder: Path) -> Path:
    """LightGBM's, whose trees are averaged, which is not converted."""
    import mlflow
    from lightgbm import LGBMClassifier

    model = LGBMClassifier(
        boosting_type="rf", subsample=0.7, subsample_freq=1, n_estimators=20, verbose=-1, n_jobs=1, random_state=1
    )
    return _saved(mlflow.lightgbm.save_model, _fitted(model), folder)


def _write_neighbours(folder: Path) -> Path:
    """scikit-learn's, of a kind that is not converted."""
    from sklearn.neighbors import KNeighborsClassifier

    return _write_pipeline(folder, KNeighborsClassifier(5), "mlflow")


def _write_elsewhere(folder: Path) -> Path:
    """One that asks for a package that is not installed here."""
    from sklearn.linear_model import LogisticRegression

    return _write_pipeline(folder, LogisticRegression(), "pricing==1.0")


def _write_pipeline(folder: Path, model: Any, requirement: str) -> Path:
    import mlflow
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    pipeline = _fitted(make_pipeline(SimpleImputer(), StandardScaler(), model))
    how = {"serialization_format": "cloudpickle"}
    return _saved(mlflow.sklearn.save_model, pipeline, folder, requirement, **how)


def _fitted(model: Any) -> Any:
    random = np.random.default_rng(5)
    frame = numbers(random, 600)
    return model.fit(frame, labels_of(frame, random))


def _saved(save: Callable[..., Any], model: Any, folder: Path, requirement: str = "mlflow", **how: Any) -> Path:
    from mlflow.models import infer_signature

    frame = numbers(np.random.default_rng(5), 600)
    signature = infer_signature(frame, model.predict(frame))
    save(model, path=folder, signature=signature, pip_requirements=[requirement], **how)
    return folder


_WRITE: dict[str, Callable[[Path], Path]] = {
    "hinged": _write_hinged,
    "averaged": _write_averaged,
    "neighbours": _write_neighbours,
    "elsewhere": _write_elsewhere,
}
