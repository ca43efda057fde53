"""The rows of the metric tables that a count has changed: of each granularity, whole and by slice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from millrace.lake.lake import Lake
from millrace.monitoring.counts.table import Part
from millrace.monitoring.counts.update import Counted
from millrace.monitoring.counts.view import View
from millrace.monitoring.counts.window_counts import WindowCounts, watched
from millrace.monitoring.judge import label_profile, with_labels
from millrace.monitoring.reference.answers import Answers
from millrace.monitoring.reference.profile import ReferenceProfile
from millrace.monitoring.replace import Windows, write
from millrace.monitoring.tables.custom import Metrics, Values
from millrace.monitoring.tables.metric_rows import Frame
from millrace.monitoring.tables.rows import Rows
from millrace.monitoring.tables.schemas import MetricTables, drift_schema, profile_schema
from millrace.monitoring.types import MonitorSpec
from millrace.monitoring.windows import Granularity

_TYPES = {"int64": "bigint", "int32": "int", "bool": "boolean", "date32[day]": "date", "large_string": "string"}


@dataclass(slots=True)
class Changes:
    """Rows of one table, and the windows that they are all rows of."""

    rows: Rows
    windows: Windows


def granularities(spec: MonitorSpec) -> list[Granularity]:
    """Those of the metric tables, each once: the judged one first."""
    return list(dict.fromkeys(Granularity.parse(text) for text in (spec.granularity, *spec.granularities)))


def touched(counted: Counted, granularity: Granularity, windows: AbstractSet[int]) -> set[int]:
    """The longer windows that base windows are in."""
    return {granularity.number(counted.base.start(number)) for number in windows}


def around(counted: Counted, version: str, granularity: Granularity) -> set[int]:
    """The windows whose counts are needed for a version's rows: a changed one is compared with its neighbours."""
    changed = touched(counted, granularity, counted.of(version))
    return {number + step for number in changed for step in (-1, 0, 1)}


def publish(
    lake: Lake, spec: MonitorSpec, references: Mapping[str, ReferenceProfile], counted: Counted, view: View
) -> None:
    """Write the profile and the drift rows of all windows that changed, one commit a table at most."""
    names = MetricTables.of(spec)
    profile = Changes(Rows(profile_schema(spec)), Windows(anew=counted.anew))
    drift = Changes(Rows(drift_schema(spec)), Windows(anew=counted.anew))
    metrics = Metrics(lake, spec, counted.log_version)
    types = _log_types(lake, spec, counted.log_version)
    for version, reference in references.items():
        for granularity in granularities(spec):
            columns, label = watched(spec, reference), label_profile(spec, reference)
            frame = Frame(spec, granularity, columns, label, types, counted.log_version)
            _Publisher(frame, version, reference, metrics, profile, drift).publish(counted, view)
    for name, changes in ((names.profile, profile), (names.drift, drift)):
        write(lake, name, changes.rows.all(), changes.windows, spec.model_id_col)
    counted.notes += metrics.notes()


@dataclass(slots=True)
class _Publisher:
    """Makes the rows of one version's windows of one length."""

    frame: Frame
    version: str
    reference: ReferenceProfile
    metrics: Metrics
    profile: Changes
    drift: Changes
    own: Mapping[tuple[Part, int], Values] = field(default_factory=dict)
    others: dict[tuple[str | None, int], Answers] = field(default_factory=dict)

    def publish(self, counted: Counted, view: View) -> None:
        granularity = self.frame.granularity
        changed = touched(counted, granularity, counted.of(self.version))
        if not changed:
            return
        # A window's rows are compared with those of the one before it, so a change reaches the next one too.
        compared = changed | {number + 1 for number in changed}
        self.profile.windows.add(self.version, granularity, changed)
        self.drift.windows.add(self.version, granularity, compared)
        needed = around(counted, self.version, granularity)
        self.own = self.metrics.windows(self.version, granularity, needed)
        for sliced in (False, True) if self.frame.spec.slices else (False,):
            windows = view.windows(self.version, granularity, needed, sliced=sliced)
            for part, window, before in _with_before(_labelled(self.frame, self.reference, windows)):
                if window.number in changed:
                    self._add_profile(part, window)
                if window.number in compared:
                    self._add_drift(part, window, before)

    def _add_profile(self, part: Part, window: WindowCounts) -> None:
        if part.slice_value == "false" and window.answers is not None:
            self.others[part.slice_key, window.number] = window.answers
        others = self.others.get((part.slice_key, window.number)) if part.slice_value == "true" else None
        own = self.own.get((part, window.number), {})
        self.profile.rows.add(self.frame.profile_rows(part, window, others, own))

    def _add_drift(self, part: Part, window: WindowCounts, before: WindowCounts | None) -> None:
        own = self.own.get((part, window.number))
        base = None if before is None else self.own.get((part, before.number))
        compared = {} if own is None or base is None else self.metrics.drift(base, own)
        self.drift.rows.add(self.frame.drift_rows(part, window, before, compared))


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


def _log_types(lake: Lake, spec: MonitorSpec, version: int) -> Mapping[str, str]:
    """Column of the log to its type, as SQL names it."""
    shown = {field.name: str(field.type) for field in lake.schema(spec.table, version)}
    return {name: _TYPES.get(type_, type_) for name, type_ in shown.items()}
