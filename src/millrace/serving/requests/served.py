"""One served model in memory: its predictor, its feature lookup, and what is logged of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from millrace.core.errors import InvalidInput, InvalidState
from millrace.core.names import TableName
from millrace.features.functions.values import family_of
from millrace.features.online.lookup import OnlineLookup, Sources
from millrace.features.online.records import Asked, spans
from millrace.features.port import OnlineStore
from millrace.features.spec import from_json
from millrace.features.types import FeatureSpec
from millrace.serving.bodies.body import Body
from millrace.serving.bodies.rows import ValueKind
from millrace.serving.inputs import InputReader, Inputs, kind_of
from millrace.serving.models.mlmodel import read_model_folder
from millrace.serving.models.sleeper import Sleeper
from millrace.serving.models.turns import Turns
from millrace.serving.port import Call, Captured
from millrace.serving.request_keys import RequestKeys
from millrace.serving.types import CallSignature, Description, Endpoint, LoadPlan, Prediction, ServedEntity


# Not frozen, as in `exchange`: one of each for each request.
@dataclass(slots=True, eq=False)
class Prepared:
    """What was asked, row by row: `Answered` without the prediction."""

    inputs: Inputs
    keys: Sequence[Sequence[object]]
    sources: Sequence[Sources]

    def answered(self, prediction: Prediction | None, predict_s: float) -> Answered:
        """See `Opened.answered`."""
        assert prediction is not None  # noqa: S101 - there are inputs
        return Answered(prediction, self.keys, self.inputs, self.sources, predict_s)


@dataclass(slots=True, eq=False)
class Answered:
    """A prediction and what it was made from, row by row.

    Attributes:
        keys: the lookup keys' values, in the description's order; empty where nothing is looked up.
        inputs: what the model was given.
        sources: (feature table, event time in microseconds, Delta version) of what was looked up; nulls where a key has
            no row.
        predict_s: how long the model took, with the wait for its turn.
    """

    prediction: Prediction
    keys: Sequence[Sequence[object]]
    inputs: Inputs
    sources: Sequence[Sources]
    predict_s: float

    def __len__(self) -> int:
        """How many rows."""
        return len(self.inputs)

    def content(self, body: Body) -> dict[str, object]:
        """The response: predictions, and probabilities where they are asked for.

        Raises:
            InvalidInput: the model has none.
        """
        content: dict[str, object] = {"predictions": self.prediction.labels}
        if body.predict_proba:
            if self.prediction.probabilities is None:
                raise InvalidInput("this model gives no probabilities of a class", hint="ask without predict_proba")
            content["probabilities"] = self.prediction.probabilities
        return content

    def captured(self) -> Captured:
        """What is kept of it."""
        return Captured(self.keys, self.sources, self.inputs, self.prediction)


class ServedModel:
    """Answers requests with one model version."""

    def __init__(self, endpoint: Endpoint, plan: LoadPlan, model: Turns | Sleeper, online: OnlineStore) -> None:
        spec = None if plan.feature_spec is None else from_json(plan.feature_spec)
        keys: dict[str, str] = {}
        if spec is not None:
            _check_inputs(plan, spec)
            keys = key_types(spec, online)
        self.plan, self.model = plan, model
        self._reader = InputReader(plan.inputs)
        looked_up = spec is not None and bool(spec.lookups or spec.functions)
        missing_keys = endpoint.config.missing_keys or "default"
        self._lookup = OnlineLookup(online, spec, missing_keys) if spec is not None and looked_up else None
        if self._lookup:
            self._lookup.check()
        self.looks_up = looked_up
        self.may_wait = spec is not None and may_wait(spec, online)
        self.keys = RequestKeys(keys)
        self.signature = _signature(plan, spec, keys)
        self.description = _description(endpoint, plan, keys, self._reader)

    def open(self, calls: Sequence[Call]) -> Sequence[Prepared]:
        """See `Served.open`."""
        columns, lookup = self.signature.columns, self._lookup
        if lookup is None:
            return [Prepared(self._reader.read(body.rows.typed(columns)), (), ()) for body, _ in calls]
        asked = [Asked(body.rows.typed(columns).records(None), now) for body, now in calls]
        rows = lookup.augment_all(asked)
        inputs = self._reader.from_columns(rows.numbers, rows.others)
        return [
            Prepared(inputs.slice(begin, end), rows.keys[begin:end], rows.sources[begin:end])
            for begin, end in spans(asked)
        ]

    @property
    def waiting(self) -> int:
        """How many requests wait for the model, those to other endpoints with the same model among them."""
        return self.model.waiting

    @property
    def path(self) -> str:
        """The predict path and why."""
        return self.model.path


def _check_inputs(plan: LoadPlan, spec: FeatureSpec) -> None:
    if tuple(name for name, _ in plan.inputs) != spec.inputs:
        raise InvalidInput(
            f"the signature of model '{plan.entity.entity_name}' does not match its feature spec",
            hint="log the model again, with the training set that it was fitted on",
        )


def _signature(plan: LoadPlan, spec: FeatureSpec | None, keys: Mapping[str, str]) -> CallSignature:
    inputs = {name: kind_of(kind) for name, kind in plan.inputs}
    outputs = read_model_folder(Path(plan.path)).outputs
    if spec is None:
        return CallSignature(inputs, tuple(inputs), outputs)
    columns = request_columns(spec, keys) | inputs
    return CallSignature(columns, tuple(dict.fromkeys([*keys, *spec.request_columns])), outputs)


def may_wait(spec: FeatureSpec, online: OnlineStore) -> bool:
    """Whether finding features waits for others: for a store that is elsewhere, or for somebody's functions."""
    return bool(spec.functions) or (bool(spec.lookups) and not online.is_local)


