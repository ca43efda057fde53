"""One served feature spec in memory: a request's keys in, its features out, in their own types."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from millrace.core.errors import InvalidInput
from millrace.core.names import TableName
from millrace.features.functions.values import RESULT_NAMES, Reader, family_of, value_reader
from millrace.features.online.lookup import OnlineFeatures, Sources
from millrace.features.online.records import Asked, spans
from millrace.features.port import OnlineStore
from millrace.features.spec import from_json
from millrace.features.types import FeatureSpec, OnlineTable
from millrace.serving.bodies.body import Body
from millrace.serving.port import Call, Captured, Model
from millrace.serving.request_keys import RequestKeys
from millrace.serving.requests.served import describe, key_types, may_wait, request_columns, stored_kind
from millrace.serving.types import FEATURE_SPEC, CallSignature, Endpoint, LoadPlan, Prediction

Record = Mapping[str, object]


# Not frozen: one is made for each request, and freezing triples what that takes.
@dataclass(slots=True, eq=False)
class FoundFeatures:
    """The features of each row of a request, in its order.

    Attributes:
        outputs: one object a row, the features by name in the spec's order; null where there is none.
        keys: the lookup keys of each row, as in `Captured`.
        sources: where the features of each row came from, as in `Captured`.
    """

    outputs: Sequence[Record]
    keys: Sequence[Sequence[object]]
    sources: Sequence[Sources]
    inputs: None = None
    predict_s: None = None
    """There is no model."""

    def answered(self, _prediction: Prediction | None, _predict_s: float) -> FoundFeatures:
        """See `Opened.answered`: nothing is lacking."""
        return self

    def __len__(self) -> int:
        """How many rows."""
        return len(self.outputs)

    def content(self, body: Body) -> dict[str, object]:
        """The response.

        Raises:
            InvalidInput: the body asks for probabilities.
        """
        if body.predict_proba:
            raise InvalidInput(
                "this endpoint serves features and predicts nothing", hint="ask without params; the answer has outputs"
            )
        return {"outputs": self.outputs}

    def captured(self) -> Captured:
        """What is kept of it: keys, and where the features came from; the response has the features."""
        return Captured(self.keys, self.sources)


class ServedFeatures:
    """Answers requests with the features of one spec, as it was when the endpoint was deployed."""

    model: Model | None = None
    waiting = 0
    """Nobody waits for a model."""
    looks_up = True

    def __init__(self, endpoint: Endpoint, plan: LoadPlan, online: OnlineStore) -> None:
        spec = spec_of(plan)
        keys = key_types(spec, online)
        self._features = OnlineFeatures(online, spec, endpoint.config.missing_keys or "default")
        self._features.check()
        stored = _feature_types(spec, online)
        self._readers = {output: _reader(output, kind) for output, kind in stored.items()}
        self.keys = RequestKeys(keys)
        self.plan, self.may_wait = plan, may_wait(spec, online)
        self.path = _path(spec)
        features = {output: stored_kind(kind) for output, kind in stored.items()}
        self.signature = CallSignature(
            request_columns(spec, keys) | features,
            tuple(dict.fromkeys([*keys, *spec.request_columns])),
            {name: features[name] for name in spec.inputs if name in features},
        )
        self.description = describe(endpoint, plan.entity, keys, ())

    def open(self, calls: Sequence[Call]) -> Sequence[FoundFeatures]:
        """See `Served.open`: look up and compute.

        A feature that a request carries is read in its own type, and wins, null included. Also raises InvalidInput where a function
        fails.
        """
        asked = [Asked(self._typed(body), now) for body, now in calls]
        found = self._features.find_all(asked)
        outputs = found.as_json()
        return [
            FoundFeatures(outputs[begin:end], found.keys[begin:end], found.sources[begin:end])
            for begin, end in spans(asked)
        ]

    def _typed(self, body: Body) -> Sequence[Record]:
        """The records, with the features that they carry in the types that these have in the store."""
        records, carries_none = body.rows.typed(self.signature.columns).records(None), self._readers.keys().isdisjoint
        return [record if carries_none(record) else self._read(record) for record in records]

    def _read(self, record: Record) -> Record:
        return {name: self._readers[name](value) if name in self._readers else value for name, value in record.items()}


def spec_of(plan: LoadPlan) -> FeatureSpec:
    """The spec that a plan carries. Raises InvalidInput where it can't be read."""
    return from_json(plan.feature_spec or "")


def _feature_types(spec: FeatureSpec, online: OnlineStore) -> dict[str, str]:
    """Arrow type name of each feature, in which it is also read where a request carries it itself.

    The types are those of now: publishing a table with other ones takes effect here with the next deployment.
    """
    types: dict[str, str] = {}
    for lookup in spec.lookups:
        table = online.table(TableName.parse(lookup.table_name))
        if table is None:
            continue
        for column in lookup.feature_names or _features(table):
            if column in table.types:
                types[lookup.rename_outputs.get(column, column)] = table.types[column]
    for function in spec.functions:
        types[function.output] = RESULT_NAMES[function.function.returns]
    return types


def _reader(output: str, stored: str) -> Reader:
    # Besides what functions take, the online store holds bytes and columns of nulls.
    return _bytes_reader(output) if family_of(stored) is None else value_reader(output, stored)


def _bytes_reader(output: str) -> Reader:
    def read(value: object) -> object:
        if value is None:
            return None
        try:
            if isinstance(value, str):
                return base64.b64decode(value, validate=True)
        except binascii.Error:
            pass
        raise InvalidInput(
            f"column '{output}' has a value that is not bytes", hint="send its bytes as base64 text", column=output
        )

    return read


def _features(table: OnlineTable) -> list[str]:
    identity = {*table.primary_keys, table.timeseries_column}
    return [name for name in table.types if name not in identity]


def _path(spec: FeatureSpec) -> str:
    """`feature_spec: 5 features from ml.features.customers, ml.functions.ratio v1`, for the endpoint's state."""
    tables = [lookup.table_name for lookup in spec.lookups]
    functions = [f"{each.function.name} v{each.version}" for each in spec.functions]
    features = f"{len(spec.inputs)} feature{'s' * (len(spec.inputs) != 1)}"
    return f"{FEATURE_SPEC}: {features} from {', '.join(dict.fromkeys([*tables, *functions]))}"
