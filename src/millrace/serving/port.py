"""What serving needs from the world: a store of endpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from millrace.serving.types import Endpoint, EndpointName, Prediction


class EndpointStore(Protocol):
    """Endpoints by name. Process-safe; what returned is durable.

    Raises: NotFound for an unknown name with the nearest as hint; AlreadyExists from `add`; Conflict from `update`
    when the stored generation is not the one expected (somebody else was first).
    """

    def add(self, endpoint: Endpoint) -> None: ...

    def get(self, name: EndpointName) -> Endpoint: ...

    def list(self) -> Sequence[Endpoint]:
        """Sorted by name."""
        ...

    def update(self, endpoint: Endpoint, expected_generation: int) -> None: ...

    def remove(self, name: EndpointName) -> None: ...


class Predictor(Protocol):
    """A loaded model behind one predict path. Used by one thread at a time; deterministic, keeps nothing of a call."""

    @property
    def path(self) -> str:
        """The path's name: `xgboost`, `lightgbm`, `sklearn` or `pyfunc`."""
        ...

    @property
    def why(self) -> str:
        """Why this path, in a sentence: what was checked, or what ruled the faster one out."""
        ...

    def predict(self, rows: Sequence[Sequence[object]]) -> Prediction:
        """Predict rows of values in model input order: floats (missing is NaN) and texts (missing is None)."""
        ...
