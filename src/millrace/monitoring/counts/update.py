"""Counting what a log has new: rows that were added since the last count are added, windows that lost rows are counted anew.

The last count is known by its own rows: each says by what it was counted, and up to which version of the log. They are written in one commit,
after all that is made of them, so a refresh that broke off is done again by the next one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from math import isclose
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.core.names import TableName
from millrace.lake.lake import Lake
from millrace.lake.types import TableDefinition, TableEntry
from millrace.monitoring.counts.read_log import Counts, LogReader, merged, ranges
from millrace.monitoring.counts.sums import Moments
from millrace.monitoring.counts.table import SCHEMA, Part, Stamp, decoded, encoded
from millrace.monitoring.counts.window_counts import WindowCounts, watched
from millrace.monitoring.reference.profile import ReferenceProfile
from millrace.monitoring.replace import Windows, write
from millrace.monitoring.types import MonitorSpec
from millrace.monitoring.windows import Granularity

_AT_ONCE = 256  # windows: each takes 4 kB a column
_NEAR = 1e-9
_STATE = ("window_start", "model_version", "slice_key", "slice_value", "layout", "log_version")


@dataclass(slots=True)
class Counted:
    """What a count found.

    Attributes:
        base: the windows that are counted.
        log_version: what was counted up to.
        rows: as the table of counts has them, of all windows that changed and their slices; a window that lost all its rows has 0.
        changed: model version to the base windows that have other rows than before.
        answered: model version to those where only labels came.
        anew: versions of which nothing that was stored holds any more.
        notes: what a user should hear.
    """

    base: Granularity
    log_version: int
    rows: pa.Table
    changed: dict[str, set[int]] = field(default_factory=dict)
    answered: dict[str, set[int]] = field(default_factory=dict)
    anew: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def of(self, version: str) -> set[int]:
        """All base windows of a version that changed in any way."""
        return self.changed.get(version, set()) | self.answered.get(version, set())


def counts_table(spec: MonitorSpec) -> TableName:
    """`<output_schema>.<table>_window_counts`."""
    return TableName.parse(f"{spec.output_schema}.{TableName.parse(spec.table).table}_window_counts")


def ensure_counts(lake: Lake, spec: MonitorSpec) -> TableEntry:
    """The table of counts, made where it is missing."""
    definition = TableDefinition(description=f"Counts of {spec.table} by window", role="metrics")
    return lake.ensure(counts_table(spec), SCHEMA, definition)


def count_new(lake: Lake, spec: MonitorSpec, references: Mapping[str, ReferenceProfile]) -> Counted:
    """Count what the log has new for each of the versions; nothing is written.

    Files that a commit added are read once. Where a commit took files away (late labels are merged, rows deleted), the windows of
    their rows are counted anew from the newest version; the rest stays. A compaction changes nothing. All is counted where the last count
    is of no use: another reference, other windows or slices, a log whose old commits or files are gone.

    Raises:
        NotFound: there is no such log.
        InvalidInput: it lacks the timestamp or the model version, or a slice can't be computed from it.
    """
    state = _state(lake, spec)
    known = _slice_values(state)
    reader = LogReader.of(lake, spec, references, known)
    counted = Counted(reader.base, int(reader.log.version), SCHEMA.empty_table())
    stamps = {version: _stamp(lake, spec, reader, reference) for version, reference in references.items()}
    by_cursor: dict[int | None, set[str]] = {}
    for version, stamp in stamps.items():
        by_cursor.setdefault(_cursor(state, version, stamp.layout), set()).add(version)
    for cursor, versions in by_cursor.items():
        if cursor is None or not _catch_up(lake, spec, reader, counted, stamps, cursor=cursor, versions=versions):
            _count_all(reader, counted, stamps, versions)
    counted.notes += reader.slices.notes()
    return counted


def commit_counts(lake: Lake, spec: MonitorSpec, counted: Counted) -> None:
    """Write what was found, in one commit."""
    name, windows = ensure_counts(lake, spec).name, Windows(anew=counted.anew)
    for version in counted.rows.column("model_version").unique().to_pylist():
        mine = counted.rows.filter(pc.equal(counted.rows.column("model_version"), version))
        starts = mine.column("window_start").unique().to_pylist()
        windows.add(version, counted.base, map(counted.base.number, starts))
    write(lake, name, counted.rows, windows, "model_version")


def stored_rows(
    lake: Lake,
    spec: MonitorSpec,
    base: Granularity,
    windows: Iterable[tuple[int, int]],
    *,
    answers_only: bool = False,
) -> pa.Table:
    """The table's rows of ranges of base windows, both ends included, and perhaps of some between them.

    With `answers_only` the counts of columns, which are most of a row, are left out, and so are slices.
    """
    name, wanted = counts_table(spec), list(windows)
    if not wanted or not lake.exists(name):
        return SCHEMA.empty_table()
    at, where = pc.field("window_start"), None
    for first, last in merged(wanted):
        low, high = (pa.scalar(base.start(n), SCHEMA.field("window_start").type) for n in (first, last + 1))
        inside = (at >= low) & (at < high)
        where = inside if where is None else where | inside
    if answers_only:
        plain = [column for column in SCHEMA.names if column != "columns"]
        rows = lake.read(name, columns=plain, where=where & pc.is_null(pc.field("slice_key")))
        rows = rows.append_column("columns", pa.nulls(rows.num_rows, SCHEMA.field("columns").type))
    else:
        rows = lake.read(name, where=where)
    rows = rows.select(SCHEMA.names).cast(SCHEMA)
    return rows.filter(pc.equal(rows.column("granularity"), str(base)))


def _state(lake: Lake, spec: MonitorSpec) -> pa.Table:
    name = counts_table(spec)
    if not lake.exists(name):
        return SCHEMA.empty_table().select(list(_STATE))
    return lake.read(name, columns=_STATE)


def _slice_values(state: pa.Table) -> Mapping[str, Sequence[str]]:
    found: dict[str, dict[str, None]] = {}
    slices = state.filter(pc.is_valid(state.column("slice_key"))).group_by(["slice_key", "slice_value"]).aggregate([])
    for row in sorted(slices.to_pylist(), key=lambda row: (row["slice_key"], row["slice_value"])):
        found.setdefault(row["slice_key"], {})[row["slice_value"]] = None
    return {key: list(values) for key, values in found.items()}


def _stamp(lake: Lake, spec: MonitorSpec, reader: LogReader, reference: ReferenceProfile) -> Stamp:
    baseline = reference.fingerprint
    columns = (spec.timestamp_col, spec.prediction_col, spec.model_id_col, spec.label_col, spec.proba_col)
    parts: list[Any] = [
        baseline,
        lake.entry(spec.table).id,
        str(reader.base),
        columns,
        sorted(watched(spec, reference)),
    ]
    layout = hashlib.sha256(json.dumps([*parts, spec.slices]).encode()).hexdigest()[:16]
    return Stamp(baseline, layout, int(reader.log.version))


def _cursor(state: pa.Table, version: str, layout: str) -> int | None:
    """What the version was counted up to; None where its counts are of no use."""
    mine = state.filter(pc.equal(state.column("model_version"), version))
    if set(mine.column("layout").to_pylist()) != {layout}:
        return None
    newest: int = pc.max(mine.column("log_version")).as_py()
    return newest


def _count_all(reader: LogReader, counted: Counted, stamps: Mapping[str, Stamp], versions: AbstractSet[str]) -> None:
    present = reader.windows_of(None, versions)
    windows = sorted(set().union(*present.values()))
    for first in range(0, len(windows), _AT_ONCE):
        some = set(windows[first : first + _AT_ONCE])
        _enter(counted, reader.all_rows(versions, some if len(windows) > _AT_ONCE else None), stamps)
    # A version without rows gets an empty window, so that its next count begins here as well.
    empty = {(Part(version), 0): WindowCounts(0, 0) for version in versions if not present[version]}
    _enter(counted, empty, stamps)
    for version in versions:
        counted.changed[version] = set(present[version])
        counted.anew.add(version)


def _catch_up(
    lake: Lake,
    spec: MonitorSpec,
    reader: LogReader,
    counted: Counted,
    stamps: Mapping[str, Stamp],
    *,
    cursor: int,
    versions: AbstractSet[str],
) -> bool:
    """Count what came after a version of the log; False where that can't be told."""
    if cursor == reader.log.version:
        return True
    changes = lake.changes(spec.table, cursor, reader.log.version)
    if changes is None:
        return False
    touched = reader.windows_of(changes.removed, versions)
    added = reader.rows_of(changes.added, touched)
    windows = {number for _, number in added} | set().union(*touched.values())
    before = _by_key(stored_rows(lake, spec, reader.base, ranges(windows)), reader.base)
    found = {key: before[key] + window if key in before else window for key, window in added.items()}
    again = sorted(set().union(*touched.values()))
    for first in range(0, len(again), _AT_ONCE):
        fresh = reader.all_rows(versions, set(again[first : first + _AT_ONCE]))
        found |= {key: window for key, window in fresh.items() if key[1] in touched[key[0].version]}
    lost = {key for key in before if key[1] in touched.get(key[0].version, ()) and key not in found}
    found |= {key: WindowCounts(key[1], 0) for key in lost if before[key].rows}
    _compare(counted, before, found)
    if changes.added or changes.removed:
        _note_cursor(lake, spec, reader.base, versions, found)
    _enter(counted, found, stamps)
    return True


