"""From columns to numbers, as scikit-learn transformers that live in the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from millrace.automl.types import Impute, Preparation, Problem

if TYPE_CHECKING:
    import pandas as pd

DATE_PARTS = ("days", "year", "month", "day", "day_of_week", "hour")
_OTHER = "\x00 other"
"""The first category of a target encoder: it counts what is not told apart under its first, and answers nobody from that."""
_DAY_US = 86_400_000_000
_STRATEGY: dict[Impute, dict[str, object]] = {
    "median": {"strategy": "median"},
    "mean": {"strategy": "mean"},
    "most_frequent": {"strategy": "most_frequent"},
    "zero": {"strategy": "constant", "fill_value": 0.0},
    "none": {"strategy": "constant", "fill_value": 0.0},
}


def transformer(preparation: Preparation, problem: Problem, seed: int) -> Any:
    """An unfitted `ColumnTransformer`: numbers, parts of dates, one-hot columns, target-encoded columns, in this order.

    Args:
        preparation: which column goes where.
        problem: a target encoder has to know the kind of target.
        seed: deals the target encoder's own folds, which keep a row's label out of what it is encoded by.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import FunctionTransformer

    parts: list[tuple[str, Any, list[str]]] = []
    if preparation.numbers:
        parts += _numbers(preparation)
    if preparation.dates:
        dates: Any = FunctionTransformer(date_parts)
        parts.append(("dates", _scaled(dates, "median") if preparation.scale else dates, list(preparation.dates)))
    if preparation.one_hot:
        names, categories = zip(*preparation.one_hot, strict=True)
        parts.append(("one_hot", _one_hot(categories), list(names)))
    if preparation.target:
        names, categories = zip(*preparation.target, strict=True)
        encoder = _target(categories, problem, seed)
        parts.append(("target", _scaled(encoder, None) if preparation.scale else encoder, list(names)))
    return ColumnTransformer(parts)


def date_parts(frame: pd.DataFrame) -> np.ndarray:
    """Columns of times as float64: for each `DATE_PARTS`; NaN where there is no time. Days are counted from 1970, with their fraction."""
    import pandas as pd

    blocks = []
    for name in frame.columns:
        times = pd.to_datetime(frame[name], utc=True, errors="coerce").dt.tz_localize(None)
        days = times.to_numpy(dtype="datetime64[us]").astype(np.int64) / _DAY_US
        parts = (days, *(getattr(times.dt, part).to_numpy(dtype=np.float64) for part in DATE_PARTS[1:]))
        blocks.append(np.where(times.isna().to_numpy()[:, None], np.nan, np.column_stack(parts)))
    return np.hstack(blocks)


def _numbers(preparation: Preparation) -> list[tuple[str, Any, list[str]]]:
    if not preparation.scale:
        return [("numbers", "passthrough", list(preparation.numbers))]
    impute = dict(preparation.impute)
    ways = sorted({impute.get(name, "median") for name in preparation.numbers})
    return [
        (
            f"numbers_{way}",
            _scaled(None, way),
            [name for name in preparation.numbers if impute.get(name, "median") == way],
        )
        for way in ways
    ]


def _scaled(first: Any, impute: Impute | None) -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    filled = [] if impute is None else [SimpleImputer(**_STRATEGY[impute], keep_empty_features=True)]
    return make_pipeline(*([] if first is None else [first]), *filled, StandardScaler())


def _one_hot(categories: tuple[tuple[str, ...], ...]) -> Any:
    from sklearn.preprocessing import OneHotEncoder

    listed = [np.array(texts, dtype=object) for texts in categories]
    return OneHotEncoder(categories=listed, handle_unknown="ignore", sparse_output=False)


def _target(categories: tuple[tuple[str, ...], ...], problem: Problem, seed: int) -> Any:
    from sklearn.model_selection import KFold, StratifiedKFold
    from sklearn.preprocessing import TargetEncoder

    listed = [np.array([_OTHER, *texts], dtype=object) for texts in categories]
    kind, dealer = "continuous", KFold
    if problem.task == "classification":
        kind, dealer = ("binary" if problem.is_binary else "multiclass"), StratifiedKFold
    return TargetEncoder(categories=listed, target_type=kind, cv=dealer(5, shuffle=True, random_state=seed))
