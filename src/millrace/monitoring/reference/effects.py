"""How far counts are from a reference, for many windows at once, less what chance alone would show."""

from __future__ import annotations

import numpy as np

from millrace.monitoring.reference.cells import Floats, Ints, Kind


def rolling(counts: Ints, scale: int) -> Ints:
    """Sums of the last `scale` rows, fewer at the beginning; same shape as `counts` (windows first)."""
    total = np.cumsum(counts, axis=0)
    total[scale:] = total[scale:] - total[:-scale].copy()
    return total


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
