from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cloudpickle  # type: ignore[import-untyped,unused-ignore]
import numpy as np
import pandas as pd  # noqa: TID253 - a test of it
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor  # noqa: TID253 - a test of it
from sklearn.compose import make_column_transformer  # noqa: TID253 - a test of it
from sklearn.impute import SimpleImputer  # noqa: TID253 - a test of it
from sklearn.linear_model import LinearRegression, LogisticRegression  # noqa: TID253 - a test of it
from sklearn.model_selection import FixedThresholdClassifier  # noqa: TID253 - a test of it
from sklearn.pipeline import make_pipeline  # noqa: TID253 - a test of it
from sklearn.preprocessing import OneHotEncoder  # noqa: TID253 - a test of it
from xgboost import XGBClassifier, XGBRegressor  # noqa: TID253 - a test of it

from millrace.core.errors import InvalidInput
from millrace.serving.endpoints.endpoints import served_entity
from millrace.serving.inputs import Inputs, join_inputs
from millrace.serving.models.mlmodel import read_model_folder
from millrace.serving.models.paths.frames import to_frame
from millrace.serving.models.predictor import load_predictor
from millrace.serving.port import Predictor
from millrace.serving.types import LoadPlan, Prediction

NUMBERS = [("a", "double"), ("b", "double"), ("c", "double")]
MIXED = [("a", "double"), ("region", "string")]
RANDOM = np.random.default_rng(7)
FEATURES = pd.DataFrame(RANDOM.normal(size=(300, 3)), columns=["a", "b", "c"]).mask(RANDOM.random((300, 3)) < 0.1)
LABELS = (FEATURES.a.fillna(0) + FEATURES.b.fillna(0) > 0).astype(int).to_numpy()
ROWS = [[0.5, -1.0, math.nan], [1e6, 2.0, 0.0], [-3.0, math.nan, 1.0]]


def plan(folder: Path) -> LoadPlan:
    facts = read_model_folder(folder)
    return LoadPlan(served_entity("ml.models.churn", "1"), str(folder), facts.flavor, facts.inputs, None)


def given(rows: Sequence[Sequence[object]], texts: Sequence[int] = ()) -> Inputs:
    """Rows as inputs; `texts` are the places of those that are texts."""
    return join_inputs(rows, [("", "string" if place in texts else "double") for place in range(len(rows[0]))])


def assert_equals_own(predictor: Predictor, model: Any, rows: list[list[Any]] = ROWS) -> None:
    frame = pd.DataFrame(rows, columns=["a", "b", "c"])
    prediction = predictor.predict(given(rows))
    assert list(prediction.labels) == model.predict(frame).tolist()
    assert prediction.probabilities == pytest.approx(model.predict_proba(frame)[:, 1].tolist(), abs=1e-6)


@pytest.fixture
def pickled(write_model: Callable[..., Path]) -> Callable[..., Path]:
    def write(flavor: str, model: Any, inputs: list[tuple[str, str]] = NUMBERS, **more: Any) -> Path:
        key = "pickled_model" if flavor == "sklearn" else "data"
        details = {key: "model.pkl", "serialization_format": "cloudpickle", **more}
        pyfunc = {"loader_module": f"mlflow.{flavor}", "model_path": "model.pkl", "predict_fn": "predict"}
        folder = write_model(flavor, {flavor: details, "python_function": pyfunc}, inputs)
        (folder / "model.pkl").write_bytes(cloudpickle.dumps(model))
        return folder

    return write


@pytest.fixture
def xgboost_folder(write_model: Callable[..., Path]) -> Callable[[Any], Path]:
    def write(model: Any) -> Path:
        details = {"data": "model.ubj", "model_class": f"xgboost.sklearn.{type(model).__name__}"}
        folder = write_model(
            "xgboost", {"xgboost": details}, NUMBERS, example=FEATURES.head(3).fillna(0).to_numpy().tolist()
        )
        model.save_model(folder / "model.ubj")
        return folder

    return write


def test_xgboost_runs_without_a_frame_and_equals_its_own_predict(xgboost_folder: Callable[[Any], Path]) -> None:
    model = XGBClassifier(n_estimators=20, max_depth=3, n_jobs=1).fit(FEATURES, LABELS)
    predictor = load_predictor(plan(xgboost_folder(model)))
    assert predictor.path in {"onnx", "onnx+xgboost"}
    assert re.fullmatch(r"equal to the model's own predict on \d{4} rows", predictor.why)
    assert predictor.quick_rows >= 1
    assert_equals_own(predictor, model)


