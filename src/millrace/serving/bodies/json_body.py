"""The four JSON shapes of a scoring request, read into rows. Messages name columns, never the caller's values."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from millrace.core.errors import InvalidInput
from millrace.serving.bodies.body import PLAIN, Body, Envelope, Origin
from millrace.serving.bodies.rows import Columns, Lists, Records, Rows, check_lengths

FORMATS = ("dataframe_split", "dataframe_records", "instances", "inputs")


def read_json(raw: bytes, envelope: Envelope = PLAIN) -> Body:
    """Read a JSON body with exactly one of the four formats. What the body says itself goes before the envelope.

    Raises:
        InvalidInput: not JSON, none or several of the formats, a wrong shape, or no rows.
    """
    try:
        content = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise InvalidInput(
            f"the body is not JSON: line {error.lineno}, column {error.colno}",
            hint='send {"dataframe_records": [{"column": value}]}',
        ) from None
    if not isinstance(content, dict):
        raise InvalidInput("the body is not a JSON object", hint='send {"dataframe_records": [{"column": value}]}')
    given = [name for name in FORMATS if name in content]
    if len(given) != 1:
        found = f"has {' and '.join(given)}" if given else "has none of the input formats"
        raise InvalidInput(f"the body {found}", hint=f"send exactly one of {', '.join(FORMATS)}")
    rows = _READERS[given[0]](content[given[0]])
    if not len(rows):
        raise InvalidInput(f"{given[0]} has no rows", hint="send at least one")
    return Body(rows, _client_request_id(content, envelope), _predict_proba(content, envelope))


def write_json(content: Mapping[str, object], _body: Body, _origin: Origin) -> bytes:
    """The answer as it is."""
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


def _split(content: object) -> Rows:
    if not isinstance(content, dict) or "columns" not in content or "data" not in content:
        raise InvalidInput("dataframe_split needs columns and data", hint='send {"columns": [...], "data": [[...]]}')
    columns, data = content["columns"], content["data"]
    if not isinstance(columns, list) or not {str}.issuperset(map(type, columns)):
        raise InvalidInput("dataframe_split: columns is not a list of names", hint='send "columns": ["a", "b"]')
    if len(set(columns)) < len(columns):
        raise InvalidInput("dataframe_split: a column is named twice", hint="name each column once")
    if not isinstance(data, list) or not {list}.issuperset(map(type, data)):
        raise InvalidInput("dataframe_split: data is not a list of rows", hint='send "data": [[1, 2], [3, 4]]')
    check_lengths(data, len(columns))
    return Lists(columns, data)


def _records(content: object) -> Rows:
    if not isinstance(content, list) or not {dict}.issuperset(map(type, content)):
        raise InvalidInput("dataframe_records is not a list of objects", hint='send [{"column": value}]')
    return Records(content)


def _instances(content: object) -> Rows:
    kinds = set(map(type, content)) if isinstance(content, list) else None
    if isinstance(content, list) and kinds == {dict}:
        return Records(content)
    if isinstance(content, list) and kinds in (set(), {list}):
        if content:
            check_lengths(content, len(content[0]))
        return Lists(None, content)
    raise InvalidInput(
        "instances is neither a list of objects nor a list of rows", hint='send [{"column": value}] or [[1, 2]]'
    )


def _inputs(content: object) -> Rows:
    if isinstance(content, list):
        return _instances(content)
    if not isinstance(content, dict):
        raise InvalidInput("inputs is neither an object of columns nor a list of rows", hint='send {"column": [value]}')
    columns = {name: values if isinstance(values, list) else [values] for name, values in content.items()}
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise InvalidInput(
            f"inputs: columns of different lengths: {min(lengths)} and {max(lengths)}",
            hint="give each column one value a row",
        )
    return Columns(columns) if columns else Records([])


def _client_request_id(content: Mapping[str, object], envelope: Envelope) -> str | None:
    given = content.get("client_request_id", envelope.client_request_id)
    if given is None or isinstance(given, str):
        return given
    raise InvalidInput("client_request_id is not text", hint="send a string")


def _predict_proba(content: Mapping[str, object], envelope: Envelope) -> bool:
    params = content.get("params")
    if params is None:
        return envelope.predict_proba
    if not isinstance(params, dict):
        raise InvalidInput("params is not an object", hint='send {"params": {"predict_proba": true}}')
    if params.keys() - {"predict_proba"}:
        raise InvalidInput("params has what is not known", hint='there is: {"predict_proba": true}')
    asked = params.get("predict_proba", envelope.predict_proba)
    if not isinstance(asked, bool):
        raise InvalidInput("params: predict_proba is neither true nor false", hint="send true or false")
    return asked


_READERS = {"dataframe_split": _split, "dataframe_records": _records, "instances": _instances, "inputs": _inputs}
