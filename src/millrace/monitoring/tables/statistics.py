"""Rows of the profile table: what each column looked like in one window, from its counts.

What only the values themselves could tell is near: quantiles and the median lie in the right cell of the reference (1/512 of its rows, or one
value), and interpolate within it; distinct values are counted as cells that have rows, exact where the reference has a cell for each value.
"""

from __future__ import annotations

from math import isfinite

import numpy as np

from millrace.monitoring.counts.sums import Moments
from millrace.monitoring.counts.window_counts import WindowCounts
from millrace.monitoring.reference.cells import Floats, Ints
from millrace.monitoring.reference.column import ColumnProfile

Row = dict[str, object]
_QUANTILES = np.linspace(0.0, 1.0, 21)
_FREQUENT = 10


def column_row(window: WindowCounts, name: str, profile: ColumnProfile) -> Row:
    """Statistics of one column in one window. `count` is of values that are not null; shares are percent of all rows."""
    cells, moments = window.cells[name], window.moments.get(name, Moments())
    nulls = int(cells[0]) - moments.nans
    row: Row = {
        "count": window.rows - nulls,
        "num_nulls": nulls,
        "percent_null": _percent(nulls, window.rows),
        "distinct_count": int(np.count_nonzero(cells[1:])),
        "percent_distinct": _percent(int(np.count_nonzero(cells[1:])), window.rows),
    }
    if profile.kind == "text":
        return row | _text(cells, moments, profile)
    return row | _numeric(cells, moments, profile, window.rows)


def quantiles(counts: Ints, edges: Floats, low: float, high: float, shares: Floats) -> Floats:
    """Values below which the shares of the rows are, by the cells `(-inf, e0], ..., (ek, inf)`; all within [low, high]."""
    ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.float64)
    upper = np.clip(np.append(edges, high), low, high)
    lower = np.concatenate([[low], upper[:-1]])
    rank = shares * ends[-1]
    cell = np.clip(np.searchsorted(ends[1:], rank, side="left"), 0, len(counts) - 1)
    within = (rank - ends[cell]) / np.maximum(counts[cell], 1)
    found: Floats = lower[cell] + (upper[cell] - lower[cell]) * np.clip(within, 0.0, 1.0)
    return found


def _numeric(cells: Ints, moments: Moments, profile: ColumnProfile, rows: int) -> Row:
    row: Row = {
        "num_nan": moments.nans,
        "percent_nan": _percent(moments.nans, rows),
        "num_zeros": moments.zeros,
        "percent_zeros": _percent(moments.zeros, rows),
    }
    if not moments.count:
        return row
    edges = np.asarray(profile.edges, dtype=np.float64)
    found = quantiles(cells[1:], edges, moments.low, moments.high, _QUANTILES).tolist()
    return row | {
        "avg": _finite(moments.mean),
        "stddev": _finite(moments.sd),
        "min": moments.low,
        "max": moments.high,
        "median": found[len(found) // 2],
        "quantiles": found,
    }


def _text(cells: Ints, moments: Moments, profile: ColumnProfile) -> Row:
    counts = cells[1:-1].tolist()  # the last cell is that of all other texts
    counted = [(item, count) for item, count in zip(profile.categories, counts, strict=True) if count]
    frequent = sorted(counted, key=lambda item: (-item[1], item[0]))[:_FREQUENT]
    row: Row = {"frequent_items": [{"item": item, "count": count} for item, count in frequent]}
    if moments.count:
        row |= {"min_length": int(moments.low), "max_length": int(moments.high), "avg_length": moments.mean}
    return row


def _finite(value: float | None) -> float | None:
    return value if value is not None and isfinite(value) else None


def _percent(part: int, whole: int) -> float:
    return 100.0 * part / whole if whole else 0.0
