"""Open Inference Protocol v2: tensors in, tensors out. Messages name inputs by their place, never the caller's values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Final

import numpy as np
import orjson

from millrace.core.errors import InvalidInput
from millrace.serving.bodies.body import PLAIN, Body, Envelope, Origin
from millrace.serving.bodies.rows import Columns, Lists

_Values = np.ndarray | list[object]
_EXAMPLE = 'send {"inputs": [{"name": "column", "shape": [1], "datatype": "FP64", "data": [1.5]}]}'
_FLOATS = {"FP16": np.float16, "FP32": np.float32, "FP64": np.float64}
_WHOLE = {f"{sign}INT{bits}": np.dtype(f"{sign}int{bits}".lower()) for sign in ("", "U") for bits in (8, 16, 32, 64)}
_DATATYPES: Final = (*_FLOATS, *_WHOLE, "BOOL", "BYTES")
# Our names to the protocol's.
_OUTPUTS = {"predictions": "predict", "probabilities": "predict_proba"}
_DIMENSIONS = (1, 2)


def read_v2(raw: bytes, envelope: Envelope = PLAIN) -> Body:
    """Read an inference request: a tensor for each column, [n] or [n, 1], or one tensor [n, k] in the model's order.

    Values of FP16 and FP32 are rounded to what these hold. Null is a missing number or text.

    Raises:
        InvalidInput: not JSON of this form, data that does not fit its shape or datatype, or no rows.
    """
    content = _json_object(raw)
    tensors = content.get("inputs")
    if not isinstance(tensors, list) or not tensors or not all(isinstance(tensor, dict) for tensor in tensors):
        raise InvalidInput("inputs is not a list of tensors", hint=_EXAMPLE)
    read = [_tensor(f"inputs[{place}]", tensor) for place, tensor in enumerate(tensors)]
    outputs = _outputs(content.get("outputs"))
    proba = "predict_proba" in outputs or _asks_for_probabilities(content, envelope)
    rows = _matrix(read[0][1], read[0][2]) if len(read) == 1 and _width(read[0][1]) > 1 else _columns(read)
    return Body(rows, _id(content, envelope), proba, outputs)


def write_v2(content: Mapping[str, object], body: Body, origin: Origin) -> bytes:
    """An inference answer with one tensor for each output.

    Raises:
        InvalidInput: the request asks for an output that there is not.
    """
    tensors = _answers(content)
    asked = body.outputs or tuple(tensors)
    if not set(asked) <= tensors.keys():
        more = " (and predict_proba, of a classifier)" if "predict" in tensors else ""
        raise InvalidInput("outputs names what this model does not give", hint=f"there is: {', '.join(tensors)}{more}")
    told: dict[str, object] = {"model_name": origin.endpoint}
    if origin.version is not None:
        told["model_version"] = origin.version
    if body.client_request_id is not None:
        told["id"] = body.client_request_id
    told["outputs"] = [_written(name, tensors[name]) for name in asked]
    return orjson.dumps(told, option=orjson.OPT_SERIALIZE_NUMPY)


def error_v2(_code: str, message: str) -> bytes:
    """An error in the protocol's shape."""
    return orjson.dumps({"error": message})


def datatype_of(values: Sequence[object]) -> str:
    """The protocol's name for the type of these values, nulls aside; BYTES for what is neither number nor boolean."""
    types = {type(value) for value in values} - {type(None)}
    if types == {bool}:
        return "BOOL"
    if types == {int}:
        return "INT64"
    return "FP64" if types and types <= {int, float} else "BYTES"


def _json_object(raw: bytes) -> dict[str, object]:
    try:
        content = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(
            f"the body is not JSON: line {error.lineno}, column {error.colno}; tensors in binary are not read",
            hint=_EXAMPLE,
        ) from None
    if not isinstance(content, dict):
        raise InvalidInput("the body is not a JSON object", hint=_EXAMPLE)
    return content


def _tensor(place: str, tensor: Mapping[str, object]) -> tuple[str, list[int], _Values]:
    name, shape, datatype = tensor.get("name"), tensor.get("shape"), tensor.get("datatype")
    if not isinstance(name, str):
        raise InvalidInput(f"{place} has no name", hint="name the column")
    if not isinstance(shape, list) or not all(type(size) is int and size > 0 for size in shape):
        raise InvalidInput(f"{place}: shape is not a list of positive whole numbers", hint="send [rows]")
    if len(shape) not in _DIMENSIONS:
        raise InvalidInput(f"{place} has {len(shape)} dimensions", hint="send [rows], or one tensor [rows, columns]")
    if not isinstance(datatype, str) or datatype not in _DATATYPES:
        raise InvalidInput(f"{place} has no known datatype", hint=f"there are: {', '.join(_DATATYPES)}")
    return name, shape, _typed(place, datatype, _flat(place, tensor.get("data"), shape))