def test_xgboost_stopped_early_uses_its_best_trees(xgboost_folder: Callable[[Any], Path]) -> None:
    model = XGBClassifier(n_estimators=200, max_depth=6, learning_rate=0.5, early_stopping_rounds=3, n_jobs=1)
    noisy = np.where(RANDOM.random(300) < 0.3, 1 - LABELS, LABELS)
    model.fit(FEATURES[:200], noisy[:200], eval_set=[(FEATURES[200:], noisy[200:])], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    predictor = load_predictor(plan(xgboost_folder(model)))
    assert predictor.path in {"onnx", "onnx+xgboost"}
    assert_equals_own(predictor, model)


def test_xgboost_with_three_classes_and_as_a_regressor(xgboost_folder: Callable[[Any], Path], tmp_path: Path) -> None:
    classes = LABELS + (FEATURES.c.fillna(0).to_numpy() > 1)
    model = XGBClassifier(n_estimators=5, n_jobs=1).fit(FEATURES, classes)
    frame = pd.DataFrame(ROWS, columns=["a", "b", "c"])
    prediction = load_predictor(plan(xgboost_folder(model))).predict(given(ROWS))
    assert list(prediction.labels) == model.predict(frame).tolist()
    assert np.asarray(prediction.probabilities) == pytest.approx(model.predict_proba(frame), abs=1e-6)
    (tmp_path / "xgboost").rename(tmp_path / "first")
    regressor = XGBRegressor(n_estimators=5, n_jobs=1).fit(FEATURES, FEATURES.a.fillna(0))
    prediction = load_predictor(plan(xgboost_folder(regressor))).predict(given(ROWS))
    assert list(prediction.labels) == pytest.approx(regressor.predict(frame).tolist())


def test_lightgbm_runs_without_a_frame_and_equals_its_own_predict(pickled: Callable[..., Path]) -> None:
    model = LGBMClassifier(n_estimators=20, verbose=-1, n_jobs=1).fit(FEATURES, LABELS)
    predictor = load_predictor(plan(pickled("lightgbm", model, model_class="lightgbm.sklearn.LGBMClassifier")))
    assert predictor.path == "onnx"
    assert_equals_own(predictor, model)


def test_lightgbm_as_a_regressor(pickled: Callable[..., Path]) -> None:
    model = LGBMRegressor(n_estimators=5, verbose=-1, n_jobs=1).fit(FEATURES, FEATURES.a.fillna(0))
    predictor = load_predictor(plan(pickled("lightgbm", model, model_class="lightgbm.sklearn.LGBMRegressor")))
    expected = model.predict(pd.DataFrame(ROWS, columns=["a", "b", "c"])).tolist()
    assert (predictor.path, predictor.predict(given(ROWS))) == ("onnx", Prediction(expected, None))


def test_a_linear_pipeline_with_text_equals_its_own_predict(pickled: Callable[..., Path]) -> None:
    frame = pd.DataFrame(
        {"a": FEATURES.a, "region": np.where(RANDOM.random(300) < 0.5, "north", "south").astype(object)}
    )
    columns = make_column_transformer((SimpleImputer(), ["a"]), (OneHotEncoder(handle_unknown="ignore"), ["region"]))
    model = make_pipeline(columns, LogisticRegression()).fit(frame, LABELS)
    predictor = load_predictor(plan(pickled("sklearn", model, MIXED)))
    assert predictor.path == "onnx"
    rows: list[list[Any]] = [[1.0, "north"], [math.nan, "a text nobody has seen"], [2.0, None]]
    own = pd.DataFrame({"a": [1.0, math.nan, 2.0], "region": pd.Series([row[1] for row in rows], dtype=object)})
    prediction = predictor.predict(given(rows, texts=[1]))
    assert list(prediction.labels) == model.predict(own).tolist()
    assert prediction.probabilities == pytest.approx(model.predict_proba(own)[:, 1].tolist(), abs=1e-12)


def test_whole_number_columns_reach_the_model_as_integers(pickled: Callable[..., Path]) -> None:
    class Kinds(LinearRegression):  # type: ignore[misc,unused-ignore]
        def predict(self, X: pd.DataFrame) -> np.ndarray:  # noqa: N803 - scikit-learn's name
            return np.array([" ".join(str(kind) for kind in X.dtypes)] * len(X), dtype=object)

    inputs = [("a", "long"), ("b", "integer"), ("c", "float"), ("d", "boolean")]
    predictor = load_predictor(plan(pickled("sklearn", Kinds(), inputs)))
    assert predictor.predict(given([[1.0, 2.0, 3.0, 1.0]])).labels == ["int64 int32 float32 bool"]


def test_values_that_the_model_refuses_are_the_callers_fault(pickled: Callable[..., Path]) -> None:
    class Picky(LinearRegression):  # type: ignore[misc,unused-ignore]
        def predict(self, X: pd.DataFrame) -> np.ndarray:  # noqa: N803 - scikit-learn's name
            if (X["b"] == 77.5).any():
                raise ValueError("not 77.5")
            return np.zeros(len(X))

    predictor = load_predictor(plan(pickled("sklearn", Picky())))
    assert predictor.path == "sklearn"
    with pytest.raises(InvalidInput, match="the model can't predict from these values") as refused:
        predictor.predict(given([[1.0, 77.5, 0.0]]))
    assert "77" not in str(refused.value)
    assert predictor.predict(given([[1.0, 77.0, 0.0]])) == Prediction([0.0], None)


def test_a_model_without_probabilities(pickled: Callable[..., Path]) -> None:
    model = make_pipeline(SimpleImputer(), LinearRegression()).fit(FEATURES, LABELS)
    prediction = load_predictor(plan(pickled("sklearn", model))).predict(given(ROWS))
    assert prediction.probabilities is None
    assert list(prediction.labels) == pytest.approx(model.predict(pd.DataFrame(ROWS, columns=["a", "b", "c"])).tolist())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # MLflow's own, of each version another
def test_a_fast_path_that_differs_is_not_used(pickled: Callable[..., Path]) -> None:
    # Its labels follow another threshold than its probabilities' half: labels out of the probabilities would be wrong.
    inner = make_pipeline(SimpleImputer(), LogisticRegression())
    model = FixedThresholdClassifier(inner, threshold=0.9, response_method="predict_proba").fit(FEATURES, LABELS)
    predictor = load_predictor(plan(pickled("sklearn", model)))
    assert predictor.path == "pyfunc"
    assert predictor.why.startswith("onnx is ruled out: it is a FixedThresholdClassifier; sklearn is ruled out: ")
    assert predictor.why.endswith("labels differ")
    assert_equals_own(predictor, model, [[0.2, 0.1, 0.0], [4.0, 4.0, 4.0], [-3.0, math.nan, 1.0]])
    assert "mlflow" in sys.modules


def test_a_model_that_can_not_be_loaded_at_all_is_refused(write_model: Callable[..., Path]) -> None:
    folder = write_model("gone", {"python_function": {"loader_module": "no_such_module_anywhere"}}, NUMBERS)
    with pytest.raises(InvalidInput, match=r"model 'ml.models.churn' version 1 can't be loaded"):
        load_predictor(plan(folder))


def test_why_a_model_can_not_be_loaded_is_told_without_the_words_of_a_library(
    pickled: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = pickled("sklearn", LinearRegression().fit(FEATURES.fillna(0), LABELS))

    def fails(*_: object) -> None:
        raise ValueError(
            "Invalid model format\nStack trace:\n  [bt] (0) libxgboost.so(+0x11031e)"
        )  # as XGBoost says it

    monkeypatch.setattr("millrace.serving.models.predictor._open", fails)
    with pytest.raises(InvalidInput) as caught:
        load_predictor(plan(folder))
    assert caught.value.message == "model 'ml.models.churn' version 1 can't be loaded: ValueError"
    assert "Invalid model format" not in str(caught.value)
    assert "can't be loaded: Invalid model format" in [line.partition("version 1 ")[2] for line in caplog.messages]


def test_a_model_in_skops_format_needs_no_mlflow(write_model: Callable[..., Path]) -> None:
    from skops.io import dump, dumps, get_untrusted_types  # type: ignore[import-untyped,unused-ignore]

    model = make_pipeline(SimpleImputer(), LogisticRegression()).fit(FEATURES, LABELS)
    trusted = get_untrusted_types(data=dumps(model))
    details = {"pickled_model": "model.skops", "serialization_format": "skops", "skops_trusted_types": trusted}
    folder = write_model("skops", {"sklearn": details}, NUMBERS)
    dump(model, folder / "model.skops")
    predictor = load_predictor(plan(folder))
    assert predictor.path == "onnx"
    assert_equals_own(predictor, model)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # MLflow's own, of each version another
@pytest.mark.parametrize(
    ("flavor", "details", "why"),
    [
        ("xgboost", {"model_class": "xgboost.core.Booster", "data": "m"}, "xgboost is ruled out: it is a Booster"),
        ("lightgbm", {"data": "m"}, "lightgbm is ruled out: it is a model without a class"),
        (
            "sklearn",
            {"pickled_model": "m", "serialization_format": "x"},
            "sklearn is ruled out: its format x is unknown",
        ),
        ("sklearn", {"pickled_model": "m"}, "sklearn could not be loaded natively (FileNotFoundError)"),
        ("python_function", {}, "the model has no native flavor"),
    ],
)
def test_the_reason_for_the_slow_path_is_told(
    write_model: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    *,
    flavor: str,
    details: dict[str, str],
    why: str,
) -> None:
    # A model of its own kind, as MLflow lets anybody write one: a module that says how it is loaded.
    (tmp_path / f"loads_{flavor}.py").write_text(
        "class Model:\n    def predict(self, frame):\n        return frame.sum(axis=1)\n\n\ndef _load_pyfunc(path):\n    return Model()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    pyfunc = {"loader_module": f"loads_{flavor}", "env": {}, "python_version": "3.11.0"}
    folder = write_model("own", {flavor: details, "python_function": pyfunc}, NUMBERS)
    predictor = load_predictor(plan(folder))
    assert (predictor.path, predictor.why) == ("pyfunc", why)
    assert predictor.predict(given([[1.0, 2.0, 3.5], [0.0, 0.0, -1.0]])) == Prediction([6.5, -1.0], None)


def test_times_reach_the_model_as_times() -> None:
    frame = to_frame(
        given([["2025-03-01T06:00:00+02:00", 1.0], [None, 2.0]], texts=[0]), [("at", "datetime"), ("a", "long")]
    )
    assert frame["at"].tolist()[0] == pd.Timestamp("2025-03-01 04:00:00")
    assert frame["at"].isna().tolist() == [False, True]
    assert str(frame["a"].dtype) == "int64"
