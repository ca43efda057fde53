"""Models that MLflow itself wrote, and random inputs for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # noqa: TID253 - a test


def numbers(random: np.random.Generator, rows: int) -> pd.DataFrame:
    """Random inputs in their types: small and great, whole and not, and what is missing where it may be."""
    scale = random.choice([1e-30, 0.1, 1.0, 1.0, 1.0, 1e3, 1e30], size=rows)
    frame = pd.DataFrame(
        {
            "a": random.normal(size=rows) * scale,
            "b": np.where(random.random(rows) < 0.2, np.nan, np.round(random.normal(size=rows) * 3)),
            "n": random.choice([0, 1, -1, 7, 2**40, -(2**52)], size=rows) + random.integers(-5, 5, size=rows),
            "i": random.integers(-(2**31), 2**31 - 1, size=rows).astype(np.int32),
            "f": np.where(random.random(rows) < 0.1, np.nan, random.normal(size=rows)).astype(np.float32),
            "flag": random.random(rows) < 0.5,
        }
    )
    frame.loc[random.random(rows) < 0.1, "a"] = np.nan
    frame.loc[random.random(rows) < 0.05, "a"] = -0.0
    return frame


def mixed(random: np.random.Generator, rows: int) -> pd.DataFrame:
    """Numbers and texts, among them texts that need quotes, and texts that look like something else."""
    frame = numbers(random, rows)[["a", "b", "n"]]
    texts = ["north", "south", 'näh, "x"', "NA", "1.5", "true", "two\nlines", None]
    frame["region"] = pd.Series([texts[pick] for pick in random.integers(len(texts), size=rows)], dtype=object)
    return frame


@dataclass(frozen=True)
class Saved:
    """A model as MLflow wrote it, and random inputs for it."""

    folder: Path
    inputs: Callable[[np.random.Generator, int], pd.DataFrame]

    def expected(self, frame: pd.DataFrame) -> list[Any]:
        """What MLflow itself says."""
        import mlflow

        result = mlflow.pyfunc.load_model(str(self.folder)).predict(frame)
        return list(result.to_dict("records") if isinstance(result, pd.DataFrame) else np.asarray(result).tolist())


def saved_models(root: Path) -> dict[str, Saved]:
    """Models of four kinds, with MLflow's own files and signatures, in folders under the root."""
    import mlflow
    from mlflow.models import infer_signature
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
    from xgboost import XGBClassifier

    random = np.random.default_rng(7)
    plain, rich = numbers(random, 600), mixed(random, 600)
    tame = plain.assign(a=plain["a"].clip(-1e9, 1e9))

    def folder(save: Any, frame: pd.DataFrame, predict: Any, **how: Any) -> Path:
        path = root / f"model-{len(list(root.iterdir()))}"
        save(path=path, signature=infer_signature(frame, predict(frame)), pip_requirements=["mlflow"], **how)
        return path

    boosted = XGBClassifier(n_estimators=25, max_depth=4, n_jobs=1).fit(plain, labels_of(plain, random))
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["a", "b", "n"]),
        (OneHotEncoder(handle_unknown="ignore"), ["region"]),
    )
    pipeline = make_pipeline(columns, LogisticRegression()).fit(rich, labels_of(rich, random))
    trees = HistGradientBoostingClassifier(max_iter=15).fit(tame, labels_of(plain, random))
    own = _own_model()
    pickled = {"serialization_format": "cloudpickle"}
    return {
        "boosted": Saved(
            folder(lambda **how: mlflow.xgboost.save_model(boosted, **how), plain, boosted.predict), numbers
        ),
        "pipeline": Saved(
            folder(lambda **how: mlflow.sklearn.save_model(pipeline, **how), rich, pipeline.predict, **pickled), mixed
        ),
        "trees": Saved(
            folder(lambda **how: mlflow.sklearn.save_model(trees, **how), plain, trees.predict, **pickled), numbers
        ),
        "own": Saved(
            folder(
                lambda **how: mlflow.pyfunc.save_model(python_model=own, **how),
                rich,
                lambda rows: own.predict(None, rows),
            ),
            mixed,
        ),
    }


def labels_of(frame: pd.DataFrame, random: np.random.Generator) -> np.ndarray:
    """Two classes that the inputs say something of."""
    lean = np.nan_to_num(frame["b"]) / 3 + np.sign(np.nan_to_num(frame["a"]))
    labels: np.ndarray = (random.random(len(frame)) < 1 / (1 + np.exp(-lean))).astype(int)
    return labels


def _own_model() -> Any:
    """A model of one's own: arithmetic on columns, and a text."""
    import mlflow

    class Weighted(mlflow.pyfunc.PythonModel):  # type: ignore[misc,unused-ignore]
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202, ARG002
            score = model_input["a"].fillna(0.5) / 3 + model_input["n"]
            who = model_input["region"].where(model_input["b"].notna(), "nobody").fillna("none")
            return pd.DataFrame({"score": score, "who": who})

    return Weighted()
