"""Endpoints, what they serve, and what a request leaves behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate, pairwise
from typing import Literal, NewType

from millrace.core.names import TableName
from millrace.features.types import MissingKeys
from millrace.serving.bodies.rows import ValueKind
from millrace.serving.canary.types import Canary, CanaryRun

EndpointName = NewType("EndpointName", str)
ConfigUpdate = Literal["NOT_UPDATING", "IN_PROGRESS", "UPDATE_FAILED", "UPDATE_CANCELED"]
Kind = Literal["models", "features"]
ExtraColumns = Literal["ignore", "refuse"]

FEATURE_SPEC = "feature_spec"
_IDLE_S = 1800


@dataclass(frozen=True, slots=True)
class ServedEntity:
    """One model version, or one feature spec, behind an endpoint.

    Attributes:
        name: unique in the endpoint, `<model's last part>-<version>` or the spec's last part unless given.
        entity_name: registered model, or named feature spec.
        entity_version: the model's version, as text; None for a feature spec, which has none.
        settings: what else the caller sent (workload_size, scale_to_zero_enabled, ...), kept and given back.
    """

    name: str
    entity_name: str
    entity_version: str | None
    settings: Mapping[str, object] = field(default_factory=dict)

    @property
    def idle_s(self) -> float | None:
        """After how many seconds without a request the model leaves memory; None where it stays."""
        if not self.settings.get("scale_to_zero_enabled"):
            return None
        return float(str(self.settings.get("scale_to_zero_after_s", _IDLE_S)))

    @property
    def kind(self) -> Kind:
        """What it answers with: a model's predictions, or features."""
        return "features" if self.entity_version is None else "models"

    def __str__(self) -> str:
        """For people: `ml.models.churn v3`, `ml.specs.churn (features)`."""
        return (
            f"{self.entity_name} (features)"
            if self.entity_version is None
            else f"{self.entity_name} v{self.entity_version}"
        )


@dataclass(frozen=True, slots=True)
class Capture:
    """Where an endpoint's traffic is logged: `<catalog>.<schema>.<prefix>_payload` and `..._predictions`."""

    catalog: str
    schema: str
    prefix: str
    enabled: bool = True

    @property
    def tables(self) -> str:
        """What the names of the inference tables begin with."""
        return f"{self.catalog}.{self.schema}.{self.prefix}"

    @property
    def shadow_tables(self) -> str:
        """The same of the tables of shadows: their rows are nobody's answers, and what watches answers must not count them."""
        return f"{self.tables}_shadow"

    def all_tables(self) -> tuple[TableName, ...]:
        """Each inference table that it may lead to. Raises InvalidInput where a name can't be that of a table."""
        begins, ends = (self.tables, self.shadow_tables), ("payload", "predictions")
        return tuple(TableName.parse(f"{begin}_{end}") for begin in begins for end in ends)


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """What an endpoint serves.

    Attributes:
        served: at least one; all of one kind.
        traffic: served entity name to percent; sums to 100.
        capture: None where traffic is not logged.
        missing_keys: what the features of a key are that has no row in the online store; None leaves it as it is.
        extra_columns: what becomes of a request's columns that nobody reads; None leaves it as it is.
        shadow: served entity name to the percent of requests that are copied to it; it takes no traffic, and its answers are
            logged and never returned.
        canary: how one of the entities takes over from another; None where the traffic stays as it is.
    """

    served: tuple[ServedEntity, ...]
    traffic: Mapping[str, int]
    capture: Capture | None = None
    missing_keys: MissingKeys | None = None
    extra_columns: ExtraColumns | None = None
    shadow: Mapping[str, int] = field(default_factory=dict)
    canary: Canary | None = None

    @property
    def kind(self) -> Kind | None:
        """What the endpoint answers with; None where it serves nothing yet."""
        return self.served[0].kind if self.served else None


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What a worker needs to load one served entity without asking the registry: files and facts.

    Attributes:
        path: local folder of the MLflow model; empty for a feature spec.
        flavor: `xgboost`, `lightgbm`, `sklearn` or `python_function`; `feature_spec` where features are served.
        inputs: (column, MLflow type name) in model order.
        feature_spec: JSON of the FeatureSpec as it was when the endpoint was deployed; None for a model that is sent all
            its inputs.
    """

    entity: ServedEntity
    path: str
    flavor: str
    inputs: tuple[tuple[str, str], ...]
    feature_spec: str | None


@dataclass(frozen=True, slots=True)
class CallSignature:
    """What a served entity is asked with and answers with.

    Attributes:
        columns: what is read of a request: keys, model inputs, features that it may override, columns of functions.
        required: those that a request must have, in order.
        outputs: what an answer has for each row; empty where the model's signature does not say.
    """

    columns: Mapping[str, ValueKind]
    required: tuple[str, ...]
    outputs: Mapping[str, ValueKind]


@dataclass(frozen=True, slots=True)
class EndpointState:
    """How the last change went, and how the endpoint answers.

    Attributes:
        message: why an update failed.
        paths: each entity's predict path and why; stored as it was deployed, read as workers say.
        asleep: entities that no worker has in memory until they are asked; as workers say, never stored.
    """

    ready: bool
    config_update: ConfigUpdate
    message: str = ""
    paths: Mapping[str, str] = field(default_factory=dict)
    asleep: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Former:
    """What an endpoint served before somebody changed it: where a rollback leads."""

    config: EndpointConfig
    plans: tuple[LoadPlan, ...]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint as it is stored.

    Attributes:
        generation: grows with each active configuration.
        previous: None where there is no way back.
        canary: the one under way, or how the last one ended; None where there was none.
    """

    name: EndpointName
    id: str
    generation: int
    config: EndpointConfig
    plans: tuple[LoadPlan, ...]
    pending: EndpointConfig | None
    state: EndpointState
    created_at: datetime
    updated_at: datetime
    owner: str
    previous: Former | None = None
    canary: CanaryRun | None = None


