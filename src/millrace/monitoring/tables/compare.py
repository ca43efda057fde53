"""Rows of the drift table: one window of a column against the reference, or against the window before."""

from __future__ import annotations

from math import isfinite

import numpy as np

from millrace.monitoring.counts.sums import Moments
from millrace.monitoring.counts.window_counts import WindowCounts
from millrace.monitoring.reference.cells import Floats, Ints
from millrace.monitoring.reference.column import ColumnProfile
from millrace.monitoring.tables.statistics import Row
from millrace.statistics.distances import Shares
from millrace.statistics.tests import chi2_from_counts, ks_p_value

_DELTAS = ("avg", "percent_zeros", "percent_distinct")


def baseline_counts(profile: ColumnProfile) -> Ints:
    """The reference's counts, missing first, as a window's are."""
    return np.array([profile.missing, *profile.counts], dtype=np.int64)


def baseline_row(profile: ColumnProfile) -> Row:
    """Those statistics of the reference that deltas are taken of, from its cells as a window's are."""
    return _moving(profile, int(np.count_nonzero(profile.counts)), profile.rows, profile.zeros, profile.mean)


def window_row(window: WindowCounts, name: str, profile: ColumnProfile) -> Row:
    """The same of a window."""
    moments = window.moments.get(name, Moments())
    mean = moments.mean if moments.mean is not None and isfinite(moments.mean) else None
    return _moving(profile, int(np.count_nonzero(window.cells[name][1:])), window.rows, moments.zeros, mean)


def _moving(profile: ColumnProfile, distinct: int, rows: int, zeros: int, mean: float | None) -> Row:
    every = max(rows, 1)
    row: Row = {"percent_distinct": 100.0 * distinct / every}
    return row | {"avg": mean, "percent_zeros": 100.0 * zeros / every} if profile.kind == "numeric" else row


def deltas(before: Row, now: Row) -> Row:
    """Now less before, of the mean and the shares of zeros and distinct values; null where a side has none."""
    found: Row = {}
    for name in _DELTAS:
        then, after = before.get(name), now.get(name)
        found[f"{name}_delta"] = after - then if isinstance(then, float) and isinstance(after, float) else None
    return found


def compare(profile: ColumnProfile, before: Ints, now: Ints) -> Row:
    """Distances of two counts (1 + k, missing first) in the reference's cells; null where a side has no values.

    Numbers: KS with p-value, Wasserstein (in the column's unit), PSI. Text: chi-squared, total variation, L-infinity. Both: Jensen-Shannon.
    """
    row: Row = {
        "count_delta": int(now.sum() - before.sum()),
        "percent_null_delta": _percent_missing(now) - _percent_missing(before),
    }
    p, q = before[1:], now[1:]
    if not p.sum() or not q.sum():
        return row
    shares = Shares.of(p, q)
    row["js_distance"] = shares.js()
    if profile.kind == "numeric":
        statistic = shares.ks()
        p_value = ks_p_value(statistic, float(p.sum()), float(q.sum()))
        row["ks_test"] = {"statistic": statistic, "pvalue": p_value}
        row["wasserstein_distance"] = shares.wasserstein(_bounds(profile))
        row["population_stability_index"] = shares.psi()
    else:
        test = chi2_from_counts(p, q)
        row["chi_squared_test"] = {"statistic": test.statistic, "pvalue": test.p_value}
        row["tv_distance"] = shares.tv()
        row["l_infinity_distance"] = shares.l_infinity()
    return row


def _bounds(profile: ColumnProfile) -> Floats:
    """Finite edges: what is out of the reference's range is taken to be at its end."""
    edges = np.asarray(profile.edges, dtype=np.float64)
    return np.concatenate([edges[:1], edges, edges[-1:]])


def _percent_missing(counts: Ints) -> float:
    total = int(counts.sum())
    return 100.0 * int(counts[0]) / total if total else 0.0
