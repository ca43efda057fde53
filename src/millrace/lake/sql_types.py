"""Column types by the names that SQL gives them: `bigint`, `decimal(18,2)`, `array<string>`."""

from __future__ import annotations

import re

import pyarrow as pa

from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean

TIMESTAMP = pa.timestamp("us", tz="UTC")

_BY_NAME = {
    "tinyint": pa.int8(),
    "smallint": pa.int16(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "string": pa.string(),
    "binary": pa.binary(),
    "date": pa.date32(),
    "timestamp": TIMESTAMP,
}
_ALSO = {
    "integer": "int",
    "long": "bigint",
    "short": "smallint",
    "byte": "tinyint",
    "bool": "boolean",
    "text": "string",
}
_NAMES = {arrow: name for name, arrow in _BY_NAME.items()}
_DECIMAL = re.compile(r"decimal\(\s*(\d{1,2})\s*,\s*(\d{1,2})\s*\)")
_MOST_DIGITS = 38


def parse_type(text: str) -> pa.DataType:
    """The Arrow type of a SQL type name; `decimal(p,s)` with at most 38 digits. Case does not matter.

    Raises:
        InvalidInput: no such type; the hint names the nearest.
    """
    name = text.strip().lower()
    if decimal := _DECIMAL.fullmatch(name):
        digits, scale = int(decimal[1]), int(decimal[2])
        if 1 <= digits <= _MOST_DIGITS and scale <= digits:
            return pa.decimal128(digits, scale)
        raise InvalidInput(f"'{text}' is not a decimal type", hint="write decimal(p,s) with s <= p <= 38")
    known = _BY_NAME.get(_ALSO.get(name, name))
    if known is None:
        raise InvalidInput(f"'{text}' is not a column type", hint=did_you_mean(name, [*_BY_NAME, "decimal(18,2)"]))
    return known


def type_name(arrow: pa.DataType) -> str:
    """The SQL name of an Arrow type; Arrow's own name where SQL has none."""
    if pa.types.is_decimal(arrow):
        return f"decimal({arrow.precision},{arrow.scale})"
    if pa.types.is_list(arrow):
        return f"array<{type_name(arrow.value_type)}>"
    if pa.types.is_map(arrow):
        return f"map<{type_name(arrow.key_type)},{type_name(arrow.item_type)}>"
    if pa.types.is_struct(arrow):
        return f"struct<{','.join(f'{field.name}:{type_name(field.type)}' for field in arrow)}>"
    return _NAMES.get(arrow, str(arrow))
