"""All that a monitor says of one model version's windows: pure functions of counts, called by refreshes and replays alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np

from millrace.monitoring.counts.window_counts import WindowCounts, watched
from millrace.monitoring.reference.answers import OTHER, Answers
from millrace.monitoring.reference.cells import Ints
from millrace.monitoring.reference.column import ColumnProfile
from millrace.monitoring.reference.profile import ReferenceProfile
from millrace.monitoring.types import MonitorSpec, WindowVerdict
from millrace.monitoring.verdicts.budget import SCALES
from millrace.monitoring.verdicts.drift import judge_drift
from millrace.monitoring.verdicts.estimate import judge_estimate
from millrace.monitoring.verdicts.performance import judge_performance
from millrace.monitoring.verdicts.quality import judge_quality
from millrace.monitoring.verdicts.volume import judge_volume
from millrace.monitoring.windows import Granularity

# A window looks so far back; one more, because the first window of a log is seldom whole and counts for little.
PAST = SCALES[-1] + 1
# So old may the labels be that an estimate is held against.
LABELS_PAST = 120


def judge(
    spec: MonitorSpec,
    version: str,
    reference: ReferenceProfile,
    windows: Sequence[WindowCounts],
    *,
    until: datetime | None = None,
    labelled: Sequence[WindowCounts] | None = None,
    labels_after: int = 0,
    first: int | None = None,
) -> Sequence[WindowVerdict]:
    """All verdicts on windows, oldest window first.

    Args:
        spec: the monitor.
        version: the model version that all windows are of.
        reference: its reference.
        windows: whole ones by `spec.granularity`, oldest first, numbers rising; the first `PAST` serve as the past of the later ones.
        until: rows are known up to here; None: up to the newest window.
        labelled: windows, older ones too, whose answers the estimate is held against, and whose rows tell how many are usual; None: `windows`.
        labels_after: by so many windows labels come late, where a replay gives them all at once.
        first: the number of the first window to judge; None: all.
    """
    known = windows if labelled is None else labelled
    if not known:
        return []
    columns, seen = with_labels(spec, reference, windows)
    verdicts = [
        *judge_drift(spec, version, seen, columns, importances=reference.importances),
        *judge_quality(spec, version, windows, watched(spec, reference), importances=reference.importances),
        *judge_volume(spec, version, known, until=until, first=first),
        *judge_performance(spec, version, windows, reference.answers, first=first),
        *judge_estimate(
            spec, version, windows, reference.answers, labelled=labelled, labels_after=labels_after, first=first
        ),
    ]
    granularity = Granularity.parse(spec.granularity)
    if first is not None:
        verdicts = [one for one in verdicts if granularity.number(one.start) >= first]
    return sorted(verdicts, key=lambda verdict: (verdict.start, verdict.kind))


def with_labels(
    spec: MonitorSpec, reference: ReferenceProfile, windows: Sequence[WindowCounts]
) -> tuple[Mapping[str, ColumnProfile], Sequence[WindowCounts]]:
    """Watched columns, and the label as one more of a classifier's: its distribution is in the counted answers.

    Only windows count whose labels cover `label_coverage` of the rows: those that come first are seldom like the rest.
    """
    columns, profile = watched(spec, reference), label_profile(spec, reference)
    if profile is None or spec.label_col in columns:
        return columns, windows
    seen = [
        replace(window, cells={**window.cells, spec.label_col: _label_cells(spec, profile, window.answers)})
        for window in windows
    ]
    return {**columns, spec.label_col: profile}, seen


def label_profile(spec: MonitorSpec, reference: ReferenceProfile) -> ColumnProfile | None:
    """The labels of the reference's answers as a column of texts; None for a regression, or without labels."""
    if reference.answers is None or reference.answers.layout.problem == "regression":
        return None
    classes = reference.answers.layout.classes
    counts = tuple(_counts(classes, reference.answers.answers).tolist())
    present = sum(count > 0 for count in counts)
    return ColumnProfile(spec.label_col, "text", (), classes, counts, 0, present, 0, None, None, None, None)


def _label_cells(spec: MonitorSpec, profile: ColumnProfile, answers: Answers | None) -> Ints:
    if answers is None or answers.coverage < spec.label_coverage:
        return np.zeros(len(profile.counts) + 1, dtype=np.int64)
    # A label that has not come is no missing value.
    return np.concatenate([[0], _counts(profile.categories, answers)])


def _counts(classes: Sequence[str], answers: Answers) -> Ints:
    at = {name: place for place, name in enumerate((*classes, OTHER))}
    counts = np.zeros(len(at), dtype=np.int64)
    for (_, label), rows in answers.pairs.items():
        if label is not None:
            counts[at.get(label, len(classes))] += rows
    return counts
