"""Keys as a request sends them, checked against the key's stored type: compared as they are, never converted."""

from __future__ import annotations

import base64
import binascii
import numbers
from collections.abc import Callable
from decimal import Decimal
from typing import TypeAlias

from millrace.core.errors import InvalidInput
from millrace.features.identity import key_family_of
from millrace.features.sent import read_boolean, read_date, read_decimal, read_text, read_time

KeyReader: TypeAlias = Callable[[object], object]


def key_reader(column: str, stored: str) -> KeyReader:
    """A function from a sent value to the key's value; null stays None.

    JSON has no dates, times, decimals and bytes: they are read from text (ISO 8601, digits, base64).

    Args:
        column: the request column, for messages.
        stored: Arrow type name of the key in its table.
    """
    family = key_family_of(stored)
    read = _READ[family or "null"]

    def reader(value: object) -> object:
        if value is None:
            return None
        try:
            return read(value)
        except (TypeError, ValueError, ArithmeticError, binascii.Error) as error:
            raise InvalidInput(
                f"key '{column}' is not {_KINDS[family or 'null']}",
                hint=f"send {_WANTED[family or 'null']}",
                column=column,
            ) from error

    return reader


def _integer(value: object) -> int:
    if type(value) is int:
        return value
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError
    return int(value)


def _decimal(value: object) -> Decimal:
    return Decimal(_integer(value)) if isinstance(value, numbers.Integral) else read_decimal(value)


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else base64.b64decode(read_text(value), validate=True)


_READ: dict[str, KeyReader] = {
    "integer": _integer,
    "text": read_text,
    "boolean": read_boolean,
    "date": read_date,
    "timestamp": read_time,
    "decimal": _decimal,
    "binary": _bytes,
    "null": lambda _: None,
}
_KINDS = {
    "integer": "a whole number",
    "text": "a text",
    "boolean": "true or false",
    "date": "a date",
    "timestamp": "a time",
    "decimal": "a decimal number",
    "binary": "base64",
    "null": "null",
}
_WANTED = {
    "integer": "a whole number, without quotes or a decimal point",
    "text": "a text, in quotes",
    "boolean": "true or false",
    "date": "a date as 2025-03-01",
    "timestamp": "a time as 2025-03-01T06:00:00Z",
    "decimal": "its digits as a text",
    "binary": "its bytes as base64 text",
    "null": "null",
}
