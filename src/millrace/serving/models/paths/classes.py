"""Scores to labels, as the libraries' own classifiers do it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from millrace.serving.models.paths.program import probabilities_of
from millrace.serving.types import Prediction

# What scores are: `probabilities` n x 1 of the second class or n x k of all, `decisions` of a classifier without
# probabilities in the same shapes, `values` n x 1 of a regressor.
Kind = Literal["probabilities", "decisions", "values"]
_BINARY = 2


def answered(scores: np.ndarray, kind: Kind, classes: Sequence[object] | None) -> Prediction:
    """What n x w scores say: the likeliest class of each row, the first on a tie, or the value."""
    if classes is None:
        return Prediction(scores[:, 0].tolist(), None)
    labels = _labels(scores, classes, 0.5 if kind == "probabilities" else 0.0)
    return Prediction(labels, _probabilities(scores) if kind == "probabilities" and len(classes) > 1 else None)


def own_prediction(model: object, frame: object) -> Prediction:
    """What a scikit-learn style model itself says: `predict`, and `predict_proba` where it has that."""
    labels = np.asarray(model.predict(frame)).ravel().tolist()  # type: ignore[attr-defined]
    return Prediction(labels, own_probabilities(model, frame))


def own_probabilities(model: object, frame: object) -> Sequence[float] | Sequence[Sequence[float]] | None:
    """`predict_proba` of a model with one output: of the second of two classes, of each of more; None where it has none."""
    scores = probabilities_of(model, frame)
    return None if scores is None else scores.tolist()


def _labels(scores: np.ndarray, classes: Sequence[object], half: float) -> list[object]:
    width = scores.shape[1]
    if width == 1 and len(classes) == _BINARY:
        first, second = classes
        return [second if score > half else first for score in scores[:, 0].tolist()]
    if width == _BINARY:
        first, second = classes
        return [second if other > one else first for one, other in scores.tolist()]
    return [classes[place] for place in scores.argmax(axis=1).tolist()]


def _probabilities(scores: np.ndarray) -> Sequence[float] | Sequence[Sequence[float]]:
    if scores.shape[1] > _BINARY:
        return scores.tolist()  # type: ignore[no-any-return]
    return scores[:, -1].tolist()  # type: ignore[no-any-return]
