"""The values that feature functions are given and give back: the same on every path, checked at both ends."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, TypeAlias

from millrace.core.clock import from_epoch_us, iso, utc
from millrace.core.errors import InvalidInput
from millrace.features.defaults import arrow_type
from millrace.features.sent import read_boolean, read_date, read_decimal, read_text, read_time
from millrace.features.type_names import decimal_scale, float_bits, type_family
from millrace.features.types import Parameter, ScalarType

if TYPE_CHECKING:
    import pyarrow as pa

Reader: TypeAlias = Callable[[object], object]

_SCALE = 18
_EXACT_INT = 2**53  # JSON senders write whole numbers up to here as 5 or as 5.0
_WHOLE_DIGITS = 38 - _SCALE
_NUMBERS = frozenset({int, float})
_INT64 = range(-(2**63), 2**63)

RESULT_NAMES: Mapping[ScalarType, str] = {
    "float": "double",
    "int": "int64",
    "str": "string",
    "bool": "bool",
    "date": "date32[day]",
    "datetime": "timestamp[us, tz=UTC]",
    "Decimal": f"decimal128(38, {_SCALE})",
}
"""The Arrow type name of a function's column."""
_SCALARS: Mapping[str | None, ScalarType] = {
    "float": "float",
    "integer": "int",
    "text": "str",
    "boolean": "bool",
    "date": "date",
    "timestamp": "datetime",
    "decimal": "Decimal",
}
_FAMILIES: Mapping[ScalarType, frozenset[str]] = {
    "float": frozenset({"float", "int"}),
    "int": frozenset({"int"}),
    "str": frozenset({"str"}),
    "bool": frozenset({"bool"}),
    "date": frozenset({"date"}),
    "datetime": frozenset({"datetime"}),
    "Decimal": frozenset({"Decimal", "int"}),
}


def result_type(kind: ScalarType) -> pa.DataType:
    """The Arrow type of a function's column."""
    return arrow_type(RESULT_NAMES[kind])


def family(kind: pa.DataType) -> ScalarType | None:
    """What a column's type is to a function; None: functions don't take it."""
    import pyarrow as pa

    return family_of(str(kind.value_type if pa.types.is_dictionary(kind) else kind))


def family_of(name: str) -> ScalarType | None:
    """The same for the name of a flat type."""
    return _SCALARS.get(type_family(name))


def takes(parameter: Parameter, kind: pa.DataType) -> bool:
    """Whether a column of this type can be bound to the parameter.

    That is one of its own family; of whole numbers also where a float or a Decimal is wanted; of nulls anywhere.
    """
    import pyarrow as pa

    return bool(pa.types.is_null(kind)) or family(kind) in _FAMILIES[parameter.type]


def stored_type(parameter: Parameter, kind: pa.DataType) -> str:
    """The Arrow type name that a bound column's values are read as; the parameter's own where the column has only nulls."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_null(kind):
        return RESULT_NAMES[parameter.type]
    return str(kind)


def value_reader(column: str, stored: str, parameter: Parameter | None = None) -> Reader:
    """A function from a value, stored or sent as JSON, to the value that a column of this type holds; null stays None.

    JSON has no dates, times and decimals: they are read from text (ISO 8601, digits). Times come out aware in UTC,
    decimals in the column's scale, floats in its precision.

    Args:
        column: for messages.
        stored: Arrow type name.
        parameter: where it wants a float or a Decimal, a whole number becomes one.
    """
    read, kind = _reader(stored), family_of(stored)
    wanted = _SENT[kind or "str"]
    widen = _WIDEN.get(parameter.type) if parameter and kind == "int" else None

    def reader(value: object) -> object:
        if value is None:
            return None
        try:
            return read(value) if widen is None else widen(read(value))
        except (TypeError, ValueError, InvalidOperation, OverflowError) as error:
            raise InvalidInput(
                f"column '{column}' has a {type(value).__name__}, not a {stored}",
                hint=f"send {wanted}",
                column=column,
            ) from error

    return reader


def column_values(column: pa.ChunkedArray, read: Reader) -> list[object]:
    """What `read` makes of each value of a column.

    Raises:
        InvalidInput: a time with nanoseconds that would be lost.
    """
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not pa.types.is_timestamp(column.type):
        return [read(value) for value in column.to_pylist()]
    try:
        # By way of whole numbers: what is said of time zones is UTC already, and Arrow's own zones are slow.
        moments = column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64()).to_pylist()
    except pa.ArrowInvalid as error:
        raise InvalidInput(
            "a column that a function reads has times that microseconds can't hold",
            hint="round its times to microseconds first",
        ) from error
    return [None if moment is None else read(from_epoch_us(moment)) for moment in moments]


def checked(kind: ScalarType, value: object) -> object:
    """A function's result in the one form that its type has.

    A whole number becomes a float where that is promised, a decimal has 18 digits after the point, a time is in UTC.

    Raises:
        TypeError: another type. ValueError: the type can't hold it.
    """
    return _CHECKS[kind](value)


def json_value(value: object) -> object:
    """A value as JSON has it: times and dates in ISO 8601, decimals as digits in a text, bytes in base64, NaN as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value


