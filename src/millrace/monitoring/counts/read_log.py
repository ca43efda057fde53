"""Reading rows of a log into counts, some rows at a time, so that memory does not grow with the log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean
from millrace.lake.lake import Lake
from millrace.lake.types import TableVersion
from millrace.monitoring.counts.count import count_version
from millrace.monitoring.counts.slices import MOST_VALUES, Slices
from millrace.monitoring.counts.table import Part
from millrace.monitoring.counts.window_counts import WindowCounts, watched
from millrace.monitoring.reference.cells import Bools, Ints
from millrace.monitoring.reference.profile import ReferenceProfile
from millrace.monitoring.types import MonitorSpec
from millrace.monitoring.windows import Granularity, base_of

_BATCH_ROWS = 32_768  # a million rows of 30 columns in under 400 MB; larger ones are not quicker
_MOST_RANGES = 30
_INSTANT = timedelta(microseconds=1)
_TIME = pa.timestamp("us", tz="UTC")
WindowKey = tuple[str, int]  # model version and number
Counts = dict[tuple[Part, int], WindowCounts]


@dataclass(frozen=True, slots=True)
class LogReader:
    """One version of a monitor's log.

    Attributes:
        references: model version to its reference; rows of others are left out.
        base: the windows that are counted; all longer ones are sums of them.
        columns: what has to be read.
    """

    lake: Lake
    spec: MonitorSpec
    references: Mapping[str, ReferenceProfile]
    log: TableVersion
    base: Granularity
    columns: Sequence[str]
    slices: Slices

    @classmethod
    def of(
        cls,
        lake: Lake,
        spec: MonitorSpec,
        references: Mapping[str, ReferenceProfile],
        known: Mapping[str, Sequence[str]],
    ) -> LogReader:
        """The newest version; `known` are the values that slices have already.

        Raises:
            NotFound: there is no such log.
            InvalidInput: it lacks the timestamp or the model version, or a slice can't be computed from it.
        """
        log = lake.pin(spec.table)
        schema = lake.schema(spec.table, log.version)
        _check(spec, schema)
        slices = Slices.of(spec.slices, schema, known)
        wanted = {spec.timestamp_col, spec.model_id_col, spec.label_col, spec.prediction_col, spec.proba_col}
        wanted |= {name for reference in references.values() for name in watched(spec, reference)}
        wanted |= set(slices.columns)
        columns = [name for name in schema.names if name in wanted]
        return cls(lake, spec, references, log, base(spec), columns, slices)

    def all_rows(self, versions: AbstractSet[str], windows: AbstractSet[int] | None = None) -> Counts:
        """Counts of the versions, of all windows or of some."""
        counts: Counts = {}
        where = None if windows is None else self._where(windows)
        batches = self.lake.batches(
            self.spec.table, self.columns, where, version=self.log.version, batch_rows=_BATCH_ROWS
        )
        self._count(counts, batches, dict.fromkeys(versions, windows), inside=True)
        return counts

    def rows_of(self, files: Sequence[str], without: Mapping[str, AbstractSet[int]]) -> Counts:
        """Counts of the rows in some files, of the versions that are keys of `without`; rows of the windows there are left out."""
        counts: Counts = {}
        if files:
            batches = self.lake.batches(
                self.spec.table, self.columns, version=self.log.version, files=files, batch_rows=_BATCH_ROWS
            )
            self._count(counts, batches, without, inside=False)
        return counts

    def windows_of(self, files: Sequence[str] | None, versions: AbstractSet[str]) -> Mapping[str, set[int]]:
        """In which windows each version has rows: in some files, or (None) in all."""
        found: dict[str, set[int]] = {version: set() for version in versions}
        if files is not None and not files:
            return found
        columns = [self.spec.timestamp_col, self.spec.model_id_col]
        for batch in self.lake.batches(
            self.spec.table, columns, version=self.log.version, files=files, batch_rows=_BATCH_ROWS
        ):
            for version, rows in self._split(pa.Table.from_batches([batch]), versions):
                found[version] |= set(np.unique(self._numbers(self._times(rows))).tolist())
        return found

    def _count(
        self,
        counts: Counts,
        batches: Iterable[pa.RecordBatch],
        windows: Mapping[str, AbstractSet[int] | None],
        *,
        inside: bool,
    ) -> None:
        for batch in batches:
            for version, rows in self._split(pa.Table.from_batches([batch]), set(windows)):
                times = self._times(rows)
                numbers, asked = self._numbers(times), windows[version]
                kept = np.full(len(numbers), True) if asked is None else np.isin(numbers, list(asked)) == inside
                if kept.any():
                    self._add(counts, version, _kept(rows, kept), numbers[kept], times[kept])

    def _add(self, counts: Counts, version: str, rows: pa.Table, numbers: Ints, times: Ints) -> None:
        reference = self.references[version]
        for window in count_version(rows, numbers, self.spec, reference, times):
            _put(counts, Part(version), window)
        for key in self.slices.keys:
            places = self.slices.places(key, rows)
            kept = places >= 0
            # A window and a slice's value, as one number.
            pairs = numbers[kept] * MOST_VALUES + places[kept]
            for window in count_version(_kept(rows, kept), pairs, self.spec, reference, times[kept]):
                number, place = divmod(window.number, MOST_VALUES)
                part = Part(version, key, self.slices.values[key][place])
                _put(counts, part, replace(window, number=number))

    def _split(self, rows: pa.Table, versions: AbstractSet[str]) -> Iterable[tuple[str, pa.Table]]:
        """Rows that have a time, by version."""
        rows = rows.filter(pc.is_valid(rows.column(self.spec.timestamp_col)))
        of = rows.column(self.spec.model_id_col).cast(pa.string())
        for version in sorted(versions):
            part = rows.filter(pc.equal(of, version))
            if part.num_rows:
                yield version, part

    def _times(self, rows: pa.Table) -> Ints:
        column = rows.column(self.spec.timestamp_col).cast(pa.timestamp("us"), safe=False)
        return np.asarray(column.cast(pa.int64()).to_numpy(), dtype=np.int64)

    def _numbers(self, times: Ints) -> Ints:
        return self.base.numbers(times)

    def _where(self, windows: AbstractSet[int]) -> pc.Expression:
        kind = self.lake.schema(self.spec.table, self.log.version).field(self.spec.timestamp_col).type
        at, where = pc.field(self.spec.timestamp_col), None
        for first, last in ranges(windows):
            # The last instant, not the next window's first: a date is there as its day's first instant.
            low, high = self.base.start(first), self.base.start(last + 1) - _INSTANT
            low, high = (pa.scalar(moment, _TIME).cast(kind, safe=False) for moment in (low, high))
            inside = (at >= low) & (at <= high)
            where = inside if where is None else where | inside
        return where


def base(spec: MonitorSpec) -> Granularity:
    """The windows that a monitor counts in."""
    return base_of([Granularity.parse(text) for text in (spec.granularity, *spec.granularities)])


def ranges(numbers: Iterable[int]) -> Sequence[tuple[int, int]]:
    """Numbers as at most 30 ranges, both ends included, that hold them all."""
    return merged((number, number) for number in numbers)


def merged(parts: Iterable[tuple[int, int]]) -> Sequence[tuple[int, int]]:
    """At most 30 ranges, rising and apart, that hold all these: neighbours together, and the smallest gaps closed."""
    apart: list[tuple[int, int]] = []
    for first, last in sorted(parts):
        if apart and first <= apart[-1][1] + 1:
            apart[-1] = apart[-1][0], max(apart[-1][1], last)
        else:
            apart.append((first, last))
    gaps = sorted((later[0] - sooner[1], later[0]) for sooner, later in pairwise(apart))
    kept = {first for _, first in gaps[-(_MOST_RANGES - 1) :]}
    found: list[tuple[int, int]] = []
    for first, last in apart:
        if found and first not in kept:
            found[-1] = found[-1][0], last
        else:
            found.append((first, last))
    return found


def _put(counts: Counts, part: Part, window: WindowCounts) -> None:
    there = counts.get((part, window.number))
    counts[part, window.number] = window if there is None else there + window


def _kept(rows: pa.Table, kept: Bools) -> pa.Table:
    return rows if kept.all() else rows.filter(pa.array(kept))


def _check(spec: MonitorSpec, schema: pa.Schema) -> None:
    for name in (spec.timestamp_col, spec.model_id_col):
        if name not in schema.names:
            hint = did_you_mean(name, schema.names)
            raise InvalidInput(f"the log {spec.table} has no column '{name}'", hint=hint, column=name)
    kind = schema.field(spec.timestamp_col).type
    if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        raise InvalidInput(
            f"column '{spec.timestamp_col}' of the log {spec.table} is {kind}, not a time",
            hint="log times as timestamps, or name the column that has them",
            column=spec.timestamp_col,
        )
