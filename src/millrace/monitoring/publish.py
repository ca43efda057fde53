"""The rows of the metric tables that a count has changed: of each granularity, whole and by slice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import pyarrow.compute as pc

from millrace.lake.lake import Lake
from millrace.monitoring.counts.table import KEYS, Part
from millrace.monitoring.counts.update import Counted
from millrace.monitoring.counts.view import View
from millrace.monitoring.counts.window_counts import WindowCounts, watched
from millrace.monitoring.judge import label_profile, with_labels
from millrace.monitoring.reference.answers import Answers
from millrace.monitoring.reference.profile import ReferenceProfile
from millrace.monitoring.tables.custom import Metrics, Values
from millrace.monitoring.tables.metric_rows import Frame
from millrace.monitoring.tables.schemas import MetricTables, drift_schema, profile_schema
from millrace.monitoring.tables.statistics import Row
from millrace.monitoring.tables.write import Rows, remove, write
from millrace.monitoring.types import MonitorSpec
from millrace.monitoring.windows import Granularity

_TYPES = {"int64": "bigint", "int32": "int", "bool": "boolean", "date32[day]": "date", "large_string": "string"}


@dataclass(slots=True)
class Changes:
    """Rows to write into the profile and the drift table, and keys of rows to take away."""

    profile: Rows
    drift: Rows
    gone: list[Row] = field(default_factory=list)
    uncompared: list[Row] = field(default_factory=list)


def granularities(spec: MonitorSpec) -> list[Granularity]:
    """Those of the metric tables, each once: the judged one first."""
    return list(dict.fromkeys(Granularity.parse(text) for text in (spec.granularity, *spec.granularities)))


def touched(counted: Counted, granularity: Granularity, windows: AbstractSet[int]) -> set[int]:
    """The longer windows that base windows are in."""
    return {granularity.number(counted.base.start(number)) for number in windows}


def around(counted: Counted, version: str, granularity: Granularity) -> set[int]:
    """The windows whose counts are needed for a version's rows: a changed one is compared with its neighbours."""
    changed = touched(counted, granularity, counted.changed.get(version, set()))
    answered = touched(counted, granularity, counted.answered.get(version, set()))
    return {number + step for number in changed | answered for step in (-1, 0, 1)}


def publish(
    lake: Lake, spec: MonitorSpec, references: Mapping[str, ReferenceProfile], counted: Counted, view: View
) -> None:
    """Write the profile and the drift rows of all windows that changed, one commit a table at most."""
    names, changes = MetricTables.of(spec), Changes(Rows(profile_schema(spec)), Rows(drift_schema(spec)))
    metrics = Metrics(lake, spec, counted.log_version)
    types = _log_types(lake, spec, counted.log_version)
    for version, reference in references.items():
        for granularity in granularities(spec):
            columns, label = watched(spec, reference), label_profile(spec, reference)
            frame = Frame(spec, granularity, columns, label, types, counted.log_version)
            _Publisher(frame, version, reference, counted, metrics, changes).publish(view)
    remove(lake, names.drift, changes.uncompared)
    for name, rows in ((names.profile, changes.profile), (names.drift, changes.drift)):
        remove(lake, name, changes.gone)
        write(lake, spec, name, rows.all())
    counted.notes += metrics.notes()


@dataclass(slots=True)
class _Publisher:
    """Makes the rows of one version's windows of one length."""

    frame: Frame
    version: str
    reference: ReferenceProfile
    counted: Counted
    metrics: Metrics
    changes: Changes
    changed: set[int] = field(default_factory=set)
    answered: set[int] = field(default_factory=set)
    own: Mapping[tuple[Part, int], Values] = field(default_factory=dict)
    others: dict[tuple[str | None, int], Answers] = field(default_factory=dict)

    def publish(self, view: View) -> None:
        granularity, spec = self.frame.granularity, self.frame.spec
        self.changed = touched(self.counted, granularity, self.counted.changed.get(self.version, set()))
        self.answered = touched(self.counted, granularity, self.counted.answered.get(self.version, set()))
        if spec.metrics:  # which may read the labels
            self.changed |= self.answered
        needed, seen = around(self.counted, self.version, granularity), set[tuple[Part, int]]()
        self.own = self.metrics.windows(self.version, granularity, needed)
        for sliced in (False, True) if needed and spec.slices else (False,):
            windows = view.windows(self.version, granularity, needed, sliced=sliced)
            for part, window, before in _with_before(_labelled(self.frame, self.reference, windows)):
                seen.add((part, window.number))
                self._profile(part, window)
                self._drift(part, window, before)
        _take_lost(self.frame, self.version, self.counted, seen, self.changes)

    def _profile(self, part: Part, window: WindowCounts) -> None:
        if part.slice_value == "false" and window.answers is not None:
            self.others[part.slice_key, window.number] = window.answers
        if window.number not in self.changed | self.answered:
            return
        others = self.others.get((part.slice_key, window.number)) if part.slice_value == "true" else None
        own, columns = self.own.get((part, window.number), {}), window.number in self.changed
        self.changes.profile.add(self.frame.profile_rows(part, window, others, own, columns=columns))

    def _drift(self, part: Part, window: WindowCounts, before: WindowCounts | None) -> None:
        here = {window.number} if before is None else {window.number, before.number}
        if here & self.changed:
            own = self.own.get((part, window.number))
            base = None if before is None else self.own.get((part, before.number))
            compared = {} if own is None or base is None else self.metrics.drift(base, own)
            self.changes.drift.add(self.frame.drift_rows(part, window, before, compared))
        elif here & self.answered:
            self.changes.drift.add(self.frame.label_rows(part, window, before))


def _labelled(
    frame: Frame, reference: ReferenceProfile, windows: Iterable[tuple[Part, WindowCounts]]
) -> Iterator[tuple[Part, WindowCounts]]:
    for part, window in windows:
        yield part, with_labels(frame.spec, reference, [window])[1][0]


def _with_before(
    windows: Iterable[tuple[Part, WindowCounts]],
) -> Iterator[tuple[Part, WindowCounts, WindowCounts | None]]:
    """Each window with the one right before it of the same part, if that has rows."""
    last: tuple[Part, WindowCounts] | None = None
    for part, window in windows:
        follows = last is not None and (last[0], last[1].number) == (part, window.number - 1)
        yield part, window, last[1] if last is not None and follows else None
        last = part, window


def _take_lost(
    frame: Frame, version: str, counted: Counted, seen: AbstractSet[tuple[Part, int]], changes: Changes
) -> None:
    """Rows of windows that have lost all their rows, and what the next window said of them."""
    lost = counted.rows.filter(pc.equal(counted.rows.column("rows"), 0)).select(KEYS).to_pylist()
    for row in lost:
        part = Part(row["model_version"], row["slice_key"], row["slice_value"])
        number = frame.granularity.number(row["window_start"])
        if part.version == version and (part, number) not in seen:
            changes.gone.append(frame.key(part, number))
            changes.uncompared.append(frame.key(part, number + 1) | {"drift_type": "CONSECUTIVE"})


def _log_types(lake: Lake, spec: MonitorSpec, version: int) -> Mapping[str, str]:
    """Column of the log to its type, as SQL names it."""
    shown = {field.name: str(field.type) for field in lake.schema(spec.table, version)}
    return {name: _TYPES.get(type_, type_) for name, type_ in shown.items()}
