"""Each kind of model answers on its path as it does itself, on rows that the proof has not seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd  # noqa: TID253 - a test of it
import pytest
from sklearn.compose import make_column_transformer  # noqa: TID253 - a test of it
from sklearn.dummy import DummyClassifier  # noqa: TID253 - a test of it
from sklearn.ensemble import (  # noqa: TID253 - a test of it
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.impute import SimpleImputer  # noqa: TID253 - a test of it
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier  # noqa: TID253 - a test of it
from sklearn.pipeline import make_pipeline  # noqa: TID253 - a test of it
from sklearn.preprocessing import (  # noqa: TID253 - a test of it
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)
from sklearn.tree import DecisionTreeClassifier  # noqa: TID253 - a test of it
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped,unused-ignore]
from xgboost import XGBClassifier, XGBRegressor  # noqa: TID253 - a test of it

from millrace.serving.inputs import Inputs
from millrace.serving.models.predictor import load_predictor
from millrace.serving.types import LoadPlan

Logged = Callable[[Any, list[tuple[str, str]]], LoadPlan]
ROWS = 3000
RANDOM = np.random.default_rng(11)
NAMES = ["a", "b", "c", "d", "e"]
WHOLE = pd.DataFrame(RANDOM.normal(size=(600, 5)), columns=NAMES).round(2)  # rounded: rows stand on thresholds
GAPS = WHOLE.mask(RANDOM.random(WHOLE.shape) < 0.1)
TWO = (WHOLE.a + WHOLE.b * WHOLE.c > 0).astype(int).to_numpy()
THREE = TWO + (WHOLE.d > 1).to_numpy()
VALUE = (3 * WHOLE.a + WHOLE.b).to_numpy()
TEXTS = {
    "region": pd.Series(RANDOM.choice(np.array(["n", "s", "e", None], dtype=object), 600).tolist(), dtype=object),
    "plan": pd.Series(RANDOM.choice(np.array(["x", "y"], dtype=object), 600).tolist(), dtype=object),
}
MIXED = GAPS.assign(**TEXTS)


def stopped_early() -> XGBClassifier:
    noisy = np.where(RANDOM.random(600) < 0.3, 1 - TWO, TWO)
    model = XGBClassifier(n_estimators=200, early_stopping_rounds=3, learning_rate=0.5, n_jobs=1)
    model.fit(GAPS[:400], noisy[:400], eval_set=[(GAPS[400:], noisy[400:])], verbose=False)
    assert model.best_iteration + 1 < model.get_booster().num_boosted_rounds()
    return model


def encoded(texts: Any, numbers: Any = "passthrough") -> Any:
    return make_column_transformer((texts, ["plan", "region"]), (numbers, NAMES))


def one_hot(**options: Any) -> OneHotEncoder:
    return OneHotEncoder(handle_unknown=options.pop("handle_unknown", "ignore"), sparse_output=False, **options)


def vote(**options: Any) -> VotingClassifier:
    parts = [
        ("linear", make_pipeline(encoded(one_hot(), prepared()), LogisticRegression())),
        ("xgboost", make_pipeline(encoded(one_hot()), XGBClassifier(n_estimators=20, n_jobs=1))),
        ("hist", make_pipeline(encoded(one_hot()), HistGradientBoostingClassifier(max_iter=20))),
    ]
    return VotingClassifier(parts, **options)


def prepared() -> Any:
    return make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler())


@dataclass(frozen=True)
class Case:
    """A model: how it is fitted, what it may be asked, and the path that it must be on."""

    fit: Callable[[], Any]
    asked: pd.DataFrame
    path: str = "onnx"
    why: str = ""


CASES = {
    "xgboost": Case(lambda: XGBClassifier(n_estimators=40, n_jobs=1).fit(WHOLE, TWO), GAPS),
    "xgboost with gaps": Case(lambda: XGBClassifier(n_estimators=40, n_jobs=1).fit(GAPS, TWO), GAPS),
    "xgboost missing=0": Case(
        lambda: XGBClassifier(n_estimators=9, missing=0.0, n_jobs=1).fit(WHOLE.round(), TWO), GAPS
    ),
    "xgboost base": Case(lambda: XGBClassifier(n_estimators=9, base_score=0.9, n_jobs=1).fit(GAPS, TWO), GAPS),
    "xgboost of three": Case(lambda: XGBClassifier(n_estimators=20, n_jobs=1).fit(GAPS, THREE), GAPS),
    "xgboost regressor": Case(lambda: XGBRegressor(n_estimators=40, n_jobs=1).fit(GAPS, VALUE), GAPS),
    "xgboost counts": Case(
        lambda: XGBRegressor(n_estimators=20, objective="count:poisson", n_jobs=1).fit(GAPS, np.abs(VALUE)), GAPS
    ),
    "xgboost dart": Case(
        lambda: XGBClassifier(n_estimators=20, booster="dart", rate_drop=0.3, n_jobs=1).fit(GAPS, TWO), GAPS
    ),
    "xgboost stopped early": Case(stopped_early, GAPS),
    "forest": Case(lambda: RandomForestClassifier(30, random_state=1).fit(WHOLE, TWO), WHOLE),
    "forest with gaps": Case(
        lambda: RandomForestClassifier(30, min_samples_leaf=5, random_state=1).fit(GAPS, TWO), GAPS
    ),
    "forest of three": Case(lambda: RandomForestClassifier(20, random_state=1).fit(GAPS, THREE), GAPS),
    "forest regressor": Case(lambda: RandomForestRegressor(20, random_state=1).fit(GAPS, VALUE), GAPS),
    "extra trees": Case(lambda: ExtraTreesClassifier(20, random_state=1).fit(GAPS, TWO), GAPS),
    "tree": Case(lambda: DecisionTreeClassifier(max_depth=6, random_state=1).fit(GAPS, THREE), GAPS),
    "boosted": Case(lambda: GradientBoostingClassifier(n_estimators=20, random_state=1).fit(WHOLE, THREE), WHOLE),
    "boosted regressor": Case(
        lambda: GradientBoostingRegressor(n_estimators=20, random_state=1).fit(WHOLE, VALUE), WHOLE
    ),
    "hist": Case(lambda: HistGradientBoostingClassifier(max_iter=20).fit(GAPS, TWO), GAPS),
    "hist without gaps": Case(lambda: HistGradientBoostingClassifier(max_iter=20).fit(WHOLE, TWO), GAPS),
    "hist of three": Case(lambda: HistGradientBoostingClassifier(max_iter=20).fit(GAPS, THREE), GAPS),
    "hist regressor": Case(lambda: HistGradientBoostingRegressor(max_iter=20).fit(GAPS, VALUE), GAPS),
    "dummy": Case(lambda: DummyClassifier(strategy="prior").fit(WHOLE, TWO), WHOLE),
    "logistic": Case(lambda: make_pipeline(prepared(), LogisticRegression()).fit(GAPS, TWO), GAPS),
    "logistic of three": Case(lambda: make_pipeline(prepared(), LogisticRegression()).fit(GAPS, THREE), GAPS),
    "ridge": Case(lambda: make_pipeline(SimpleImputer(), MinMaxScaler(), Ridge()).fit(GAPS, VALUE), GAPS),
    "ridge classifier": Case(lambda: make_pipeline(RobustScaler(), RidgeClassifier()).fit(WHOLE, THREE), WHOLE),
    "texts, logistic": Case(
        lambda: make_pipeline(encoded(one_hot(), prepared()), LogisticRegression()).fit(MIXED, TWO), MIXED
    ),
    "texts, xgboost": Case(
        lambda: make_pipeline(encoded(one_hot()), XGBClassifier(n_estimators=20, n_jobs=1)).fit(MIXED, TWO), MIXED
    ),
    "rare texts, hist": Case(
        lambda: make_pipeline(
            encoded(one_hot(handle_unknown="infrequent_if_exist", min_frequency=200)),
            HistGradientBoostingClassifier(max_iter=20),
        ).fit(MIXED, TWO),
        MIXED,
    ),
    "ordinal, forest": Case(
        lambda: make_pipeline(
            encoded(OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)),
            RandomForestClassifier(20, random_state=1),
        ).fit(MIXED, THREE),
        MIXED,
    ),
    "filled texts, logistic": Case(
        lambda: make_pipeline(
            encoded(make_pipeline(SimpleImputer(strategy="most_frequent", missing_values=None), one_hot()), prepared()),
            LogisticRegression(),
        ).fit(MIXED, TWO),
        MIXED,
    ),
    "hist by category": Case(
        lambda: make_pipeline(
            encoded(OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=math.nan)),
            HistGradientBoostingClassifier(max_iter=20, categorical_features=[0, 1]),
        ).fit(MIXED, TWO),
        MIXED,
        "sklearn",
        "onnx is ruled out: it has inputs by category",
    ),
    "vote of several kinds": Case(lambda: vote(voting="soft", weights=[0.5, 0.3, 0.2]).fit(MIXED, TWO), MIXED),
    "vote of three": Case(lambda: vote(voting="soft").fit(MIXED, THREE), MIXED),
    "vote of regressors": Case(
        lambda: VotingRegressor(
            [
                ("xgboost", XGBRegressor(n_estimators=20, n_jobs=1)),
                ("hist", HistGradientBoostingRegressor(max_iter=20)),
                ("ridge", make_pipeline(SimpleImputer(), Ridge())),
            ],
            weights=[2, 1, 1],
        ).fit(GAPS, VALUE),
        GAPS,
    ),
    "vote that is counted": Case(
        lambda: vote(voting="hard").fit(MIXED, TWO), MIXED, "sklearn", "onnx is ruled out: its votes are counted"
    ),
    "outliers": Case(
        lambda: IsolationForest(n_estimators=9, random_state=1).fit(WHOLE),
        WHOLE,
        "sklearn",
        "onnx is ruled out: it is a IsolationForest",
    ),
    "squares": Case(
        lambda: make_pipeline(PolynomialFeatures(2), Ridge()).fit(WHOLE, VALUE),
        WHOLE,
        "sklearn",
        "onnx is ruled out: it has a PolynomialFeatures",
    ),
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Trees are grown with as many threads as there are cores, which wait for each other where tests run side by side."""
    with threadpool_limits(limits=1):
        yield


