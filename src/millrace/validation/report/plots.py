"""What the plots of a report show, as numbers: curves thinned to what a picture can show, so that a report stays small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from millrace.statistics.calibration import reliability
from millrace.statistics.intervals import proportion
from millrace.statistics.metrics import Floats
from millrace.validation.types import Evidence
from millrace.validation.worst_slice import WorstSlice

_POINTS = 120
_BARS = 20
_SLICES = 12
_CUT = 0.5


def plots(evidence: Evidence, challenger: str, slices: WorstSlice | None) -> Mapping[str, Any]:
    """All plots' data, JSON-compatible; empty where the labels have one class.

    Args:
        evidence: what the gates saw.
        challenger: the model's name.
        slices: the gate whose slices are shown; None: none.
    """
    models = _models(evidence, challenger)
    if any(labels.min() == labels.max() for _, labels, _ in models):
        return {}
    labels, scores = models[0][1:]
    return {
        "curves": [{"model": name, **_curves(true, said)} for name, true, said in models],
        "calibration": [{"model": name, "bins": _bins(true, said)} for name, true, said in models],
        "confusion": _confusion(labels, scores),
        "scores": _scores(labels, scores),
        "slices": _slices(evidence, slices),
    }


def _models(evidence: Evidence, challenger: str) -> list[tuple[str, Floats, Floats]]:
    """Name, labels and scores: the model; the champion, on the newest rows; a linear model."""
    found = [_model(challenger, evidence.labels, evidence.challenger)]
    newest = evidence.newest or evidence
    if newest.champion is not None:
        found.append(_model(newest.champion_name or "champion", newest.labels, newest.champion))
    if evidence.linear is not None:
        found.append(_model("a linear model", evidence.labels, evidence.linear))
    return found


def _model(name: str, labels: np.ndarray, scores: np.ndarray) -> tuple[str, Floats, Floats]:
    return name, np.asarray(labels, dtype=np.float64), np.asarray(scores, dtype=np.float64)


def _curves(labels: Floats, scores: Floats) -> Mapping[str, Any]:
    """ROC and precision-recall at each distinct score, from the strictest on."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(
        np.flatnonzero(np.diff(scores[order])), len(scores) - 1
    )  # the last row of each run of equal scores
    hit = np.cumsum(labels[order])[last]
    said = last + 1.0
    ones, rows = float(labels.sum()), len(labels)
    recall, false_alarms, precision = hit / ones, (said - hit) / (rows - ones), hit / said
    chosen = _thinned(len(last))
    start = [float(precision[0])]
    return {
        "roc": [[0.0, 0.0], *_points(false_alarms[chosen], recall[chosen])],
        "precision_recall": [[0.0, *start], *_points(recall[chosen], precision[chosen])],
        "share": round(ones / rows, 5),
    }


def _bins(labels: Floats, scores: Floats) -> Sequence[Mapping[str, float]]:
    found = []
    for each in reliability(labels, scores):
        seen = proportion(each.came_true * each.rows, each.rows)
        found.append(
            {"said": each.said, "seen": each.came_true, "low": seen.low, "high": seen.high, "rows": float(each.rows)}
        )
    return found


def _confusion(labels: Floats, scores: Floats) -> Mapping[str, float]:
    said, true = scores > _CUT, labels == 1
    kinds = {"hit": said & true, "false_alarm": said & ~true, "missed": ~said & true, "left": ~said & ~true}
    return {"threshold": _CUT, **{name: int(rows.sum()) for name, rows in kinds.items()}}


def _scores(labels: Floats, scores: Floats) -> Mapping[str, Any]:
    """Of the rows of each class, which share has which score."""
    counts = (np.histogram(scores[labels == kind], bins=_BARS, range=(0, 1))[0] for kind in (0, 1))
    return {name: (each / each.sum()).round(5).tolist() for name, each in zip(("zeros", "ones"), counts, strict=True)}


def _slices(evidence: Evidence, gate: WorstSlice | None) -> Mapping[str, Any]:
    found = gate.measured(evidence) if gate is not None else []
    rows = [
        {"slice": each.slice.name, "rows": each.estimate.rows, "value": each.estimate.value}
        | {"low": each.estimate.low, "high": each.estimate.high}
        for each in found[:_SLICES]
    ]
    limit = None if gate is None else gate.at_least if gate.at_least is not None else gate.at_most
    return {"metric": gate.metric if gate else None, "limit": limit, "count": len(found), "worst": rows}


def _thinned(count: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, _POINTS)).astype(int))


def _points(x: Floats, y: Floats) -> Sequence[list[float]]:
    return [[round(float(a), 5), round(float(b), 5)] for a, b in zip(x, y, strict=True)]
