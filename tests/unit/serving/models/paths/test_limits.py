from __future__ import annotations

import math

import numpy as np
import pytest

from millrace.core.errors import InvalidInput
from millrace.serving.inputs import Inputs
from millrace.serving.models.paths.limits import NOTHING_REFUSED, NumberLimits, find_limits
from millrace.serving.types import Prediction

SIGNATURE = [("a", "double"), ("b", "double"), ("plan", "string"), ("n", "long"), ("c", "float")]


def own(inputs: Inputs) -> Prediction:
    """Takes no missing value in a, no infinity anywhere, and in c only what float32 holds."""
    numbers = inputs.numbers
    if np.isnan(numbers[:, 0]).any() or np.isinf(numbers).any() or (np.abs(numbers[:, 3]) > 3.5e38).any():
        raise ValueError("refused")
    return Prediction([0.0] * len(inputs), None)


def test_what_a_model_refuses_is_found_by_column() -> None:
    limits = find_limits(own, Inputs(np.zeros((1, 4)), (["x"],)), SIGNATURE)
    assert limits == NumberLimits(missing=(0,), infinite=(0, 1, 3), beyond_single=(3,))  # a whole number is never one


def test_a_refused_number_is_told_by_its_column_and_without_its_value() -> None:
    check = NumberLimits(missing=(0,), infinite=(0, 1), beyond_single=(1,)).check(["a", "b"])
    assert check is not None
    check(np.array([[1e300, math.nan]]))
    for row, says in (
        ([math.nan, 0.0], "column 'a' has no value"),
        ([0.0, math.inf], "column 'b' has a value that is too large"),
        ([0.0, -3.9e38], "column 'b' has a value that is too large"),
    ):
        with pytest.raises(InvalidInput, match=says) as caught:
            check(np.array([[0.0, 0.0], row]))
        assert "3.9" not in caught.value.message


def test_a_model_that_refuses_nothing_is_not_checked() -> None:
    assert NOTHING_REFUSED.check(["a"]) is None
