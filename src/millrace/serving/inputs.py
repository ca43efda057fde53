"""Request and feature values to model inputs, checked against the model's signature."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from millrace.core.errors import InvalidInput
from millrace.features.matrix import model_value

_WHOLE_NUMBERS = {"integer", "long"}
_TEXTS = {"string", "datetime"}
_Reader = Callable[[object], object]


class InputReader:
    """Turns values into what predictors take: floats (missing is NaN) and texts (missing is None), in input order.

    Args:
        inputs: (column, MLflow type name) of the model's signature. Whole-number columns need whole numbers and a value;
            they travel as floats, so above 2**53 they are not exact.
    """

    def __init__(self, inputs: Sequence[tuple[str, str]]) -> None:
        self.columns = tuple(name for name, _ in inputs)
        self.types = tuple((name, "string" if kind in _TEXTS else "double") for name, kind in inputs)
        self._readers = tuple((name, _reader(name, kind)) for name, kind in inputs)

    def from_record(self, record: Mapping[str, object]) -> list[object]:
        """Read the inputs out of a request row; further columns are ignored.

        Raises:
            InvalidInput: a missing column or a value of the wrong type; the message names the column.
        """
        try:
            return [read(record[name]) for name, read in self._readers]
        except KeyError as error:
            raise InvalidInput(
                f"column '{error.args[0]}' is missing", hint=f"send {', '.join(self.columns)}", column=error.args[0]
            ) from None

    def from_values(self, values: Sequence[object]) -> list[object]:
        """Read values that are in input order.

        Raises:
            InvalidInput: a value of the wrong type; the message names the column.
        """
        return [read(value) for (_, read), value in zip(self._readers, values, strict=True)]


def _reader(name: str, kind: str) -> _Reader:
    if kind in _TEXTS:
        return lambda value: _text(name, value)
    if kind in _WHOLE_NUMBERS or kind == "boolean":
        return lambda value: _whole(name, value)
    return lambda value: value if type(value) is float else _number(name, value)


def _number(name: str, value: object) -> float:
    if value is None:
        return math.nan
    try:
        converted = model_value(value)
    except InvalidInput:
        raise _wrong(name, "a number") from None
    if isinstance(converted, float):
        return converted
    raise _wrong(name, "a number")


def _whole(name: str, value: object) -> float:
    number = _number(name, value)
    if math.isfinite(number) and number.is_integer():
        return number
    raise _wrong(name, "a whole number")


def _text(name: str, value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise _wrong(name, "text")


def _wrong(name: str, wanted: str) -> InvalidInput:
    return InvalidInput(f"column '{name}' has a value that is not {wanted}", hint=f"send {wanted}", column=name)
