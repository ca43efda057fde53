"""Which path a model may take: its ways are tried beside its own predict on golden rows, and timed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from millrace.serving.inputs import Inputs, is_text, joined
from millrace.serving.models.mlmodel import ModelFolder, read_model_folder
from millrace.serving.models.paths.classes import Kind
from millrace.serving.models.paths.conversion import Conversion
from millrace.serving.models.paths.forest import thresholds
from millrace.serving.models.paths.golden import (
    accepted,
    boundary_inputs,
    difference,
    found_boundaries,
    golden_inputs,
    take,
)
from millrace.serving.models.paths.lightgbm import fast_lightgbm, own_lightgbm
from millrace.serving.models.paths.limits import NumberLimits, find_limits, predicts
from millrace.serving.models.paths.onnx import open_onnx
from millrace.serving.models.paths.outcome import Outcome
from millrace.serving.models.paths.path import OwnModel, PredictFunction, Unsuitable, by_rows
from millrace.serving.models.paths.sklearn import fast_sklearn, own_sklearn
from millrace.serving.models.paths.sklearn_graph import PipelineGraph, classes_of
from millrace.serving.models.paths.timing import crossover, quick_rows
from millrace.serving.models.paths.xgboost import open_xgboost, own_xgboost
from millrace.serving.types import Prediction, part

_OWN = {"xgboost": own_xgboost, "lightgbm": own_lightgbm, "sklearn": own_sklearn}
_MOST_REFUSED = 16
_ALONE = 128


@dataclass(frozen=True, slots=True)
class GoldenRows:
    """What a way is tried on.

    Attributes:
        taken: rows that the model predicts.
        answers: what it says to them.
        refused: rows that it refuses, though each number in them is one that it takes: for a text, say.
        limits: the numbers that it refuses.
    """

    taken: Inputs
    answers: Prediction
    refused: Inputs
    limits: NumberLimits


def prove(folder: Path) -> tuple[Outcome, bytes | None]:
    """The fastest way to run a logged model that answers as its own predict does; with its graph where that is ONNX.

    Imports the model's libraries and takes a few seconds.

    Raises:
        InvalidInput: the folder holds no MLflow model with a signature.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

    facts = read_model_folder(folder)
    load = _OWN.get(facts.flavor)
    if load is None:
        return Outcome("pyfunc", "the model has no native flavor"), None
    try:
        own = load(folder, facts)
    except Unsuitable as reason:
        return Outcome("pyfunc", f"{facts.flavor} is ruled out: {reason}"), None
    except Exception as error:  # noqa: BLE001 - a foreign model may raise anything
        why = f"{facts.flavor} could not be loaded natively ({type(error).__name__})"
        return Outcome("pyfunc", why, lasting=False), None
    with threadpool_limits(limits=1):
        return _prove(folder, facts, own)


def _prove(folder: Path, facts: ModelFolder, own: OwnModel) -> tuple[Outcome, bytes | None]:
    ruled_out: list[str] = []
    conversion: Conversion | None = None
    ways: dict[str, PredictFunction] = {}
    try:
        conversion = _converted(own, facts)
        ways["onnx"] = open_onnx(conversion.graph, conversion.kind, conversion.classes, conversion.vocabularies)
    except Unsuitable as reason:
        ruled_out.append(f"onnx is ruled out: {reason}")
    try:
        rows = golden_rows(own.predict, facts, conversion)
    except Unsuitable as reason:
        return Outcome("pyfunc", f"{facts.flavor} is ruled out: {reason}"), None
    _keep_right(ways, "onnx", rows, ruled_out)
    if not ways or facts.flavor == "xgboost":
        ways[facts.flavor] = _native(folder, facts, own)
        _keep_right(ways, facts.flavor, rows, ruled_out)
    kind, classes = _meaning(own)
    outcome = replace(_chosen(ways, rows, ruled_out), kind=kind, classes=classes)
    if conversion is None or "onnx" not in ways:
        return outcome, None
    return replace(outcome, vocabularies=conversion.vocabularies), conversion.graph


def _keep_right(ways: dict[str, PredictFunction], name: str, rows: GoldenRows, ruled_out: list[str]) -> None:
    wrong = disagreement(ways[name], rows) if name in ways else None
    if wrong:
        del ways[name]
        ruled_out.append(f"{name} is ruled out: {wrong}")


