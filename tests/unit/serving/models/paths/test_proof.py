"""The proof itself: conversions that are known to be silently wrong are found out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # noqa: TID253 - a test of it
import pytest
from sklearn.compose import make_column_transformer  # noqa: TID253 - a test of it
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier  # noqa: TID253 - a test of it
from sklearn.linear_model import LogisticRegression  # noqa: TID253 - a test of it
from sklearn.pipeline import make_pipeline  # noqa: TID253 - a test of it
from sklearn.preprocessing import OneHotEncoder  # noqa: TID253 - a test of it
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]

from millrace.core.errors import InvalidInput
from millrace.serving.inputs import Inputs
from millrace.serving.models.mlmodel import ModelFolder, read_model_folder
from millrace.serving.models.paths.classes import own_prediction
from millrace.serving.models.paths.conversion import Conversion
from millrace.serving.models.paths.forest import Forest
from millrace.serving.models.paths.frames import to_frame
from millrace.serving.models.paths.graph import NUMBERS, Graph
from millrace.serving.models.paths.onnx import open_onnx
from millrace.serving.models.paths.outcome import Outcome, from_json, to_json
from millrace.serving.models.paths.proof import disagreement, golden_rows, prove
from millrace.serving.models.paths.sklearn_forest import sklearn_forest
from millrace.serving.models.paths.sklearn_graph import PipelineGraph
from millrace.serving.models.predictor import load_predictor
from millrace.serving.types import LoadPlan, Prediction

Logged = Callable[[Any, list[tuple[str, str]]], LoadPlan]
SIGNATURE = (("a", "double"), ("b", "double"), ("c", "double"))
FACTS = ModelFolder("sklearn", {}, SIGNATURE, None, None)
RANDOM = np.random.default_rng(3)
WHOLE = pd.DataFrame(RANDOM.normal(size=(400, 3)), columns=["a", "b", "c"]).round(2)
GAPS = WHOLE.mask(RANDOM.random((400, 3)) < 0.1)
LABELS = (WHOLE.a + WHOLE.b * WHOLE.c > 0).astype(int).to_numpy()


def found_out(model: Any, wrong: Callable[[Forest], Forest]) -> str | None:
    """What the proof says of a graph whose trees were converted in a wrong way."""

    def own(inputs: Inputs) -> Prediction:
        return own_prediction(model, to_frame(inputs, SIGNATURE))

    with threadpool_limits(limits=1):
        right = PipelineGraph(SIGNATURE).convert(model)
        forest = sklearn_forest(model)
        assert forest is not None
        graph = Graph(3, 0)
        trees = wrong(forest)
        planted = graph.model(graph.forest(NUMBERS, trees), single=trees.single)
        rows = golden_rows(own, FACTS, right)
        assert disagreement(open_onnx(right.graph, right.kind, right.classes, ()), rows) is None
        return disagreement(open_onnx(planted, right.kind, right.classes, ()), rows)


def blind_to_gaps(forest: Forest) -> Forest:
    return replace(
        forest, trees=[replace(tree, missing_left=np.zeros_like(tree.missing_left)) for tree in forest.trees]
    )


def in_single_precision(forest: Forest) -> Forest:
    return replace(forest, rounded=True, single=True)


def test_a_forest_that_lost_where_missing_values_go_is_ruled_out() -> None:
    # What the usual converter makes of a forest that was trained with missing values.
    says = found_out(RandomForestClassifier(20, random_state=1).fit(GAPS, LABELS), blind_to_gaps)
    assert says is not None
    assert "labels differ" in says


def test_thresholds_in_single_precision_are_ruled_out() -> None:
    # What the usual converters make of models whose thresholds are float64.
    says = found_out(HistGradientBoostingClassifier(max_iter=20).fit(WHOLE, LABELS), in_single_precision)
    assert says is not None
    assert "differ" in says


def test_less_than_is_not_at_most() -> None:
    says = found_out(
        RandomForestClassifier(20, random_state=1).fit(WHOLE, LABELS), lambda forest: replace(forest, strict=True)
    )
    assert says is not None


def test_what_the_model_refuses_is_refused_with_the_columns_name(logged: Logged) -> None:
    frame = pd.DataFrame({"a": WHOLE.a, "plan": pd.Series(["x", "y"] * 200, dtype=object)})
    columns = make_column_transformer((OneHotEncoder(), ["plan"]), ("passthrough", ["a"]))
    model = make_pipeline(columns, LogisticRegression()).fit(frame, LABELS)
    predictor = load_predictor(logged(model, [("a", "double"), ("plan", "string")]))
    assert predictor.path == "onnx"
    with pytest.raises(InvalidInput, match="column 'a' has no value"):
        predictor.predict(Inputs(np.array([[math.nan]]), (["x"],)))
    for text in (None, "new"):
        with pytest.raises(InvalidInput, match="column 'plan' has a text that the model does not know"):
            predictor.predict(Inputs(np.array([[1.0]]), ([text],)))


def test_a_way_that_answers_what_the_model_refuses_is_ruled_out() -> None:
    def own(inputs: Inputs) -> Prediction:
        if "new" in inputs.texts[0] or None in inputs.texts[0] or "a text that no training row has" in inputs.texts[0]:
            raise ValueError("unknown text")
        return Prediction([0] * len(inputs), None)

    def careless(inputs: Inputs) -> Prediction:
        return Prediction([0] * len(inputs), None)

    facts = replace(FACTS, inputs=(("a", "double"), ("plan", "string")), example=None)
    rows = golden_rows(own, facts, _knows("x"))
    assert disagreement(own, rows) is None
    assert disagreement(careless, rows) == "it answers rows that the model itself refuses"


def _knows(text: str) -> Conversion:
    from millrace.serving.models.paths.texts import Vocabulary

    return Conversion(b"", "values", None, (Vocabulary("plan", {text: 0}, None),), None, direct=False)


def test_an_outcome_survives_its_text(logged: Logged) -> None:
    frame = pd.DataFrame({"a": WHOLE.a, "plan": pd.Series(["x", None] * 200, dtype=object)})
    columns = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["plan"]), ("passthrough", ["a"]))
    model = make_pipeline(columns, LogisticRegression()).fit(frame, np.where(LABELS, "yes", "no"))
    outcome, graph = prove(Path(logged(model, [("a", "double"), ("plan", "string")]).path))
    assert outcome.path == "onnx"
    assert graph is not None
    assert from_json(to_json(outcome)) == outcome
    assert outcome.classes == ("no", "yes")
    assert outcome.limits.missing == (0,)


def test_a_model_without_a_native_flavor_is_left_to_mlflow(write_model: Callable[..., Path]) -> None:
    folder = write_model("own", {"python_function": {}}, SIGNATURE)
    assert read_model_folder(folder).flavor == "python_function"
    assert prove(folder) == (Outcome("pyfunc", "the model has no native flavor"), None)
