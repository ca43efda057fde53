"""Rows of the drift table: one window of a column against the reference, or against the window before."""

from __future__ import annotations

import numpy as np

from millrace.monitoring.reference.cells import Floats, Ints
from millrace.monitoring.reference.column import ColumnProfile
from millrace.monitoring.tables.statistics import Row
from millrace.statistics.distances import (
    js_from_counts,
    ks_from_counts,
    l_infinity_from_counts,
    psi_from_counts,
    tv_from_counts,
    wasserstein_from_counts,
)
from millrace.statistics.tests import chi2_from_counts, ks_p_value

_DELTAS = ("avg", "percent_zeros", "percent_distinct")


def baseline_counts(profile: ColumnProfile) -> Ints:
    """The reference's counts, missing first, as a window's are."""
    return np.array([profile.missing, *profile.counts], dtype=np.int64)


def baseline_row(profile: ColumnProfile) -> Row:
    """Those statistics of the reference that deltas are taken of, from its cells as a window's are."""
    rows = max(profile.rows, 1)
    shares: Row = {"percent_distinct": 100.0 * int(np.count_nonzero(profile.counts)) / rows}
    if profile.kind == "numeric":
        shares |= {"avg": profile.mean, "percent_zeros": 100.0 * profile.zeros / rows}
    return shares


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
    row["js_distance"] = js_from_counts(p, q)
    if profile.kind == "numeric":
        statistic = ks_from_counts(p, q)
        p_value = ks_p_value(statistic, float(p.sum()), float(q.sum()))
        row["ks_test"] = {"statistic": statistic, "pvalue": p_value}
        row["wasserstein_distance"] = wasserstein_from_counts(p, q, _bounds(profile))
        row["population_stability_index"] = psi_from_counts(p, q)
    else:
        test = chi2_from_counts(p, q)
        row["chi_squared_test"] = {"statistic": test.statistic, "pvalue": test.p_value}
        row["tv_distance"] = tv_from_counts(p, q)
        row["l_infinity_distance"] = l_infinity_from_counts(p, q)
    return row


def _bounds(profile: ColumnProfile) -> Floats:
    """Finite edges: what is out of the reference's range is taken to be at its end."""
    edges = np.asarray(profile.edges, dtype=np.float64)
    return np.concatenate([edges[:1], edges, edges[-1:]])


def _percent_missing(counts: Ints) -> float:
    total = int(counts.sum())
    return 100.0 * int(counts[0]) / total if total else 0.0
