"""Log-loss, AUC and ranks of the AutoML benchmark, with bootstrap intervals over splits and rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
DRAWS = 2000
_LEAST = 1e-15
_TAILS = (0.025, 0.975)


@dataclass(frozen=True)
class Figure:
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float


class Table:
    """What all contenders answered on one table's splits, drawn again and again.

    A draw takes as many splits as there are, with replacement, and each split's test rows with replacement: the same splits and rows for all
    contenders, so that their differences have intervals too. Test sets of different seeds share rows, which makes intervals a little too narrow.

    Attributes:
        loss, auc: by contender, the mean over splits; first the measured, then of each draw.
    """

    def __init__(self, splits: Sequence[tuple[npt.NDArray[np.int64], Mapping[str, Floats]]], seed: int) -> None:
        rng = np.random.default_rng(seed)
        taken = rng.multinomial(len(splits), [1 / len(splits)] * len(splits), size=DRAWS)
        shares = np.vstack([np.ones(len(splits)), taken]) / len(splits)
        names = list(splits[0][1])
        self.loss = dict.fromkeys(names, np.zeros(DRAWS + 1))
        self.auc = dict.fromkeys(names, np.zeros(DRAWS + 1))
        for place, (truth, answers) in enumerate(splits):
            weights = np.vstack([np.ones(len(truth)), _drawn(rng, len(truth))])
            for name in names:
                share = shares[:, place]
                self.loss[name] = self.loss[name] + share * _loss(truth, answers[name], weights)
                self.auc[name] = self.auc[name] + share * _auc(truth, answers[name], weights)


def figure(values: Floats) -> Figure:
    """The measured value, first, with the interval of the draws after it."""
    low, high = np.nanquantile(values[1:], _TAILS)
    return Figure(float(values[0]), float(low), float(high))


def ranks(tables: Sequence[Table], names: Sequence[str]) -> dict[str, Floats]:
    """By contender, its mean rank over tables by log-loss, 1 for the best; equals share their mean rank."""
    from scipy.stats import rankdata

    found = [rankdata(np.vstack([table.loss[name] for name in names]), axis=0) for table in tables]
    return dict(zip(names, np.mean(found, axis=0), strict=True))


def _drawn(rng: np.random.Generator, rows: int) -> Floats:
    return rng.multinomial(rows, np.full(rows, 1 / rows), size=DRAWS).astype(np.float64)


def _loss(truth: npt.NDArray[np.int64], answers: Floats, weights: Floats) -> Floats:
    given = np.clip(answers / answers.sum(axis=1, keepdims=True), _LEAST, 1 - _LEAST)
    rows = -np.log(given[np.arange(len(truth)), truth])
    return np.asarray(weights @ rows / weights.sum(axis=1))


def _auc(truth: npt.NDArray[np.int64], answers: Floats, weights: Floats) -> Floats:
    """Of two classes the usual; of more, the mean over classes, each against the rest."""
    classes = range(answers.shape[1])
    each = [_area(truth == one, answers[:, one], weights) for one in (classes if len(classes) > 2 else [1])]  # noqa: PLR2004
    return np.asarray(np.mean(each, axis=0))


def _area(positive: npt.NDArray[np.bool_], scores: Floats, weights: Floats) -> Floats:
    """The weighted share of pairs in the right order, equals counting half; Mann and Whitney 1947."""
    _, group = np.unique(scores, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    up = np.add.reduceat(weights[:, order] * positive[order], starts, axis=1)
    down = np.add.reduceat(weights[:, order] * ~positive[order], starts, axis=1)
    below = np.cumsum(down, axis=1) - down / 2
    pairs = up.sum(axis=1) * down.sum(axis=1)
    with np.errstate(invalid="ignore"):
        return np.asarray((up * below).sum(axis=1) / pairs)


def split_of(results: Sequence[Mapping[str, Any]]) -> tuple[npt.NDArray[np.int64], dict[str, Floats]]:
    """One split's truth, and by contender what was answered."""
    import pandas as pd

    truth = pd.read_parquet(results[0]["truth"])["y"].to_numpy()
    return truth, {each["contender"]: np.load(each["answers"]) for each in results}
