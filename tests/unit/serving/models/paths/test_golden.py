from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from millrace.serving.inputs import Inputs, join_inputs, split_inputs
from millrace.serving.models.paths.golden import (
    accepted,
    boundary_inputs,
    difference,
    found_boundaries,
    golden_inputs,
    take,
)
from millrace.serving.models.paths.limits import NOTHING_REFUSED, NumberLimits
from millrace.serving.types import Prediction

MIXED = [("a", "double"), ("region", "string")]


def given(rows: list[list[object]], texts: list[int]) -> Inputs:
    return join_inputs(rows, [("", "string" if place in texts else "double") for place in range(len(rows[0]))])


def test_golden_rows_hold_missing_values_and_the_example(tmp_path: Path) -> None:
    example = tmp_path / "example.json"
    example.write_text(json.dumps({"columns": ["region", "a"], "data": [["north", 1], [None, None]]}))
    types = [("a", "double"), ("region", "string")]
    rows = split_inputs(golden_inputs(MIXED, example), types)
    assert rows[0] == [1.0, "north"]
    assert any(isinstance(row[0], float) and math.isnan(row[0]) for row in rows[2:])
    assert {row[1] for row in rows} == {"north", None, "a text that no training row has"}
    assert repr(rows) == repr(split_inputs(golden_inputs(MIXED, example), types))


def test_rows_that_the_model_itself_refuses_are_left_out() -> None:
    def own(inputs: Inputs) -> Prediction:
        if np.isnan(inputs.numbers).any():
            raise ValueError("no missing values")
        return Prediction([0] * len(inputs), None)

    rows = given([[1.0, "x"], [math.nan, "y"], [2.0, "z"]], texts=[1])
    taken = take(rows, accepted(rows, own))
    assert (taken.numbers.tolist(), taken.texts) == ([[1.0], [2.0]], (["x", "z"],))


@pytest.mark.parametrize(
    ("fast", "own", "says"),
    [
        (Prediction([1, 0], [0.9, 0.1]), Prediction([1, 0], [0.9, 0.1 + 1e-7]), None),
        (Prediction([1, 0], [0.9, 0.1]), Prediction([1, 0], [0.9, 0.1001]), "probabilities differ by up to 0.0001"),
        (Prediction([1, 0], [0.9, math.nan]), Prediction([1, 0], [0.9, 0.1]), "probabilities differ by up to nan"),
        (Prediction([1, 1], [0.9, 0.1]), Prediction([1, 0], [0.9, 0.1]), "1 of 2 labels differ"),
        (Prediction([1], None), Prediction([1], [0.5]), "only one of them has probabilities"),
        (Prediction([1.5], None), Prediction([1.5 + 1e-9], None), None),
        (Prediction([1.5], None), Prediction([1.6], None), "1 of 1 labels differ"),
    ],
)
def test_what_counts_as_the_same_answer(fast: Prediction, own: Prediction, says: str | None) -> None:
    assert difference(fast, own) == says


def test_each_threshold_is_tried_with_its_neighbours_in_both_precisions() -> None:
    threshold = 0.1
    rows = boundary_inputs(Inputs(np.zeros((3, 2))), ["double", "double"], {1: np.array([threshold])}, NOTHING_REFUSED)
    single = np.float32(threshold)
    beside = [np.nextafter(single, np.float32(side)) for side in (-1.0, 1.0)]
    expected = {threshold, math.nextafter(threshold, 1.0), math.nextafter(threshold, -1.0)}
    expected |= {float(single), *map(float, beside)}
    tried = set(rows.numbers[:, 1].tolist())
    assert expected <= tried
    assert {math.inf, -math.inf, 1e39, 0.0} <= tried
    assert np.isnan(rows.numbers[:, 1]).any()


def test_edges_keep_to_what_the_model_takes_and_to_the_columns_type() -> None:
    limits = NumberLimits(missing=(0,), infinite=(0,), beyond_single=(0,))
    edges = boundary_inputs(Inputs(np.zeros((3, 2))), ["double", "long"], {1: np.array([2.5])}, limits)
    assert np.isfinite(edges.numbers).all()
    assert np.abs(edges.numbers[:, 0]).max() <= np.finfo(np.float32).max
    assert set(edges.numbers[:, 1].tolist()) == {0.0, 1.0, 2.0, 3.0}


def test_a_boundary_is_found_between_neighbouring_numbers() -> None:
    def own(inputs: Inputs) -> Prediction:
        return Prediction([float(value > 1 / 3) for value in inputs.numbers[:, 0]], None)

    base = Inputs(np.array([[0.0], [1.0], [2.0], [-5.0]]))
    found = found_boundaries(own, base).numbers[:, 0]
    assert 1 / 3 in found
    assert math.nextafter(1 / 3, 1.0) in found
