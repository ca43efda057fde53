"""What each predict path module gives: two functions over the same inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from millrace.serving.inputs import Inputs
from millrace.serving.types import Prediction

PredictFunction = Callable[[Inputs], Prediction]


@dataclass(frozen=True, slots=True)
class PredictPath:
    """A way to run one model.

    Attributes:
        fast: what requests run.
        own: the model's own predict, over a frame that is made the slow, plain way.
    """

    fast: PredictFunction
    own: PredictFunction


class Unsuitable(Exception):
    """This path can't run this model; the message says why. Never leaves `predictor.load_predictor`."""
