"""Snapshots made anew: chunk by chunk into a place aside, then put into the table by one commit.

So who reads the table sees the old snapshots or the new ones, never some of each. What is done is kept with the table:
killed anywhere, the next run goes on after the last finished chunk, from the source versions that the rebuild began with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from millrace.core.clock import iso
from millrace.core.names import TableName
from millrace.features.tables import check_identity
from millrace.lake.types import CommitInfo, Location, TableDefinition, TableVersion, Version
from millrace.pipeline.changes import identities
from millrace.pipeline.declare import FeatureTable, LabelTable
from millrace.pipeline.grid import ticks
from millrace.pipeline.port import Services
from millrace.pipeline.snapshot_state import Rebuild, SnapshotState, save_state
from millrace.pipeline.snapshots import Snapshots

if TYPE_CHECKING:
    import pyarrow as pa

Report = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild did: the state after it, and how many snapshots and rows were made by this run."""

    state: SnapshotState
    snapshots: int
    rows: int


@dataclass(frozen=True, slots=True)
class Rebuilder:
    """Makes snapshots of one table anew.

    Attributes:
        chunk: how many are made before what is done is written down.
        report: hears how many of how many are made.
    """

    services: Services
    table: FeatureTable | LabelTable
    chunk: int
    report: Report

    def begin(self, state: SnapshotState, rebuild: Rebuild) -> Rebuilt:
        """Make snapshots anew, from the beginning."""
        self.discard()
        started = replace(state, rebuild=rebuild)
        if len(ticks(rebuild.first, rebuild.last, self.table.every)) > self.chunk:
            save_state(self.services, self.table.name, started)
        return self.go_on(started, rebuild)

    def go_on(self, state: SnapshotState, rebuild: Rebuild) -> Rebuilt:
        """Make the snapshots that are missing aside, and put all of them into the table.

        Where one chunk holds them all, nothing is put aside: done again is as good as gone on with.
        """
        table, store = self.table, self.services.lake.store
        every = table.every
        first = rebuild.first if rebuild.done_to is None else rebuild.done_to + every
        total, missing = len(ticks(rebuild.first, rebuild.last, every)), ticks(first, rebuild.last, every)
        at_once = total <= self.chunk and rebuild.done_to is None
        self._drop_unfinished(rebuild)
        made: pa.Table | None = None
        rows_made = 0
        snapshots = Snapshots(self.services, table, self._pins(rebuild.sources))
        for some, rows in snapshots.chunks(missing, self.chunk, lambda n: self.report(total - len(missing) + n, total)):
            check_identity(rows, (*table.keys, table.time), table.name)
            rows_made += rows.num_rows
            if at_once:
                made = rows
                continue
            self._put_aside(rows)
            rebuild = replace(self._with_read(rebuild, snapshots), done_to=some[-1])
            save_state(self.services, table.name, replace(state, rebuild=rebuild))
        rebuild = self._with_read(rebuild, snapshots)
        self._swap(store.read(self._aside) if made is None else made, rebuild)
        return Rebuilt(self._finished(state, rebuild), len(missing), rows_made)

    def discard(self) -> None:
        """Forget what was put aside."""
        self.services.lake.store.remove(self._aside)

    @property
    def _aside(self) -> Location:
        folder, _, name = self.services.lake.entry(self.table.name).location.rpartition("/")
        return Location(f"{folder}/.rebuilding-{name}")

    def _put_aside(self, rows: pa.Table) -> None:
        # Made before each chunk, which does nothing where it is there: the first may have been killed just before it.
        store, commit = self.services.lake.store, self._commit()
        store.create(self._aside, rows.schema, TableDefinition(), commit)
        store.append(self._aside, rows, commit)

    def _drop_unfinished(self, rebuild: Rebuild) -> None:
        if rebuild.done_to is None:
            self.discard()
        else:
            self.services.lake.store.delete(self._aside, after(self.table.time, rebuild.done_to), self._commit())

    def _swap(self, rows: pa.Table, rebuild: Rebuild) -> None:
        where = None if rebuild.whole else between(self.table.time, rebuild.first, rebuild.last)
        self.services.lake.overwrite(self.table.name, rows, f"snapshots anew because {rebuild.why}", where)

    def _finished(self, state: SnapshotState, rebuild: Rebuild) -> SnapshotState:
        newest = rebuild.last if rebuild.whole or state.last is None else max(state.last, rebuild.last)
        first = rebuild.first if rebuild.whole else state.first
        finished = SnapshotState(rebuild.code, first, newest, rebuild.sources, identities=rebuild.identities)
        save_state(self.services, self.table.name, finished)
        self.discard()
        return finished

    def _with_read(self, rebuild: Rebuild, snapshots: Snapshots) -> Rebuild:
        read = read_by_name(snapshots)
        known = identities(self.services, read) | rebuild.identities
        return replace(rebuild, sources=rebuild.sources | read, identities=known)

    def _pins(self, versions: Mapping[str, int]) -> dict[str, TableVersion]:
        names = {parameter: TableName.parse(source.name) for parameter, source in self.table.sources.items()}
        declared = {parameter: TableVersion(name, Version(versions[str(name)])) for parameter, name in names.items()}
        others = [TableName.parse(name) for name in versions if TableName.parse(name) not in names.values()]
        return declared | {str(name): TableVersion(name, Version(versions[str(name)])) for name in others}

    def _commit(self) -> CommitInfo:
        return CommitInfo(self.services.clock.now(), self.services.principal, "snapshots made aside")


def read_by_name(snapshots: Snapshots) -> dict[str, int]:
    """Versions of the tables that a function has read by their names so far, by table."""
    return {str(name): int(pin.version) for name, pin in snapshots.used.items()}


def between(column: str, first: datetime, last: datetime) -> str:
    """The rows of some snapshots, both ends included, as SQL."""
    return f"{_quoted(column)} >= '{iso(first)}' AND {_quoted(column)} <= '{iso(last)}'"


def after(column: str, last: datetime) -> str:
    """The rows of the snapshots after one, as SQL."""
    return f"{_quoted(column)} > '{iso(last)}'"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
