"""How sure is a mean of rows that belong to somebody and to a stretch of time? Neither the rows of one key nor those of one time are independent."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt

from millrace.core.errors import InvalidInput
from millrace.statistics.bootstrap import Interval
from millrace.statistics.metrics import Floats

Ints = npt.NDArray[np.int64]
_MOST_GROUPS = 1000  # keys beyond it are drawn in random groups
_NOTHING = float("nan")


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean with its interval; NaN where there are no rows, and bounds that are NaN where there are fewer than two blocks."""

    value: float
    interval: Interval
    rows: int
    blocks: int


def two_way_mean(
    values: Floats, keys: Ints, blocks: Ints, *, seed: int, draws: int = 1000, confidence: float = 0.95
) -> Mean:
    """Mean of values, with a bootstrap interval that draws keys and blocks of time, each with replacement.

    A draw weighs a row by how often its key was drawn times how often its block was: the pigeonhole bootstrap (Owen 2007, Annals of
    Applied Statistics 1(2)), which never makes the variance of a two-way sum too small. Percentiles are expanded for the few blocks, as if
    their mean were t-distributed (Hesterberg 2015, The American Statistician 69(4), section 5.3).

    Args:
        values: n values.
        keys: n codes of whom a row is about, 0 or more.
        blocks: n codes of stretches of time.
        seed: same seed, same interval to the bit.
        draws: how many resamples.
        confidence: between 0 and 1.

    Raises:
        InvalidInput: lengths differ, a confidence outside (0, 1), or no draws.
    """
    if not len(values) == len(keys) == len(blocks):
        raise InvalidInput(
            f"{len(values)} values, {len(keys)} keys, {len(blocks)} blocks", hint="give one of each a row"
        )
    if not 0.0 < confidence < 1.0 or draws < 1:
        raise InvalidInput(
            f"confidence {confidence} with {draws} draws", hint="give 0 < confidence < 1 and 1 draw or more"
        )
    there, block = np.unique(blocks, return_inverse=True)
    if not len(values):
        return Mean(_NOTHING, Interval(_NOTHING, _NOTHING, confidence), 0, 0)
    value = float(np.mean(values))
    if len(there) < 2:  # noqa: PLR2004 - one stretch of time says nothing about others
        return Mean(value, Interval(_NOTHING, _NOTHING, confidence), len(values), 1)
    sums, counts = _cells(values, keys, block, len(there))
    means = _draw(sums, counts, np.random.default_rng(seed), draws)
    tail = _tail((1.0 - confidence) / 2, len(there))
    low, high = np.quantile(means[~np.isnan(means)], (tail, 1.0 - tail))
    return Mean(value, Interval(float(low), float(high), confidence), len(values), len(there))


def _cells(values: Floats, keys: Ints, blocks: Ints, count: int) -> tuple[Floats, Floats]:
    """Sums and row counts, keys (or groups of them) x blocks."""
    groups = np.unique(keys, return_inverse=True)[1] % _MOST_GROUPS
    number = int(groups.max()) + 1
    cell = groups * count + blocks
    sums = np.bincount(cell, weights=values, minlength=number * count).reshape(number, count).astype(np.float64)
    return sums, np.bincount(cell, minlength=number * count).reshape(number, count).astype(np.float64)


def _draw(sums: Floats, counts: Floats, rng: np.random.Generator, draws: int) -> Floats:
    groups, blocks = sums.shape
    means = np.full(draws, np.nan)
    for number in range(draws):
        by_key = np.bincount(rng.integers(0, groups, groups), minlength=groups)
        by_block = np.bincount(rng.integers(0, blocks, blocks), minlength=blocks)
        # Sums along an axis, not matrix products: those add up in an order that depends on threads.
        rows = float(((counts * by_block).sum(axis=1) * by_key).sum())
        if rows > 0:
            means[number] = float(((sums * by_block).sum(axis=1) * by_key).sum()) / rows
    return means


def _tail(tail: float, blocks: int) -> float:
    from scipy.special import ndtr, stdtrit

    return float(ndtr(sqrt(blocks / (blocks - 1)) * float(stdtrit(blocks - 1, tail))))
