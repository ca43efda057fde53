"""millrace's AutoML, and what needs no search: baselines, defaults, and the source document's XGBoost; see `automl_steps.py`."""

from __future__ import annotations

import pickle
import shutil
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import automl_steps

if TYPE_CHECKING:
    import pandas as pd

warnings.filterwarnings("ignore")
BASELINES = ("dummy", "logistic", "hist_gb", "lightgbm", "xgboost")
PLAIN = (*BASELINES, "xgboost-100")


def fit(contender: str, frame: pd.DataFrame, folder: Path, seconds: float, seed: int) -> Mapping[str, object]:
    """Search or fit, and keep the result."""
    if contender not in PLAIN:
        return _search(contender, frame, folder, seconds, seed)
    features, target = frame.drop(columns="y"), frame["y"].to_numpy()
    unfitted, begun = _model(contender, features, seed), time.perf_counter()
    model = unfitted.fit(features, target)
    taken = time.perf_counter() - begun
    (folder / "model.pickle").write_bytes(pickle.dumps(model))
    return {"fit_s": taken, "size_mb": automl_steps.size_mb(folder), "trials": 1, "best": contender}


def load(contender: str, folder: Path) -> Mapping[str, automl_steps.Answer]:
    """Asked as everybody is: with a frame of one row. What a search found is asked as the endpoint does it, too."""
    if contender not in PLAIN:
        return _found(folder)
    # The benchmark's own file, written a moment ago.
    model = pickle.loads((folder / "model.pickle").read_bytes())  # noqa: S301
    return {"row": model.predict_proba}


def _search(contender: str, frame: pd.DataFrame, folder: Path, seconds: float, seed: int) -> Mapping[str, object]:
    from contextlib import closing

    from millrace.automl import classify
    from millrace.workspace import open_workspace

    # A home is made once, with its databases; a search finds it there.
    with closing(open_workspace(folder / "home")) as workspace:
        workspace.tracking.list("bench")
    begun = time.perf_counter()
    latency = "low" if contender == "millrace-low" else "normal"
    found = classify(
        frame, "y", minutes=seconds / 60, seed=seed, latency=latency, home=folder / "home", experiment_name="bench"
    )
    trials = len(found.trials)  # waits for their runs, which count as part of the search
    taken = time.perf_counter() - begun
    # The logged model, where the answering process finds it whatever else the home holds.
    logged = next(path.parent for path in (folder / "home").rglob("MLmodel"))
    shutil.copytree(logged, folder / "result")
    return {
        "fit_s": taken,
        "size_mb": automl_steps.size_mb(folder / "result"),
        "trials": trials,
        "best": f"{found.final.kind} of {', '.join(found.search.trial(each.trial).name for each in found.final.members)}",
    }


def _found(folder: Path) -> Mapping[str, automl_steps.Answer]:
    import mlflow.sklearn

    model = mlflow.sklearn.load_model(str(folder / "result"))
    return {"row": model.predict_proba, "served": _Served(folder / "result")}


class _Served:
    """A row's way through the endpoint's predictor, from the values of its body on."""

    def __init__(self, model: Path) -> None:
        from mlflow.models import Model

        from millrace.serving.models.predictor import load_predictor
        from millrace.serving.types import LoadPlan, ServedEntity

        signature = Model.load(str(model)).signature
        inputs = tuple((each.name, each.type.name) for each in signature.inputs.inputs)
        self._numbers = [name for name, kind in inputs if kind != "string"]
        self._texts = [name for name, kind in inputs if kind == "string"]
        self._predictor = load_predictor(
            LoadPlan(ServedEntity("bench", "bench", "1"), str(model), "sklearn", inputs, None)
        )
        self.path = self._predictor.path

    def made(self, row: pd.DataFrame) -> Any:
        from millrace.serving.inputs import Inputs

        texts = tuple([None if value != value else value for value in row[name]] for name in self._texts)  # noqa: PLR0124 - NaN
        return Inputs(row[self._numbers].to_numpy("float64"), texts)

    def __call__(self, made: Any) -> Any:
        return self._predictor.predict(made)


def _model(contender: str, features: pd.DataFrame, seed: int) -> Any:
    """Defaults as each library has them. Texts are one-hot encoded before all; the linear model's numbers are imputed and scaled."""
    from lightgbm import LGBMClassifier
    from sklearn.dummy import DummyClassifier
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from xgboost import XGBClassifier

    from millrace.training.encode import encoded

    more = {"random_state": seed}
    threads = {"n_jobs": automl_steps.CORES}
    known = {
        "dummy": lambda: DummyClassifier(strategy="prior"),
        "logistic": lambda: LogisticRegression(max_iter=1000, **more),
        "hist_gb": lambda: HistGradientBoostingClassifier(**more),
        "lightgbm": lambda: LGBMClassifier(verbosity=-1, **more, **threads),
        "xgboost": lambda: XGBClassifier(**more, **threads),
        "xgboost-100": lambda: XGBClassifier(n_estimators=100, max_depth=6, learning_rate=0.1, **more, **threads),
    }
    numbers = (
        make_pipeline(SimpleImputer(strategy="median"), StandardScaler()) if contender == "logistic" else "passthrough"
    )
    return make_pipeline(encoded(features, numbers), known[contender]())


if __name__ == "__main__":
    automl_steps.main(fit, load)
