"""Numbers that a model refuses: found out once, so that a request is told its column instead of a library's error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from millrace.core.errors import InvalidInput
from millrace.serving.inputs import Inputs, is_text
from millrace.serving.models.paths.path import PredictFunction

BEYOND_SINGLE = 1e39
_LARGEST_SINGLE = float(np.finfo(np.float32).max)
_MAY_BE_MISSING = {"double", "float"}


@dataclass(frozen=True, slots=True)
class NumberLimits:
    """Columns of `Inputs.numbers`, by place, in which a model refuses a kind of number."""

    missing: tuple[int, ...] = ()
    infinite: tuple[int, ...] = ()
    beyond_single: tuple[int, ...] = ()

    def hold(self, numbers: np.ndarray) -> np.ndarray:
        """Which of n rows have no number that is refused."""
        return np.asarray(~self._refused(numbers).any(axis=1))

    def taken(self, column: int, values: np.ndarray) -> np.ndarray:
        """Those of some values that a column takes."""
        numbers = np.zeros((len(values), column + 1))
        numbers[:, column] = values
        return np.asarray(values[~self._refused(numbers)[:, column]])

    def check(self, names: Sequence[str]) -> Callable[[np.ndarray], None] | None:
        """What raises InvalidInput with the column's name; None where nothing is refused."""
        if not (self.missing or self.infinite or self.beyond_single):
            return None

        def check(numbers: np.ndarray) -> None:
            if np.abs(numbers).max(initial=0.0) <= _LARGEST_SINGLE:  # false where anything is NaN
                return
            refused = self._refused(numbers)
            if refused.any():
                row, column = np.argwhere(refused)[0]
                raise _refusal(names[column], missing=bool(np.isnan(numbers[row, column])))

        return check

    def _refused(self, numbers: np.ndarray) -> np.ndarray:
        refused = np.zeros(numbers.shape, dtype=bool)
        for columns, wrong in (
            (self.missing, np.isnan(numbers)),
            (self.infinite, np.isinf(numbers)),
            (self.beyond_single, np.isfinite(numbers) & (np.abs(numbers) > _LARGEST_SINGLE)),
        ):
            there = [column for column in columns if column < numbers.shape[1]]
            refused[:, there] |= wrong[:, there]
        return refused


NOTHING_REFUSED = NumberLimits()


def find_limits(own: PredictFunction, row: Inputs, signature: Sequence[tuple[str, str]]) -> NumberLimits:
    """Try one row that the model takes with each kind of number in each column that may hold it."""
    kinds = [kind for _, kind in signature if not is_text(kind)]
    columns = [place for place, kind in enumerate(kinds) if kind in _MAY_BE_MISSING]
    return NumberLimits(
        _refusing(own, row, columns, np.nan),
        _refusing(own, row, columns, np.inf),
        _refusing(own, row, columns, BEYOND_SINGLE),
    )


def _refusing(own: PredictFunction, row: Inputs, columns: list[int], value: float) -> tuple[int, ...]:
    """The columns that refuse a value; halved until each is known, since most models take all or none."""
    if not columns:
        return ()
    numbers = row.numbers.copy()
    numbers[:, columns] = value
    if predicts(own, Inputs(numbers, row.texts)):
        return ()
    if len(columns) == 1:
        return tuple(columns)
    half = len(columns) // 2
    return _refusing(own, row, columns[:half], value) + _refusing(own, row, columns[half:], value)


def predicts(own: PredictFunction, inputs: Inputs) -> bool:
    """Whether a model answers these rows."""
    try:
        own(inputs)
    except Exception:  # noqa: BLE001 - a foreign model may raise anything
        return False
    return True


def _refusal(column: str, *, missing: bool) -> InvalidInput:
    if missing:
        return InvalidInput(
            f"column '{column}' has no value, and the model takes no missing ones", hint="send a number", column=column
        )
    return InvalidInput(
        f"column '{column}' has a value that is too large for the model", hint="send a smaller number", column=column
    )
