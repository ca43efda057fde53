"""FLAML and AutoGluon in the AutoML benchmark, run by their own environments; see `automl_steps.py`.

Both are asked for probabilities by log-loss, as they come: FLAML's own choice of estimators, AutoGluon's presets (`medium_quality`, `best_quality`), neither with
neural networks, which would need torch.
"""

from __future__ import annotations

import os
import pickle
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

# The cores that are lent are known before any library counts them.
os.environ.setdefault("OMP_NUM_THREADS", "2")
warnings.filterwarnings("ignore")

import automl_steps  # noqa: E402

if TYPE_CHECKING:
    import pandas as pd

PRESETS = {"autogluon-medium": "medium_quality", "autogluon-best": "best_quality"}


def fit(contender: str, frame: pd.DataFrame, folder: Path, seconds: float, seed: int) -> Mapping[str, object]:
    """Search, and keep the result."""
    if contender in PRESETS:
        return _autogluon(PRESETS[contender], frame, folder, seconds)
    return _flaml(frame, folder, seconds, seed)


def load(contender: str, folder: Path) -> Mapping[str, automl_steps.Answer]:
    """AutoGluon is asked with its models in memory, and as it comes, when it reads them from disk for each question."""
    if contender not in PRESETS:
        # The benchmark's own file, written a moment ago.
        searched = pickle.loads((folder / "flaml.pickle").read_bytes())  # noqa: S301
        return {"row": lambda rows: searched.predict_proba(_categories(rows, searched.of_texts))}
    from autogluon.tabular import TabularPredictor

    cold, warm = (TabularPredictor.load(str(folder / "result"), verbosity=0) for _ in range(2))
    warm.persist()
    return {
        "row": lambda rows: warm.predict_proba(rows).to_numpy(),
        "cold": lambda rows: cold.predict_proba(rows).to_numpy(),
    }


def _flaml(frame: pd.DataFrame, folder: Path, seconds: float, seed: int) -> Mapping[str, object]:
    from flaml import AutoML

    features = frame.drop(columns="y")
    texts = {
        name: sorted(features[name].dropna().unique()) for name in features if features[name].dtype.kind not in "fiub"
    }
    searched, begun = AutoML(), time.perf_counter()
    searched.fit(
        X_train=_categories(features, texts),
        y_train=frame["y"].to_numpy(),
        task="classification",
        metric="log_loss",
        time_budget=seconds,
        n_jobs=automl_steps.CORES,
        seed=seed,
        verbose=0,
    )
    taken = time.perf_counter() - begun
    searched.of_texts = texts
    (folder / "flaml.pickle").write_bytes(pickle.dumps(searched))
    return {
        "fit_s": taken,
        "size_mb": automl_steps.size_mb(folder),
        "trials": len(searched.config_history),
        "best": searched.best_estimator,
    }


def _categories(rows: pd.DataFrame, texts: Mapping[str, Any]) -> pd.DataFrame:
    """Texts as pandas' categories: FLAML does not take the strings of pandas 3."""
    import pandas as pd

    return rows.assign(**{name: pd.Categorical(rows[name], categories=known) for name, known in texts.items()})


def _autogluon(preset: str, frame: pd.DataFrame, folder: Path, seconds: float) -> Mapping[str, object]:
    from autogluon.tabular import TabularPredictor

    predictor = TabularPredictor(label="y", eval_metric="log_loss", path=str(folder / "all"), verbosity=0)
    begun = time.perf_counter()
    predictor.fit(frame, presets=preset, time_limit=seconds, num_cpus=automl_steps.CORES, num_gpus=0)
    taken = time.perf_counter() - begun
    # What it offers for deployment: the models that the best one needs, and no more.
    predictor.clone_for_deployment(str(folder / "result"))
    return {
        "fit_s": taken,
        "size_mb": automl_steps.size_mb(folder / "result"),
        "trials": len(predictor.model_names()),
        "best": predictor.model_best,
    }


if __name__ == "__main__":
    automl_steps.main(fit, load)