def _flat(place: str, data: object, shape: Sequence[int]) -> list[object]:
    """The values in row-major order, sent nested or flat."""
    if not isinstance(data, list):
        raise InvalidInput(f"{place} has no data", hint="send its values as JSON, in row-major order")
    fits = len(data) == shape[0]
    if len(shape) > 1 and fits and all(isinstance(row, list) for row in data):
        fits = all(len(row) == shape[1] for row in data)
        data = list(chain.from_iterable(data))
    elif len(shape) > 1:
        fits = len(data) == shape[0] * shape[1]
    if not fits:
        raise InvalidInput(f"{place}: data does not fit its shape", hint="send as many values as the shape says")
    return data


def _typed(place: str, datatype: str, values: list[object]) -> _Values:
    types = set(map(type, values))
    if datatype in _FLOATS and types <= {int, float, type(None)}:
        return _floats(place, datatype, values)
    if datatype in _WHOLE and types == {int}:
        try:
            return np.array(values, dtype=_WHOLE[datatype])
        except OverflowError:
            pass
    elif (datatype == "BOOL" and types == {bool}) or (datatype == "BYTES" and types <= {str, type(None)}):
        return np.array(values) if datatype == "BOOL" else values
    raise _wrong(place, datatype)


def _floats(place: str, datatype: str, values: list[object]) -> np.ndarray:
    try:
        doubles = np.array(values, dtype=np.float64)
    except OverflowError:
        raise _wrong(place, datatype) from None
    with np.errstate(over="ignore"):
        return doubles.astype(_FLOATS[datatype]).astype(np.float64)


def _wrong(place: str, datatype: str) -> InvalidInput:
    return InvalidInput(f"{place} has a value that is no {datatype}", hint="send values of its datatype")


def _width(shape: Sequence[int]) -> int:
    return shape[1] if len(shape) > 1 else 1


def _matrix(shape: Sequence[int], values: _Values) -> Lists:
    if isinstance(values, np.ndarray):
        return Lists(None, values.reshape(tuple(shape)))
    return Lists(None, [values[at : at + shape[1]] for at in range(0, len(values), shape[1])])


def _columns(tensors: Sequence[tuple[str, list[int], _Values]]) -> Columns:
    if len({shape[0] for _, shape, _ in tensors}) > 1 or any(_width(shape) > 1 for _, shape, _ in tensors):
        raise InvalidInput("inputs are not of one length", hint="send one tensor [rows] for each column")
    columns = {name: values for name, _, values in tensors}
    if len(columns) < len(tensors):
        raise InvalidInput("two inputs have one name", hint="name each column once")
    return Columns(columns)


def _outputs(asked: object) -> tuple[str, ...]:
    if asked is None:
        return ()
    names = [each.get("name") for each in asked if isinstance(each, dict)] if isinstance(asked, list) else []
    texts = [name for name in names if isinstance(name, str)]
    if not isinstance(asked, list) or len(texts) < len(asked) or len(set(texts)) < len(texts):
        raise InvalidInput("outputs is not a list of different names", hint='send "outputs": [{"name": "predict"}]')
    return tuple(texts)


def _asks_for_probabilities(content: Mapping[str, object], envelope: Envelope) -> bool:
    parameters = content.get("parameters")
    # Others put their own things here: what is not known is left alone, as the protocol says.
    if not isinstance(parameters, dict | None):
        raise InvalidInput("parameters is not an object", hint='send {"parameters": {"predict_proba": true}}')
    asked = (parameters or {}).get("predict_proba", envelope.predict_proba)
    if isinstance(asked, bool):
        return asked
    raise InvalidInput("parameters: predict_proba is neither true nor false", hint="send true or false")


def _id(content: Mapping[str, object], envelope: Envelope) -> str | None:
    given = content.get("id", envelope.client_request_id)
    if given is None or isinstance(given, str):
        return given
    raise InvalidInput("id is not text", hint="send a string")


def _answers(content: Mapping[str, object]) -> dict[str, Sequence[object]]:
    """The outputs by name: of rows that are objects, each of their columns."""
    tensors: dict[str, Sequence[object]] = {}
    for name, values in content.items():
        rows = list(values)  # type: ignore[call-overload]
        if rows and all(isinstance(row, dict) for row in rows):
            tensors |= {column: [row.get(column) for row in rows] for column in rows[0]}
        else:
            tensors[_OUTPUTS.get(name, name)] = rows
    return tensors


def _written(name: str, values: Sequence[object]) -> dict[str, object]:
    shape, flat = [len(values)], values
    if values and all(isinstance(value, list) for value in values):
        widths = {len(value) for value in values if isinstance(value, list)}
        if len(widths) == 1:
            shape, flat = [len(values), *widths], list(chain.from_iterable(values))  # type: ignore[arg-type]
    datatype = datatype_of(flat)
    if datatype == "BYTES":
        flat = [_text(value) for value in flat]
    return {"name": name, "shape": shape, "datatype": datatype, "data": flat}


def _text(value: object) -> str | None:
    return value if value is None or isinstance(value, str) else orjson.dumps(value, default=str).decode()
