"""Request and feature values to model inputs, checked against the model's signature."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from millrace.core.errors import InvalidInput
from millrace.features.matrix import model_value
from millrace.features.sent import read_time
from millrace.serving.bodies.rows import Rows, ValueKind, numeric

# From and to, as floats have them.
_WHOLE_NUMBERS = {"integer": (-(2.0**31), 2.0**31 - 1), "long": (-(2.0**63), 2.0**63 - 1024), "boolean": (0.0, 1.0)}
_BITS = {-(2.0**31): 32, -(2.0**63): 64}
_TEXTS = {"string", "datetime"}
_Reader = Callable[[object], object]


# Not frozen: one is made for each request, and freezing triples what that takes.
@dataclass(slots=True)
class Inputs:
    """What a model is given for n rows.

    Attributes:
        numbers: n x k float64, missing is NaN: the numeric inputs, in the model's order.
        texts: the text inputs, in the model's order, each n values, missing is None.
    """

    numbers: np.ndarray
    texts: tuple[Sequence[str | None], ...] = ()

    def __len__(self) -> int:
        """How many rows."""
        return len(self.numbers)

    def slice(self, first: int, last: int) -> Inputs:
        """The rows from `first` up to and without `last`."""
        return Inputs(self.numbers[first:last], tuple(column[first:last] for column in self.texts))


class InputReader:
    """Turns rows into model inputs.

    Args:
        inputs: (column, MLflow type name) of the model's signature. Whole-number columns need whole numbers and a value;
            they travel as floats, so above 2**53 they are not exact.
    """

    def __init__(self, inputs: Sequence[tuple[str, str]]) -> None:
        self.columns = tuple(name for name, _ in inputs)
        self.types = tuple((name, "string" if is_text(kind) else "double") for name, kind in inputs)
        self._readers = tuple((name, _reader(name, kind)) for name, kind in inputs)
        self._all_numbers = not any(is_text(kind) for _, kind in inputs)
        self._whole = [place for place, (_, kind) in enumerate(inputs) if kind in _WHOLE_NUMBERS]
        bounds = np.array([_WHOLE_NUMBERS[inputs[place][1]] for place in self._whole]).reshape(-1, 2)
        self._lowest, self._highest = bounds.T

    def read(self, rows: Rows) -> Inputs:
        """The inputs out of a request's rows; further columns are ignored.

        Raises:
            InvalidInput: a missing column or a value of the wrong type; the message names the column.
        """
        if self._all_numbers:
            matrix = rows.matrix(self.columns)
            if matrix is not None and self._are_whole(matrix):
                return Inputs(matrix)
        return self._joined([self._record(record) for record in rows.records(self.columns)])

    def from_columns(self, numbers: np.ndarray, others: Mapping[int, Sequence[object]]) -> Inputs:
        """The inputs from columns in input order.

        Args:
            numbers: n x inputs float64, missing is NaN.
            others: position to n values that stand in place of the column in `numbers`.

        Raises:
            InvalidInput: a value of the wrong type; the message names the column.
        """
        if self._all_numbers and _write(numbers, others) and self._are_whole(numbers):
            return Inputs(numbers)
        columns: list[Sequence[object]] = numbers.T.tolist()
        for position, column in others.items():
            columns[position] = column
        return self.from_values(list(zip(*columns, strict=True)))

    def from_values(self, rows: Sequence[Sequence[object]]) -> Inputs:
        """The inputs from rows of values that are in input order.

        Raises:
            InvalidInput: a value of the wrong type; the message names the column.
        """
        if self._all_numbers:
            matrix = numeric(rows)
            if matrix is not None and self._are_whole(matrix):
                return Inputs(matrix)
        readers = self._readers
        return self._joined([[read(value) for (_, read), value in zip(readers, row, strict=True)] for row in rows])

    def _record(self, record: Mapping[str, object]) -> list[object]:
        try:
            return [read(record[name]) for name, read in self._readers]
        except KeyError as error:
            raise InvalidInput(
                f"column '{error.args[0]}' is missing", hint=f"send {', '.join(self.columns)}", column=error.args[0]
            ) from None

    def _are_whole(self, matrix: np.ndarray) -> bool:
        if not self._whole:
            return True
        asked = matrix[:, self._whole]
        # What is missing is in no range.
        within = (asked >= self._lowest) & (asked <= self._highest)
        return bool(np.all(within) and np.all(asked == np.rint(asked)))

    def _joined(self, rows: Sequence[Sequence[object]]) -> Inputs:
        return join_inputs(rows, self.types)


def joined(parts: Sequence[Inputs]) -> Inputs:
    """The rows of several inputs, one after the other; at least one."""
    if len(parts) == 1:
        return parts[0]
    texts = zip(*(each.texts for each in parts), strict=True)
    return Inputs(
        np.concatenate([each.numbers for each in parts]),
        tuple([value for column in columns for value in column] for columns in texts),
    )


def join_inputs(rows: Sequence[Sequence[object]], types: Sequence[tuple[str, str]]) -> Inputs:
    """Rows of values in input order, floats and texts, as inputs; `types` has (column, `double` or `string`)."""
    numbers = [place for place, (_, kind) in enumerate(types) if kind == "double"]
    texts = [place for place, (_, kind) in enumerate(types) if kind == "string"]
    matrix = np.array([[row[place] for place in numbers] for row in rows], dtype=np.float64)
    return Inputs(
        matrix.reshape(len(rows), len(numbers)),
        tuple([row[place] for row in rows] for place in texts),  # type: ignore[misc]
    )


def split_inputs(inputs: Inputs, types: Sequence[tuple[str, str]]) -> list[list[object]]:
    """The other way: rows of values in input order."""
    if not inputs.texts:
        return inputs.numbers.tolist()  # type: ignore[no-any-return]
    numbers, texts = iter(inputs.numbers.T.tolist()), iter(inputs.texts)
    columns = [next(numbers) if kind == "double" else next(texts) for _, kind in types]
    return [list(row) for row in zip(*columns, strict=True)]


def kind_of(kind: str) -> ValueKind:
    """What the values of a column of this MLflow type are."""
    if is_text(kind):
        return "text"
    if kind == "boolean":
        return "boolean"
    return "whole" if kind in _WHOLE_NUMBERS else "number"


def is_text(kind: str) -> bool:
    """Whether inputs of this MLflow type travel as text."""
    return kind in _TEXTS


def _write(numbers: np.ndarray, columns: Mapping[int, Sequence[object]]) -> bool:
    """Put these columns into the matrix; False where one has a value that is no plain number."""
    for position, column in columns.items():
        made = numeric([column])
        if made is None:
            return False
        numbers[:, position] = made[0]
    return True


def _reader(name: str, kind: str) -> _Reader:
    if kind == "datetime":
        return lambda value: _moment(name, value)
    if is_text(kind):
        return lambda value: _text(name, value)
    if kind in _WHOLE_NUMBERS:
        return lambda value: _whole(name, value, _WHOLE_NUMBERS[kind])
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


def _whole(name: str, value: object, bounds: tuple[float, float]) -> float:
    number = _number(name, value)
    lowest, highest = bounds
    if lowest <= number <= highest and number.is_integer():
        return number
    raise _wrong(name, "true or false" if highest == 1 else f"a whole number of {_BITS[lowest]} bits")


def _text(name: str, value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise _wrong(name, "text")


def _moment(name: str, value: object) -> str | None:
    """In one form, UTC without a zone: of several forms, pandas takes those of the first value only."""
    text = _text(name, value)
    try:
        return None if text is None else read_time(text).replace(tzinfo=None).isoformat(timespec="microseconds")
    except (ValueError, OverflowError):
        raise _wrong(name, "a time as 2025-03-01T06:00:00Z") from None


def _wrong(name: str, wanted: str) -> InvalidInput:
    return InvalidInput(f"column '{name}' has a value that is not {wanted}", hint=f"send {wanted}", column=name)
