"""The one conversion from stored values to model input, for training, batch scoring and requests alike."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_EXACT_INT = 2**53  # every integer up to here is a float64
_EXACT_SCALE = 22  # 10**22 is the greatest power of ten that is a float64


def model_frame(table: pa.Table, inputs: Sequence[str]) -> pd.DataFrame:
    """The model's input columns, in order.

    Numbers, decimals and booleans become float64 with NaN for null; text becomes objects, `str` or None. A value of
    the frame is what `model_value` makes of the same stored value, to the bit.

    Raises:
        InvalidInput: a column is missing, or of a type that no model takes (times, dates, bytes, lists).
    """
    import pandas as pd

    columns = {name: model_column(table, name) for name in inputs}
    return pd.DataFrame({name: pd.Series(values, dtype=values.dtype) for name, values in columns.items()})


def model_column(table: pa.Table, name: str) -> np.ndarray:
    """One column of `model_frame`: n values, float64 or object."""
    import pyarrow as pa

    if name not in table.column_names:
        raise InvalidInput(f"column '{name}' is missing", hint=did_you_mean(name, table.column_names), column=name)
    column = table.column(name)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if _is_text(kind):
        return np.array([*column.to_pylist(), None], dtype=object)[:-1]  # the extra None keeps numpy from guessing
    if pa.types.is_decimal(kind):
        return _decimals(column)
    if pa.types.is_boolean(kind):
        column = column.cast(pa.uint8())
    elif pa.types.is_null(kind):
        column = column.cast(pa.float64())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise _no_input(name, str(kind))
    # A copy: what comes straight from Arrow is read-only.
    return np.array(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)


def model_value(value: object) -> float | str | None:
    """One stored or sent value as the model sees it; None stays None, which is NaN where the input is a number.

    Raises:
        InvalidInput: a value that no model takes (a time, a list, an object).
    """
    kind = type(value)
    if kind is float or kind is str or value is None:
        return value  # type: ignore[return-value]
    if kind is int or kind is bool or kind is Decimal or isinstance(value, numbers.Real):
        try:
            return float(value)  # type: ignore[arg-type]
        except OverflowError as error:
            raise InvalidInput("a number is too large for a model input", hint="send it within 1e308") from error
    raise _no_input("a value", kind.__name__)


def is_model_type(kind: pa.DataType) -> bool:
    """Whether a column of this type can be a model input."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return bool(number or pa.types.is_boolean(kind) or pa.types.is_null(kind) or _is_text(kind))


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _decimals(column: pa.ChunkedArray) -> np.ndarray:
    import pyarrow as pa
    import pyarrow.compute as pc

    # A quotient of two exact floats is rounded once, so it is float(Decimal) itself; what does not fit goes one by one.
    kind = column.type
    if pa.types.is_decimal128(kind) and 0 <= kind.scale <= _EXACT_SCALE and len(column):
        filled = pc.fill_null(column, pa.scalar(Decimal(0), kind)).combine_chunks()
        words = np.frombuffer(filled.buffers()[1], dtype="<i8")[2 * filled.offset : 2 * (filled.offset + len(filled))]
        low, high = words[0::2], words[1::2]
        if np.all(high == low >> 63) and np.all(np.abs(low) <= _EXACT_INT) and np.all(low != np.iinfo(np.int64).min):
            values: np.ndarray = low.astype(np.float64) / 10.0**kind.scale
            values[column.is_null().to_numpy()] = np.nan
            return values
    return np.array([np.nan if value is None else float(value) for value in column.to_pylist()], dtype=np.float64)


def _no_input(what: str, kind: str) -> InvalidInput:
    named = what if what == "a value" else f"column '{what}'"
    return InvalidInput(
        f"{named} of type {kind} can't be a model input",
        hint="exclude it, or turn it into a number or a text",
        column=what,
        type=kind,
    )