def _compare(counted: Counted, before: Counts, found: Counts) -> None:
    """Leave out what is as it was, and tell windows where only answers changed."""
    for key in [key for key in found if key in before and _same(before[key], found[key])]:
        del found[key]
    for part, number in found:
        there = before.get((part, number))
        only = there is not None and _same_rows(there, found[part, number])
        (counted.answered if only else counted.changed).setdefault(part.version, set()).add(number)
    for version, numbers in counted.changed.items():
        counted.answered.get(version, set()).difference_update(numbers)
    # All parts of a window are written together.
    windows = {(part.version, number) for part, number in found}
    for (part, number), window in before.items():
        if (part.version, number) in windows:
            found.setdefault((part, number), window)


def _note_cursor(lake: Lake, spec: MonitorSpec, base: Granularity, versions: AbstractSet[str], found: Counts) -> None:
    """Where a version has nothing new, its newest window says that this was looked at."""
    idle = versions - {part.version for part, _ in found}
    state = _state(lake, spec) if idle else SCHEMA.empty_table()
    for version in idle:
        mine = state.filter(pc.equal(state.column("model_version"), version))
        number = base.number(pc.max(mine.column("window_start")).as_py())
        stored = _by_key(stored_rows(lake, spec, base, [(number, number)]), base)
        found |= {key: window for key, window in stored.items() if key[0].version == version and key[1] == number}


