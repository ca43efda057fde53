"""Default values, brought to a feature's own type, so that they are the same bits offline and online."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from millrace.core.clock import utc
from millrace.core.errors import InvalidInput

if TYPE_CHECKING:
    import pyarrow as pa


def typed_default(value: object, kind: pa.DataType, name: str) -> object:
    """The default as the column would give it back: a Decimal in its scale, a float32's own value, an aware time.

    Raises:
        InvalidInput: the value does not fit the type.
    """
    import pyarrow as pa

    wrong = InvalidInput(
        f"the default for '{name}' does not fit its type {kind}",
        hint=f"give a value that a {kind} column can hold",
        column=name,
        type=str(kind),
    )
    if value is None or _crosses_family(value, kind):
        raise wrong
    if pa.types.is_decimal(kind):
        value = _decimal(value, kind)
        if value is None:
            raise wrong
    elif pa.types.is_floating(kind):
        value = float(value)  # type: ignore[arg-type]
    elif isinstance(value, datetime):
        value = utc(value) if kind.tz else utc(value).replace(tzinfo=None)
    try:
        made: object = pa.scalar(value, kind).as_py()
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, TypeError, ValueError) as error:
        raise wrong from error
    if pa.types.is_integer(kind) and made != value:  # Arrow cuts fractions off
        raise wrong
    return made


def arrow_type(name: str) -> pa.DataType:
    """The flat Arrow type of that name, as `str()` writes it.

    Raises:
        ValueError: a nested or unknown type.
    """
    import pyarrow as pa

    if name.startswith("decimal"):
        bits, arguments = name[len("decimal") : -1].split("(")
        precision, scale = (int(part) for part in arguments.split(","))
        return (pa.decimal256 if bits == "256" else pa.decimal128)(precision, scale)
    if name.startswith("timestamp"):
        unit, _, zone = name[len("timestamp[") : -1].partition(", tz=")
        return pa.timestamp(unit, zone or None)
    return pa.type_for_alias(name.removesuffix("[day]").removesuffix("[ms]"))


def _crosses_family(value: object, kind: pa.DataType) -> bool:
    import pyarrow as pa

    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if isinstance(value, bool) or pa.types.is_boolean(kind):
        return not (isinstance(value, bool) and pa.types.is_boolean(kind))
    if isinstance(value, (int, float, Decimal)) or number:
        return not (number and isinstance(value, (int, float, Decimal)))
    return isinstance(value, datetime) is not bool(pa.types.is_timestamp(kind))


def _decimal(value: object, kind: pa.DataType) -> Decimal | None:
    exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)  # type: ignore[arg-type]
    rounded = exact.quantize(Decimal(1).scaleb(-kind.scale)) if exact.is_finite() else None
    return rounded if rounded == exact else None
