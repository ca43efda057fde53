"""millrace's AutoML, and what needs no search: baselines, defaults, and the source document's XGBoost; see `automl_steps.py`."""

from __future__ import annotations

import pickle
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
    del seconds
    features, target = frame.drop(columns="y"), frame["y"].to_numpy()
    unfitted, begun = _model(contender, features, seed), time.perf_counter()
    model = unfitted.fit(features, target)
    taken = time.perf_counter() - begun
    (folder / "model.pickle").write_bytes(pickle.dumps(model))
    return {"fit_s": taken, "size_mb": automl_steps.size_mb(folder), "trials": 1, "best": contender}


def load(contender: str, folder: Path) -> Mapping[str, automl_steps.Answer]:
    """Asked as everybody is: with a frame of one row."""
    del contender
    # The benchmark's own file, written a moment ago.
    model = pickle.loads((folder / "model.pickle").read_bytes())  # noqa: S301
    return {"row": model.predict_proba}


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
