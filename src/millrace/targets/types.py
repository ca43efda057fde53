"""A deployment, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class DeploymentSpec:
    """One endpoint serving one version.

    Attributes:
        endpoint: endpoint name.
        model, version: what to serve.
        capture: `(catalog, schema, prefix)` of the inference tables; None: nothing is logged.
    """

    endpoint: str
    model: str
    version: str
    capture: tuple[str, str, str] | None = None


@dataclass(frozen=True, slots=True)
class DeploymentStatus:
    """How a deployment stands. `version` is what takes traffic now (None: nothing yet)."""

    endpoint: str
    state: Literal["ready", "updating", "failed"]
    version: str | None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Answers:
    """What an endpoint answered: one prediction a row; probabilities of class 1 where the model has them."""

    predictions: tuple[object, ...]
    probabilities: tuple[float, ...] | None
    model_version: str
    request_id: str
    figures: dict[str, float] = field(default_factory=dict)