def request_columns(spec: FeatureSpec, keys: Mapping[str, str]) -> dict[str, ValueKind]:
    """What keys and the columns that functions read are; `keys` as of `key_types`."""
    bound = {column: stored_kind(each.types[name]) for each in spec.functions for name, column in each.bindings.items()}
    return bound | {name: stored_kind(kind) for name, kind in keys.items()}


def stored_kind(name: str) -> ValueKind:
    """What values of this Arrow type are in a request; times, dates, decimals and bytes are text there."""
    kinds: Mapping[str | None, ValueKind] = {"float": "number", "int": "whole", "bool": "boolean"}
    return kinds.get(family_of(name), "text")


def key_types(spec: FeatureSpec, online: OnlineStore) -> dict[str, str]:
    """Arrow type name of each request column that is a lookup's key.

    Raises:
        InvalidState: a table is not in the online store.
    """
    types: dict[str, str] = {}
    for lookup in spec.lookups:
        table = online.table(TableName.parse(lookup.table_name))
        if table is None:
            raise InvalidState(
                f"feature table {lookup.table_name} is not in the online store",
                hint="publish it first (publish_table), then deploy",
                table=lookup.table_name,
            )
        types |= {column: table.types[key] for column, key in zip(lookup.keys, table.primary_keys, strict=True)}
    return types


def _description(
    endpoint: Endpoint, plan: LoadPlan, keys: Mapping[str, str], reader: InputReader
) -> Description | None:
    described = describe(endpoint, plan.entity, keys, reader.types)
    if described is not None:
        _check_log_columns([*dict.fromkeys([*keys, *reader.columns])])
    return described


def describe(
    endpoint: Endpoint, entity: ServedEntity, keys: Mapping[str, str], inputs: tuple[tuple[str, str], ...]
) -> Description | None:
    """What the captured records of an entity have in common; None where the endpoint captures nothing."""
    capture = endpoint.config.capture
    if capture is None or not capture.enabled:
        return None
    return Description(
        id=f"{endpoint.id}/{endpoint.generation}/{entity.name}",
        table_prefix=capture.shadow_tables if entity.name in endpoint.config.shadow else capture.tables,
        endpoint=endpoint.name,
        generation=endpoint.generation,
        entity=entity.name,
        model_name=entity.entity_name,
        model_version=entity.entity_version,
        keys=tuple(keys.items()),
        inputs=inputs,
        kind=entity.kind,
    )


def _check_log_columns(names: Sequence[str]) -> None:
    lower = [name.lower() for name in names]
    double = next((name for name in names if lower.count(name.lower()) > 1), None)
    if double is not None:
        raise InvalidInput(
            f"two columns are named '{double}' but for case, which the inference table can't hold",
            hint="rename one, or deploy without capture",
        )