def _enter(counted: Counted, counts: Counts, stamps: Mapping[str, Stamp]) -> None:
    parts = sorted(
        {part for part, _ in counts}, key=lambda part: (part.version, part.slice_key or "", str(part.slice_value))
    )
    tables = [counted.rows]
    for part in parts:
        windows = [counts[key] for key in sorted((key for key in counts if key[0] == part), key=lambda key: key[1])]
        tables.append(encoded(part, windows, stamps[part.version], counted.base))
    counted.rows = pa.concat_tables(tables)


def _by_key(rows: pa.Table, base: Granularity) -> Counts:
    return {(part, window.number): window for part, window in decoded(rows, base)}


def _same(one: WindowCounts, other: WindowCounts) -> bool:
    return _same_rows(one, other) and one.answers == other.answers


def _same_rows(one: WindowCounts, other: WindowCounts) -> bool:
    """Whether nothing but answers may differ; sums to rounding."""
    plain = (one.rows, one.newest_us, dict(one.absent)) == (other.rows, other.newest_us, dict(other.absent))
    return (
        plain
        and set(one.cells) == set(other.cells)
        and all(np.array_equal(counts, other.cells[name]) for name, counts in one.cells.items())
        and set(one.moments) == set(other.moments)
        and all(_near_moments(moments, other.moments[name]) for name, moments in one.moments.items())
    )


def _near_moments(one: Moments, other: Moments) -> bool:
    exact = ("count", "low", "high", "zeros", "nans")
    return all(getattr(one, name) == getattr(other, name) for name in exact) and _near(
        (one.total, one.squares), (other.total, other.squares), other.squares
    )


def _near(one: Sequence[float], other: Sequence[float], scale: float) -> bool:
    return all(isclose(a, b, rel_tol=_NEAR, abs_tol=_NEAR * scale) for a, b in zip(one, other, strict=True))
