"""How much a model relies on each feature: what its answers lose when the feature is shuffled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from millrace.statistics.metrics import Floats, row_log_loss

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

_MOST_ROWS = 5000
_REPEATS = 3
_ROUNDING = 1e-12

Scored = Callable[["pd.DataFrame"], Floats]


def importances(
    scored: Scored, features: pd.DataFrame, labels: npt.NDArray[np.int64], *, seed: int
) -> Mapping[str, float]:
    """Feature to its share of the importance of all, in the order of the columns.

    Permutation importance (Breiman 2001): by how much the mean log-loss grows when the feature's values are dealt out anew, 3 times,
    over at most 5,000 rows that were not trained on. A feature that is no use has 0. Features that say the same share what they say.

    Args:
        scored: rows to the probability of class 1.
        features: n rows, columns in the model's order.
        labels: n labels, 0 or 1.
        seed: of the rows that are taken, and of the shuffling.

    Returns:
        Shares that add up to 1; nothing where no feature is any use.
    """
    rng = np.random.default_rng(seed)
    if len(features) > _MOST_ROWS:
        taken = np.sort(rng.choice(len(features), _MOST_ROWS, replace=False))
        features, labels = features.iloc[taken], labels[taken]
    before = _loss(scored, features, labels)
    grown = {
        str(name): float(np.mean([_loss(scored, _shuffled(features, name, rng), labels) for _ in range(_REPEATS)]))
        - before
        for name in features.columns
    }
    used = {name: one if one > _ROUNDING else 0.0 for name, one in grown.items()}
    total = sum(used.values())
    return {name: one / total for name, one in used.items()} if total > 0 else {}


def _loss(scored: Scored, features: pd.DataFrame, labels: npt.NDArray[np.int64]) -> float:
    return float(row_log_loss(labels.astype(np.float64), scored(features)).mean())


def _shuffled(features: pd.DataFrame, name: str, rng: np.random.Generator) -> pd.DataFrame:
    changed = features.copy(deep=False)
    changed[name] = features[name].take(rng.permutation(len(features))).set_axis(features.index)
    return changed
