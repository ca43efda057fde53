"""BentoML's service, run by the Python of its own environment. The model's file is in BENCH_MODEL."""

from __future__ import annotations

import os

import bentoml
import numpy as np


@bentoml.service(workers=1)
class Service:
    """One model, asked as in BentoML's example for XGBoost, and with its adaptive batching."""

    def __init__(self) -> None:
        from xgboost import XGBClassifier

        self._model = XGBClassifier()
        self._model.load_model(os.environ["BENCH_MODEL"])
        self._model.set_params(n_jobs=1)

    @bentoml.api
    def predict(self, data: np.ndarray) -> np.ndarray:
        """A label for each row."""
        labels: np.ndarray = self._model.predict(data)
        return labels

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=1000)
    def predict_batched(self, data: np.ndarray) -> np.ndarray:
        """The same, for the rows of all requests that wait."""
        labels: np.ndarray = self._model.predict(data)
        return labels
