"""Scores to labels, as the libraries' own classifiers do it."""

from __future__ import annotations

import numpy as np

from millrace.serving.types import Prediction

_BINARY = 2


def classified(scores: np.ndarray, classes: np.ndarray) -> Prediction:
    """The likeliest class of each row, the first on a tie, from n probabilities of the second class or n x k of all."""
    if scores.ndim == 1:
        return Prediction(classes[(scores > 0.5).astype(np.intp)].tolist(), scores.tolist())  # noqa: PLR2004 - a tie
    labels = classes[scores.argmax(axis=1)].tolist()
    return Prediction(labels, scores[:, 1].tolist() if scores.shape[1] == _BINARY else None)


def own_prediction(model: object, frame: object) -> Prediction:
    """What a scikit-learn style model itself says: `predict`, and `predict_proba` of a binary classifier."""
    labels = np.asarray(model.predict(frame)).ravel().tolist()  # type: ignore[attr-defined]
    if not hasattr(model, "predict_proba"):
        return Prediction(labels, None)
    scores = np.asarray(model.predict_proba(frame))
    return Prediction(labels, scores[:, 1].tolist() if scores.shape[1] == _BINARY else None)
