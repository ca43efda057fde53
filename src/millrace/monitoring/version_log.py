"""The log of one model version, cut into windows and counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from millrace.monitoring.counts.count import count_version
from millrace.monitoring.counts.window_counts import WindowCounts, watched
from millrace.monitoring.reference.cells import Ints, as_numbers
from millrace.monitoring.reference.column import ColumnProfile
from millrace.monitoring.reference.profile import ReferenceProfile
from millrace.monitoring.tables.metric_rows import Window, drift_rows, profile_rows
from millrace.monitoring.tables.statistics import Row
from millrace.monitoring.tables.summary import Stored
from millrace.monitoring.types import MonitorSpec, WindowVerdict
from millrace.monitoring.verdicts.drift import judge_drift
from millrace.monitoring.verdicts.loss_change import judge_loss
from millrace.monitoring.windows import Granularity


@dataclass(frozen=True, slots=True)
class VersionLog:
    """Rows of one model version.

    Attributes:
        baseline: the reference's fingerprint.
        columns: watched columns.
        rows: n rows of the log.
        numbers: n window numbers.
        first: windows before this number are there for comparison only.
        windows: counts of the windows that have rows, by number, rising.
    """

    spec: MonitorSpec
    version: str
    reference: ReferenceProfile
    baseline: str
    columns: Mapping[str, ColumnProfile]
    rows: pa.Table
    numbers: Ints
    first: int
    windows: Mapping[int, WindowCounts]

    @classmethod
    def of(
        cls, spec: MonitorSpec, version: str, reference: ReferenceProfile, *, rows: pa.Table, first: int
    ) -> VersionLog:
        """Count the rows."""
        columns = watched(spec, reference)
        times = as_numbers(rows.column(spec.timestamp_col), spec.timestamp_col).astype(np.int64)
        numbers = Granularity.parse(spec.granularity).numbers(times)
        counted = count_version(rows, numbers, spec, reference)
        windows = {window.number: window for window in counted}
        return cls(spec, version, reference, reference.fingerprint, columns, rows, numbers, first, windows)

    @property
    def now(self) -> Sequence[WindowCounts]:
        """The windows to judge."""
        return [window for number, window in self.windows.items() if number >= self.first]

    def judge(self, stored: Stored) -> tuple[Sequence[WindowVerdict], Mapping[int, WindowVerdict]]:
        """The drift verdict of each window to judge, and the performance verdict of those with labels, by number."""
        past = [window for window in stored.counts(self.version, self.baseline) if self._fits(window)]
        windows = [*past, *self.now]
        drift = judge_drift(self.spec, self.version, windows, self.columns)
        performance = judge_loss(self.spec, self.version, windows, self.reference.loss)
        granularity = Granularity.parse(self.spec.granularity)
        by_number = {granularity.number(verdict.start): verdict for verdict in performance}
        return drift[len(past) :], {n: verdict for n, verdict in by_number.items() if n >= self.first}

    def changes(self, stored: Stored, log_version: int) -> tuple[Sequence[Row], Sequence[Row]]:
        """Rows of the profile and the drift table that the stored windows do not have yet, or have otherwise."""
        rows, labels = self._changed(stored)
        touched = {number + step for number in rows for step in (-1, 0, 1)} | labels
        taken = {number: self._window(number) for number in sorted(touched) if number in self.windows}
        profile: list[Row] = []
        for number in sorted(rows | labels):
            every = list(profile_rows(self.spec, self.version, taken[number], log_version))
            profile += every if number in rows else every[:1]
        return profile, list(self._drift_rows(rows, taken))

    def _drift_rows(self, changed: set[int], taken: Mapping[int, Window]) -> Iterator[Row]:
        # A window's rows are compared with those of the one before it, so a change reaches the next one too.
        for number in sorted(changed | {number + 1 for number in changed}):
            if number in taken:
                yield from drift_rows(self.spec, self.version, taken[number], taken.get(number - 1), self.columns)

    def _changed(self, stored: Stored) -> tuple[set[int], set[int]]:
        """Numbers of the windows whose rows changed, and of those where only labels did."""
        rows, labels = set(), set()
        for window in self.now:
            there = stored.rows.get((self.version, window.number))
            if not there or (there["rows"], there["baseline"]) != (window.rows, self.baseline):
                rows.add(window.number)
            elif (there["labelled"], there["loss_sum"]) != (window.loss.labelled, window.loss.total):
                labels.add(window.number)
        return rows, labels

    def _window(self, number: int) -> Window:
        return Window.of(self.windows[number], self.rows.filter(pa.array(self.numbers == number)), self.columns)

    def _fits(self, window: WindowCounts) -> bool:
        return window.number < self.first and set(self.columns) <= set(window.cells)
