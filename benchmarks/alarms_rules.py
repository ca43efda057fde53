"""What other rules say of the same windows: fixed thresholds, p-values, and Evidently's preset by our own reading of it.

Evidently 0.7 with a reference of over 1,000 rows calls a number drifted at a Wasserstein distance over 0.1 standard deviations of the
reference, a category at a Jensen-Shannon distance (natural logarithms) over 0.1, and the data set at half of its columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log, sqrt

import numpy as np
from alarms_world import Floats, Ints

from millrace.monitoring.counts.window_counts import WindowCounts
from millrace.monitoring.reference.column import ColumnProfile
from millrace.statistics.distances import (
    js_from_counts,
    ks_from_counts,
    psi_from_counts,
    tv_from_counts,
    wasserstein_from_counts,
)
from millrace.statistics.tests import chi2_from_counts, ks_p_value

EVIDENTLY_ANY, EVIDENTLY_HALF = "Evidently, any column", "Evidently, half of the columns"
LIMIT, _PSI, _P = 0.1, 0.2, 0.05
_PSI_BINS = 10


@dataclass(frozen=True)
class Scores:
    """Of one window: by column."""

    evidently: Floats
    distance: Floats
    js: Floats
    psi: Floats
    p_value: Floats


Rule = Callable[[Scores], bool]
RULES: Mapping[str, Rule] = {
    EVIDENTLY_ANY: lambda scores: bool((scores.evidently > LIMIT).any()),
    EVIDENTLY_HALF: lambda scores: bool((scores.evidently > LIMIT).mean() >= 0.5),  # noqa: PLR2004
    "KS or TV > 0.1, any column": lambda scores: bool((scores.distance > LIMIT).any()),
    "JS > 0.1, any column": lambda scores: bool((scores.js > LIMIT).any()),
    "PSI > 0.2, any column": lambda scores: bool((scores.psi > _PSI).any()),
    "p < 0.05, any column": lambda scores: bool((scores.p_value < _P).any()),
    "p < 0.05 / columns (Bonferroni, each day)": lambda scores: bool((scores.p_value < _P / len(scores.p_value)).any()),
}


def alerts(windows: Sequence[WindowCounts], columns: Mapping[str, ColumnProfile]) -> dict[str, list[bool]]:
    """Rule to whether it alerts at each window."""
    found: dict[str, list[bool]] = {name: [] for name in RULES}
    for window in windows:
        scores = scores_of(window, columns)
        for name, rule in RULES.items():
            found[name].append(rule(scores))
    return found


def scores_of(window: WindowCounts, columns: Mapping[str, ColumnProfile]) -> Scores:
    """All that the rules ask for."""
    rows = [_column(profile, window.cells[name][1:]) for name, profile in columns.items()]
    return Scores(*np.array(rows, dtype=np.float64).T)


def _column(profile: ColumnProfile, counts: Ints) -> tuple[float, float, float, float, float]:
    reference = np.array(profile.counts, dtype=np.int64)
    if profile.kind == "text":
        js = js_from_counts(reference, counts)
        p_value = chi2_from_counts(reference, counts).p_value
        psi = psi_from_counts(reference, counts)
        return js * sqrt(log(2)), tv_from_counts(reference, counts), js, psi, p_value
    edges = np.r_[profile.low, np.clip(profile.edges, profile.low, profile.high), profile.high]
    moved = wasserstein_from_counts(reference, counts, edges) / (profile.sd or 1.0)
    # JS and PSI of numbers are taken over ten bins of equal shares, as is usual.
    group = np.minimum((np.cumsum(reference) - reference / 2) / reference.sum() * _PSI_BINS, _PSI_BINS - 1).astype(int)
    before, after = (np.bincount(group, one, minlength=_PSI_BINS) for one in (reference, counts))
    distance = ks_from_counts(reference, counts)
    p_value = ks_p_value(distance, float(reference.sum()), float(counts.sum()))
    return moved, distance, js_from_counts(before, after), psi_from_counts(before, after), p_value