def asked(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows out of a frame's values, each column shuffled for itself: on, just over and just under what training saw,
    and halfway between two such values, where libraries put their thresholds."""
    random = np.random.default_rng(5)
    columns = {}
    for name, column in frame.items():
        values = column.to_numpy()[random.integers(len(column), size=ROWS)]
        if column.dtype == object:
            columns[name] = pd.Series([*values[:-1].tolist(), "a text that nobody has seen"], dtype=object)
            continue
        halfway = (values + column.to_numpy()[random.integers(len(column), size=ROWS)]) / 2
        values = np.where(random.random(ROWS) < 0.5, values, halfway)
        beside = [values, np.nextafter(values, np.inf), np.nextafter(values, -np.inf), values.astype(np.float32)]
        columns[name] = np.choose(random.integers(4, size=ROWS), beside)
    return pd.DataFrame(columns)


def assert_equals_own(plan: LoadPlan, model: Any, rows: pd.DataFrame, path: str, why: str = "") -> None:
    predictor = load_predictor(plan)
    assert predictor.path.removesuffix("+xgboost") == path, predictor.why
    assert why in predictor.why
    texts = [name for name in rows if rows[name].dtype == object]
    inputs = Inputs(rows.drop(columns=texts).to_numpy(), tuple(rows[name].tolist() for name in texts))
    prediction = predictor.predict(inputs)
    expected = model.predict(rows)
    if hasattr(model, "classes_"):
        assert list(prediction.labels) == expected.tolist()
    else:
        assert np.asarray(prediction.labels) == pytest.approx(expected, rel=1e-6, abs=1e-6)
    if hasattr(model, "predict_proba"):
        chances = model.predict_proba(rows)
        given = np.asarray(prediction.probabilities)
        assert np.abs(given - (chances[:, 1] if chances.shape[1] == 2 else chances)).max() <= 1e-6
    alone = [predictor.predict(inputs.slice(row, row + 1)).labels[0] for row in range(40)]
    assert alone == pytest.approx(prediction.labels[:40], rel=1e-6)


def signature_of(frame: pd.DataFrame) -> list[tuple[str, str]]:
    return [(str(name), "string" if frame[name].dtype == object else "double") for name in frame]


@pytest.mark.parametrize("name", CASES)
def test_a_model_answers_as_it_does_itself(logged: Logged, name: str) -> None:
    case = CASES[name]
    model = case.fit()
    if name == "xgboost missing=0":
        model.missing = math.nan  # what stands for missing is not saved, so it is lost when MLflow loads the model
    assert_equals_own(logged(model, signature_of(case.asked)), model, asked(case.asked), case.path, case.why)


@pytest.mark.openmp
@pytest.mark.parametrize("kind", ["of two", "without gaps", "of three", "regressor"])
def test_lightgbm_answers_as_it_does_itself(logged: Logged, kind: str) -> None:
    from lightgbm import LGBMClassifier, LGBMRegressor

    options = {"n_estimators": 30, "verbose": -1, "n_jobs": 1}
    labels = {"of two": TWO, "without gaps": TWO, "of three": THREE, "regressor": VALUE}[kind]
    model = (LGBMRegressor if kind == "regressor" else LGBMClassifier)(**options)
    model.fit(WHOLE if kind == "without gaps" else GAPS, labels)
    assert_equals_own(logged(model, signature_of(GAPS)), model, asked(GAPS), "onnx")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # MLflow's own, of each version another
def test_a_linear_booster_is_left_to_mlflow(logged: Logged) -> None:
    model = XGBClassifier(n_estimators=9, booster="gblinear", n_jobs=1).fit(WHOLE, TWO)
    why = "onnx is ruled out: its booster is gblinear; xgboost is ruled out: it fails where the model's own predict does not"
    assert_equals_own(logged(model, signature_of(WHOLE)), model, asked(WHOLE), "pyfunc", why)
