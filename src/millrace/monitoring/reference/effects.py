"""How far counts are from a reference, for many windows at once, less what chance alone would show."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from millrace.monitoring.reference.cells import Bools, Floats, Ints, Kind

Numbers = TypeVar("Numbers", Ints, Floats)
_LEAST_EXPECTED = 5.0


def summed(values: Numbers, numbers: Ints, scale: int) -> Numbers:
    """Sums over each window and those before it, `scale` numbers in all; gaps between numbers are windows without rows.

    Args:
        values: w rows of counts, or w numbers.
        numbers: of the w windows, rising.
        scale: how many windows.
    """
    total = np.cumsum(values, axis=0)
    before = np.searchsorted(numbers, numbers - scale, side="right") - 1
    return np.asarray(total - np.where(_like(before >= 0, total), total[np.maximum(before, 0)], 0), dtype=values.dtype)


def normal_scores(reference: Ints) -> Floats:
    """Of each cell the standard normal quantile of its middle rank, so that the reference's mean is 0 (van der Waerden 1952).

    They tell where values lie whatever the shape of the distribution, and one outlier counts no more than a few standard deviations.

    Args:
        reference: k counts, at least one above 0.
    """
    from scipy.special import ndtri

    rows = reference.sum()
    middle = (np.cumsum(reference) - reference / 2) / rows
    scores = ndtri(np.clip(middle, 0.5 / (rows + 1), 1 - 0.5 / (rows + 1)))
    return np.asarray(scores - reference @ scores / rows, dtype=np.float64)


def chi2_statistics(reference: Ints, counts: Ints) -> tuple[Floats, Floats]:
    """Pearson's chi-squared of homogeneity with the reference of each row of counts, and its degrees of freedom.

    Cells where the smaller of the two samples expects fewer than 5 are one together, left out where that expects fewer than 5 itself (Cochran 1954).

    Args:
        reference: k counts.
        counts: w x k counts.
    """
    n, m = counts.sum(axis=1, keepdims=True).astype(np.float64), float(max(reference.sum(), 1))
    both = (counts + reference) / (n + m)
    difference = counts / np.maximum(n, 1) - reference / m
    per_cell = difference**2 / np.maximum(both, 1e-300)
    least = np.minimum(n, m)
    kept = both * least >= _LEAST_EXPECTED
    rest, rest_difference = (np.where(kept, 0.0, part).sum(axis=1) for part in (both, difference))
    pooled = rest * least[:, 0] >= _LEAST_EXPECTED
    statistic = np.where(kept, per_cell, 0.0).sum(axis=1)
    statistic = statistic + np.where(pooled, rest_difference**2 / np.maximum(rest, 1e-300), 0.0)
    cells = kept.sum(axis=1) + pooled
    return statistic * n[:, 0] * m / (n[:, 0] + m), np.maximum(cells - 1, 0).astype(np.float64)


def distances(kind: Kind, reference: Ints, counts: Ints) -> Floats:
    """KS (numeric) or total variation (text) of each row of counts against the reference; 0 for a row without values.

    Args:
        kind: which distance.
        reference: k counts, or windows x k.
        counts: windows x k.
    """
    difference = shares(counts) - shares(reference)
    gap: Floats
    if kind == "numeric":
        gap = np.abs(np.cumsum(difference, axis=-1)[..., :-1]).max(axis=-1, initial=0.0)
    else:
        gap = np.abs(difference).sum(axis=-1) / 2
    return np.where(counts.sum(axis=-1) > 0, gap, 0.0)


def chance_distances(kind: Kind, reference: Ints, rows: Floats) -> Floats:
    """The distance that samples of the reference's own distribution show on average.

    KS: 0.8687 sqrt(1/n + 1/m), the mean of Kolmogorov's distribution (sqrt(pi/2) ln 2). Total variation: half the sum of the
    mean absolute normal deviations, sqrt(2/pi) sd, of all cells.

    Args:
        kind: which distance.
        reference: k counts, or windows x k.
        rows: values per window, at least 1.
    """
    spread = 1.0 / rows + 1.0 / np.maximum(reference.sum(axis=-1), 1)
    if kind == "numeric":
        return np.asarray(np.sqrt(np.pi / 2) * np.log(2.0) * np.sqrt(spread), dtype=np.float64)
    p = shares(reference)
    return np.asarray(np.sqrt(2 / np.pi) * np.sqrt(p * (1 - p)).sum(axis=-1) * np.sqrt(spread) / 2)


def effects(kind: Kind, reference: Ints, counts: Ints) -> Floats:
    """Distances less what chance shows on average, 0 or more."""
    rows = np.maximum(counts.sum(axis=-1), 1).astype(np.float64)
    return np.maximum(distances(kind, reference, counts) - chance_distances(kind, reference, rows), 0.0)


def shares(counts: Ints) -> Floats:
    """Counts as shares of their row; zeros for an empty row."""
    return np.asarray(counts / np.maximum(counts.sum(axis=-1, keepdims=True), 1), dtype=np.float64)


def _like(rows: Bools, values: Numbers) -> Bools:
    return rows.reshape((-1,) + (1,) * (values.ndim - 1))
