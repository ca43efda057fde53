"""One window of one model version, or of a slice of it, as rows of the profile and drift tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from millrace.monitoring.counts.table import Part
from millrace.monitoring.counts.window_counts import WindowCounts
from millrace.monitoring.reference.answers import Answers
from millrace.monitoring.reference.cells import Kind
from millrace.monitoring.reference.column import ColumnProfile
from millrace.monitoring.tables.answer_row import table_row
from millrace.monitoring.tables.compare import baseline_counts, baseline_row, compare, deltas, window_row
from millrace.monitoring.tables.statistics import Row, column_row
from millrace.monitoring.types import MonitorSpec
from millrace.monitoring.windows import Granularity

WHOLE = ":table"
_MONITOR_VERSION = 0
_OF_KIND: Mapping[Kind, str] = {"numeric": "double", "text": "string"}


@dataclass(frozen=True, slots=True)
class Frame:
    """What the rows of a version's windows have in common.

    Attributes:
        columns: watched columns with their profiles.
        label: that of the label, whose distribution windows have as one more column; None where it is not known.
        types: column of the log to its type, as SQL names it.
        log_version: the version of the log that was counted.
    """

    spec: MonitorSpec
    granularity: Granularity
    columns: Mapping[str, ColumnProfile]
    label: ColumnProfile | None
    types: Mapping[str, str]
    log_version: int

    def profile_rows(
        self, part: Part, window: WindowCounts, others: Answers | None, metrics: Mapping[str, object]
    ) -> Iterator[Row]:
        """The `:table` row first, then one per watched column.

        `others` are the answers for which a boolean slice is false: with them the row has the fairness figures of the slice.
        `metrics` are the user's own.
        """
        same = self._same(part, window) | {"log_type": "INPUT", "logging_table_commit_version": self.log_version}
        yield same | {"column_name": WHOLE} | table_row(window, self.columns, others) | dict(metrics)
        for name, profile in self.columns.items():
            yield same | {"column_name": name, "data_type": self.types.get(name)} | column_row(window, name, profile)

    def drift_rows(
        self, part: Part, window: WindowCounts, before: WindowCounts | None, metrics: Mapping[str, object]
    ) -> Iterator[Row]:
        """BASELINE rows against the reference and, where the window before has rows, CONSECUTIVE rows against it.

        A slice has none against the reference, which is not sliced.
        """
        yield from self._compared(part, window, before)
        same = self._same(part, window)
        if part.whole:
            present = [name for name, profile in self.columns.items() if profile.missing < profile.rows]
            rows = max((profile.rows for profile in self.columns.values()), default=0)
            yield same | _whole("BASELINE", window.rows - rows, present, self._present(window))
        if before is not None:
            row = _whole("CONSECUTIVE", window.rows - before.rows, self._present(before), self._present(window))
            yield same | {"window_cmp": self._period(before.number)} | row | dict(metrics)

    def _compared(self, part: Part, window: WindowCounts, before: WindowCounts | None) -> Iterator[Row]:
        columns = self.columns if self.label is None else {**self.columns, self.label.name: self.label}
        same = self._same(part, window)
        for name, profile in columns.items():
            now = window_row(window, name, profile)
            if part.whole:
                row = compare(profile, baseline_counts(profile), window.cells[name])
                yield same | _of_column("BASELINE", name, profile) | row | deltas(baseline_row(profile), now)
            if before is not None:
                row = compare(profile, before.cells[name], window.cells[name])
                row |= {"window_cmp": self._period(before.number)} | deltas(window_row(before, name, profile), now)
                yield same | _of_column("CONSECUTIVE", name, profile) | row

    def _present(self, window: WindowCounts) -> Sequence[str]:
        return [name for name in self.columns if window.cells[name][1:].any()]

    def _same(self, part: Part, window: WindowCounts) -> Row:
        return {
            "window": self._period(window.number),
            "window_start": self.granularity.start(window.number),
            "monitor_version": _MONITOR_VERSION,
            "granularity": str(self.granularity),
            self.spec.model_id_col: part.version,
            "slice_key": part.slice_key,
            "slice_value": part.slice_value,
        }

    def _period(self, number: int) -> Row:
        return {"start": self.granularity.start(number), "end": self.granularity.start(number + 1)}


def _whole(drift_type: str, count_delta: int, before: Sequence[str], now: Sequence[str]) -> Row:
    changed = {"added": len(set(now) - set(before)), "missing": len(set(before) - set(now))}
    return {
        "drift_type": drift_type,
        "column_name": WHOLE,
        "count_delta": count_delta,
        "non_null_columns_delta": changed,
    }


def _of_column(drift_type: str, name: str, profile: ColumnProfile) -> Row:
    return {"drift_type": drift_type, "column_name": name, "data_type": _OF_KIND[profile.kind]}
