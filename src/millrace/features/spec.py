"""A feature spec as JSON: it travels inside the model, so it must come back exactly."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal

from millrace.core.clock import epoch_us, from_epoch_us
from millrace.core.errors import InvalidInput
from millrace.features.functions.entries import bound_in, bound_out
from millrace.features.types import FeatureLookup, FeatureSpec

_FORMAT = 2  # 1 where there are no functions: what reads only that reads it as before
_US = timedelta(microseconds=1)


def to_json(spec: FeatureSpec) -> str:
    """The spec as one line of JSON, the same text for equal specs."""
    body: dict[str, object] = {
        "format": _FORMAT if spec.functions else 1,
        "lookups": [_lookup_out(lookup) for lookup in spec.lookups],
        "label": spec.label,
        "exclude": list(spec.exclude),
        "inputs": list(spec.inputs),
        "request_columns": list(spec.request_columns),
    }
    if spec.functions:
        body["functions"] = [bound_out(function) for function in spec.functions]
    return json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)


def from_json(text: str) -> FeatureSpec:
    """The spec that `to_json` wrote.

    Raises:
        InvalidInput: it is not a feature spec, or one of a newer format.
    """
    try:
        body = json.loads(text)
        if body["format"] > _FORMAT:
            raise InvalidInput(
                f"the feature spec has format {body['format']}, newer than this program's {_FORMAT}",
                hint="use the millrace that logged the model, or a later one",
            )
        return FeatureSpec(
            lookups=tuple(_lookup_in(lookup) for lookup in body["lookups"]),
            label=body["label"],
            exclude=tuple(body["exclude"]),
            inputs=tuple(body["inputs"]),
            request_columns=tuple(body["request_columns"]),
            functions=tuple(bound_in(function) for function in body.get("functions", ())),
        )
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise InvalidInput("this is not a feature spec", hint="log the model with its training set again") from error


def _lookup_out(lookup: FeatureLookup) -> dict[str, object]:
    return {
        "table_name": lookup.table_name,
        "lookup_key": list(lookup.keys),
        "feature_names": None if lookup.feature_names is None else list(lookup.feature_names),
        "rename_outputs": dict(lookup.rename_outputs),
        "timestamp_lookup_key": lookup.timestamp_lookup_key,
        "lookback_us": None if lookup.lookback_window is None else lookup.lookback_window // _US,
        "default_values": {name: _value_out(value) for name, value in lookup.default_values.items()},
    }


def _lookup_in(body: Mapping[str, object]) -> FeatureLookup:
    keys, names, lookback = body["lookup_key"], body["feature_names"], body["lookback_us"]
    return FeatureLookup(
        table_name=str(body["table_name"]),
        lookup_key=tuple(keys),  # type: ignore[arg-type]
        feature_names=None if names is None else tuple(names),  # type: ignore[arg-type]
        rename_outputs=dict(body["rename_outputs"]),  # type: ignore[call-overload]
        timestamp_lookup_key=body["timestamp_lookup_key"],  # type: ignore[arg-type]
        lookback_window=None if lookback is None else lookback * _US,  # type: ignore[operator]
        default_values={name: _value_in(value) for name, value in body["default_values"].items()},  # type: ignore[attr-defined]
    )


def _value_out(value: object) -> object:
    """JSON as it is, or one tagged value: `{"decimal": "1.50"}`."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return {"float": repr(value)}
        case Decimal():
            return {"decimal": str(value)}
        case datetime():
            return {"naive_us" if value.tzinfo is None else "utc_us": epoch_us(value)}
        case date():
            return {"date": value.isoformat()}
        case bytes():
            return {"bytes": base64.b64encode(value).decode()}
        case _:
            raise InvalidInput(
                f"a default value of type {type(value).__name__} can't be stored",
                hint="give a number, a text, a boolean, a date or a time",
            )


_READ: dict[str, Callable[[str], object]] = {
    "float": float,
    "decimal": Decimal,
    "date": date.fromisoformat,
    "bytes": base64.b64decode,
    "utc_us": lambda us: from_epoch_us(int(us)),
    "naive_us": lambda us: from_epoch_us(int(us)).replace(tzinfo=None),
}


def _value_in(value: object) -> object:
    if not isinstance(value, dict):
        return value
    ((tag, text),) = value.items()
    return _READ[tag](text)