# Not frozen: one is made for each request, and freezing triples what that takes.
@dataclass(slots=True)
class Prediction:
    """What a model said.

    Attributes:
        labels: one a row: the class of a classifier (int, float or str), the value of a regressor.
        probabilities: one a row: the probability of the second of two classes, or a list with that of each of more, in
            the order of the classes; None where the model has no such thing.
    """

    labels: Sequence[object]
    probabilities: Sequence[float] | Sequence[Sequence[float]] | None


def part(prediction: Prediction, first: int, last: int) -> Prediction:
    """What was said to the rows from `first` up to and without `last`."""
    probabilities = prediction.probabilities
    return Prediction(prediction.labels[first:last], None if probabilities is None else probabilities[first:last])


def parts(prediction: Prediction, asked: Sequence[Sized]) -> list[Prediction]:
    """What was said to each of several requests whose rows were predicted together, in their order."""
    if len(asked) == 1:
        return [prediction]
    ends = accumulate(map(len, asked), initial=0)
    return [part(prediction, first, last) for first, last in pairwise(ends)]


@dataclass(frozen=True, slots=True)
class Description:
    """What the records of one served entity have in common; written once a segment, named by `id` in each record.

    Attributes:
        id: unique per endpoint, generation and entity.
        table_prefix: `catalog.schema.prefix` of the inference tables.
        keys: (request column, Arrow type name) of the lookup keys.
        inputs: (model input, `double` or `string`) in model order.
        model_name: the model, or the feature spec.
        model_version: None for a feature spec.
        kind: what the records are answers with; features leave no predictions.
    """

    id: str
    table_prefix: str
    endpoint: str
    generation: int
    entity: str
    model_name: str
    model_version: str | None
    keys: tuple[tuple[str, str], ...]
    inputs: tuple[tuple[str, str], ...]
    kind: Kind = "models"


@dataclass(frozen=True, slots=True)
class DrainResult:
    """What one drain has moved into the inference tables.

    Attributes:
        segments: files.
        requests: rows of payload tables.
        rows: rows of predictions tables.
        held: parts of batches that wait for a table that refuses them.
        aside: records and damaged stretches that were put aside.
    """

    segments: int
    requests: int
    rows: int
    held: int = 0
    aside: int = 0