def golden_rows(own: PredictFunction, facts: ModelFolder, conversion: Conversion | None) -> GoldenRows:
    """Rows to try a model's ways on: its example, generated ones, and those at its edges.

    Raises:
        Unsuitable: there is no row that the model can predict.
    """
    vocabularies = () if conversion is None else conversion.vocabularies
    texts = [text for vocabulary in vocabularies for text in vocabulary.codes if text is not None]
    inputs = golden_inputs(facts.inputs, facts.example, texts)
    good = accepted(inputs, own)
    if not good.any():
        raise Unsuitable("there is no row that the model itself can predict")
    base = take(inputs, good)
    limits = find_limits(own, base.slice(0, 1), facts.inputs)
    parts = [base, *_at_edges(own, facts, conversion, base, limits)]
    taken = joined([part if predicts(own, part) else take(part, accepted(part, own)) for part in parts])
    other = take(inputs, ~good)
    refused = take(other, limits.hold(other.numbers)).slice(0, _MOST_REFUSED)
    return GoldenRows(taken, own(taken), refused, limits)


def disagreement(way: PredictFunction, rows: GoldenRows) -> str | None:
    """Where a way differs from the model itself, for people; None where it does not.

    It is asked for all rows in one call, and for some of them in small calls, which may be computed otherwise.
    """
    try:
        return difference(way(rows.taken), rows.answers) or _small_calls(way, rows) or _answers_refused(way, rows)
    except Exception as error:  # noqa: BLE001 - whatever it is, this way is not taken
        return f"it fails where the model's own predict does not ({type(error).__name__})"


def _small_calls(way: PredictFunction, rows: GoldenRows) -> str | None:
    for place in np.linspace(0, len(rows.taken) - 1, _ALONE).astype(int).tolist():
        wrong = difference(way(rows.taken.slice(place, place + 1)), part(rows.answers, place, place + 1))
        if wrong:
            return f"of single rows, {wrong}"
    return None


def _answers_refused(way: PredictFunction, rows: GoldenRows) -> str | None:
    refused = (rows.refused.slice(place, place + 1) for place in range(len(rows.refused)))
    return "it answers rows that the model itself refuses" if any(predicts(way, row) for row in refused) else None


def _converted(own: OwnModel, facts: ModelFolder) -> Conversion:
    try:
        return PipelineGraph(facts.inputs).convert(own.model)
    except Unsuitable:
        raise
    except Exception as error:
        raise Unsuitable(f"it can't be converted ({type(error).__name__})") from error


def _at_edges(
    own: PredictFunction, facts: ModelFolder, conversion: Conversion | None, base: Inputs, limits: NumberLimits
) -> list[Inputs]:
    kinds = [kind for _, kind in facts.inputs if not is_text(kind)]
    if not kinds:
        return []
    forest = None if conversion is None else conversion.forest
    direct = conversion is not None and conversion.direct
    edges = boundary_inputs(base, kinds, thresholds(forest) if forest and direct else {}, limits)
    return [edges, found_boundaries(own, base)] if forest and not direct else [edges]


def _native(folder: Path, facts: ModelFolder, own: OwnModel) -> PredictFunction:
    if facts.flavor == "xgboost":
        return open_xgboost(folder, facts, *_meaning(own))
    return fast_lightgbm(own) if facts.flavor == "lightgbm" else fast_sklearn(own, facts)


def _meaning(own: OwnModel) -> tuple[Kind, tuple[object, ...] | None]:
    classes = classes_of(own.model)
    if classes is None:
        return "values", None
    return "probabilities" if hasattr(own.model, "predict_proba") else "decisions", classes


def _chosen(ways: Mapping[str, PredictFunction], rows: GoldenRows, ruled_out: list[str]) -> Outcome:
    """The fastest of the ways that hold."""
    if not ways:
        return Outcome("pyfunc", "; ".join(ruled_out), limits=rows.limits)
    path, predict = next(iter(ways.items()))
    many = None
    if ways.keys() == {"onnx", "xgboost"}:
        many = crossover(ways["onnx"], ways["xgboost"], rows.taken)
        if many is not None:
            path, predict = "onnx+xgboost", by_rows(ways["onnx"], ways["xgboost"], many)
    why = "; ".join([f"equal to the model's own predict on {len(rows.taken)} rows", *ruled_out])
    return Outcome(path, why, quick_rows(predict, rows.taken), many, limits=rows.limits)
