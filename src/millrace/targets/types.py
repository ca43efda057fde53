"""A deployment, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal


@dataclass(frozen=True, slots=True)
class DeploymentSpec:
    """One endpoint serving one version.

    Attributes:
        endpoint: endpoint name.
        model, version: what to serve.
        capture: `(catalog, schema, prefix)` of the inference tables; None: nothing is logged.
        canary: how the version takes over from another that serves: what the server calls a `canary_config`, without champion
            and challenger. None: at once.
    """

    endpoint: str
    model: str
    version: str
    capture: tuple[str, str, str] | None = None
    canary: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class CanaryStatus:
    """A canary under way on an endpoint, or how the last one ended.

    Attributes:
        model, version: the challenger.
        share: its percent of the traffic.
        message: what the newest look found, or why it ended.
    """

    model: str
    version: str
    outcome: Literal["running", "finished", "rolled_back", "cancelled"]
    share: int
    message: str


@dataclass(frozen=True, slots=True)
class DeploymentStatus:
    """How a deployment stands.

    Attributes:
        state: of the last change; after a failed one the endpoint serves what it did before.
        version: what takes traffic now, the most of it (None: nothing yet).
        message: why the last change failed.
        ready: whether it answers.
    """

    endpoint: str
    state: Literal["ready", "updating", "failed"]
    version: str | None
    message: str = ""
    canary: CanaryStatus | None = None
    ready: bool = True


@dataclass(frozen=True, slots=True)
class Answers:
    """What an endpoint answered: one prediction a row; probabilities of class 1 where the model has them."""

    predictions: tuple[object, ...]
    probabilities: tuple[float, ...] | None
    model_version: str
    request_id: str
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServedSpec:
    """A feature spec behind an endpoint.

    Attributes:
        spec: the named feature spec.
        name: of the served entity; None: the spec's last part.
        settings: what else is said of it (workload_size, ...), kept and given back.
    """

    spec: str
    name: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FeatureDeployment:
    """What an endpoint that serves features is to serve.

    Attributes:
        served: at least one.
        traffic: served entity name to percent; None where there is one entity, which takes all.
        capture: `(catalog, schema, prefix)` of the inference table; None: nothing is logged, or in an update what was.
    """

    served: tuple[ServedSpec, ...]
    traffic: Mapping[str, int] | None = None
    capture: tuple[str, str, str] | None = None


@dataclass(frozen=True, slots=True)
class FeatureStatus:
    """How an endpoint that serves features stands.

    Attributes:
        state: of the last change; after a failed one the endpoint serves what it did before.
        ready: whether it answers.
        message: why the last change failed.
        generation: grows with each change that was made.
        url: where it is asked.
        serving: what it serves; what it is to serve, where it has never served.
    """

    endpoint: str
    state: Literal["ready", "updating", "failed"]
    ready: bool
    message: str
    generation: int
    url: str
    creator: str
    created_at: datetime
    serving: FeatureDeployment


@dataclass(frozen=True, slots=True)
class FeatureAnswers:
    """What an endpoint that serves features answered.

    Attributes:
        outputs: the features of each row by name; times and dates in ISO 8601, decimals as text, null where there is none.
        served: name of the served entity that answered.
    """

    outputs: tuple[Mapping[str, object], ...]
    served: str
    request_id: str
    figures: dict[str, float] = field(default_factory=dict)
