"""What the predict path modules share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from millrace.serving.inputs import Inputs
from millrace.serving.types import Prediction

PredictFunction = Callable[[Inputs], Prediction]


@dataclass(frozen=True, slots=True)
class OwnModel:
    """A model loaded by its own library.

    Attributes:
        model: the object.
        predict: its own `predict`, over a frame that is made the slow, plain way: what every path must equal.
    """

    model: Any
    predict: PredictFunction


class Unsuitable(Exception):
    """This path can't run this model; the message says why. Never leaves the proof."""


def by_rows(few: PredictFunction, many: PredictFunction, many_rows: int) -> PredictFunction:
    """One function out of two: `many` from so many rows on."""

    def predict(inputs: Inputs) -> Prediction:
        return (many if len(inputs) >= many_rows else few)(inputs)

    return predict