def json_values(values: Sequence[object]) -> Sequence[object]:
    """`json_value` of each: the values themselves where they are all finite numbers."""
    try:
        # Of numbers and booleans only is it a float or an int, and finite only where they all are.
        total = sum(values)  # type: ignore[arg-type]
        if type(total) in _NUMBERS and math.isfinite(total):
            return values
    except (TypeError, ArithmeticError):
        pass
    return [json_value(value) for value in values]


def _reader(stored: str) -> Reader:
    name = family_of(stored)
    if name == "Decimal":
        scale = decimal_scale(stored)
        return lambda value: _in_scale(read_decimal(value), scale)
    if name == "float":
        return _READ_FLOAT[float_bits(stored)]
    if name is None:
        raise InvalidInput(f"a {stored} column can't be given to a function", hint="bind another column")
    return _READ[name]


def _integer(value: object) -> int:
    if type(value) is int:
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT_INT:
        return int(value)
    raise TypeError


def _double(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise TypeError


def _packed(code: str) -> Reader:
    def read(value: object) -> float:
        number = _double(value)
        try:
            (rounded,) = struct.unpack(code, struct.pack(code, number))
        except OverflowError:
            return math.copysign(math.inf, number)
        return float(rounded)

    return read


def _in_scale(value: Decimal, scale: int) -> Decimal:
    """In that many digits after the point, where that is the same number."""
    if not value.is_finite():
        raise ValueError
    moved = _scaled(value, scale)
    return value if moved is None else moved


def _scaled(value: Decimal, scale: int) -> Decimal | None:
    # By its digits, so that the thread's decimal context has no say. None: it has more digits than that.
    sign, digits, exponent = value.as_tuple()
    shift = scale + int(exponent)
    if shift < 0 and any(digits[shift:]):
        return None
    return Decimal((sign, digits + (0,) * shift if shift >= 0 else digits[:shift] or (0,), -scale))


def _result_int(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        if value not in _INT64:
            raise ValueError
        return int(value)
    raise TypeError


def _result_text(value: object) -> str:
    text = read_text(value)
    if not text.isascii():
        text.encode()  # half of a surrogate pair is no text: UnicodeEncodeError is a ValueError
    return text


def _result_date(value: object) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    raise TypeError


def _result_time(value: object) -> datetime:
    if isinstance(value, datetime):
        return utc(value)
    raise TypeError


def _result_decimal(value: object) -> Decimal:
    if not isinstance(value, Decimal):
        raise TypeError
    if not value.is_finite() or (value and value.adjusted() >= _WHOLE_DIGITS):
        raise ValueError
    moved = _scaled(value, _SCALE) if value else Decimal((0, (0,), -_SCALE))
    if moved is None:
        raise ValueError
    return moved


_READ_FLOAT: Mapping[int, Reader] = {16: _packed("<e"), 32: _packed("<f"), 64: _double}
_WIDEN: Mapping[ScalarType, Callable[..., object]] = {"float": float, "Decimal": Decimal}
_READ: Mapping[str, Reader] = {
    "int": _integer,
    "str": read_text,
    "bool": read_boolean,
    "date": read_date,
    "datetime": read_time,
}
_SENT: Mapping[str, str] = {
    "float": "a number",
    "int": "a whole number",
    "str": "a text",
    "bool": "true or false",
    "date": "a date as 2025-03-01",
    "datetime": "a time as 2025-03-01T06:00:00Z",
    "Decimal": "its digits as a text",
}
_CHECKS: Mapping[ScalarType, Reader] = {
    "float": _double,
    "int": _result_int,
    "str": _result_text,
    "bool": read_boolean,
    "date": _result_date,
    "datetime": _result_time,
    "Decimal": _result_decimal,
}
