"""Bringing a computed table up to date: the snapshots that are missing, and those that would differ now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from millrace.core.clock import iso
from millrace.core.errors import InvalidInput
from millrace.core.names import TableName
from millrace.features.tables import check_identity, create_feature_table
from millrace.lake.types import TableVersion, Version
from millrace.pipeline import sources as source_rules
from millrace.pipeline.changes import EVER, changed_from, identities, still_there
from millrace.pipeline.context import RunContext
from millrace.pipeline.declare import FeatureTable, LabelTable, Source
from millrace.pipeline.fingerprint import fingerprint
from millrace.pipeline.grid import first_tick, last_tick, ticks
from millrace.pipeline.port import Services
from millrace.pipeline.rebuild import Rebuilder, between, read_by_name
from millrace.pipeline.snapshot_state import Rebuild, SnapshotState, load_state, save_state
from millrace.pipeline.snapshots import Snapshots, implied_warnings, loaded_by, rule_of, together
from millrace.pipeline.stages.stage import Outcome

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK = 26
_ASIDE = "set aside"  # in place of the code's hash while the table holds what a run as of a time made


@dataclass(frozen=True, slots=True)
class Again:
    """Snapshots to make anew though nothing asks for it. None: from the first, to the last."""

    first: datetime | None = None
    last: datetime | None = None


@dataclass(frozen=True, slots=True)
class RefreshSnapshots:
    """Compute the snapshots of a table up to `due`.

    Attributes:
        pinned: source versions by parameter name, and of tables that the function is known to read by their names.
        aside: whether somebody asked for a time or for versions: what differs from the table as it is then becomes a version
            of its own, and the table goes on as it was, for production lives on it.
        chunk: how many snapshots are made before what is done is written down.
        again: what to make anew in any case.
        identities: what the pinned versions are versions of; what was done with another table by that name is not done.
    """

    table: FeatureTable | LabelTable
    due: datetime
    pinned: Mapping[str, TableVersion]
    aside: bool = False
    chunk: int = CHUNK
    again: Again | None = None
    identities: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """`features <table>` or `labels <table>`."""
        return f"{'labels' if isinstance(self.table, LabelTable) else 'features'} {TableName.parse(self.table.name)}"

    @property
    def last(self) -> datetime:
        """The newest tick that can be computed at `due`: labels need their horizon to have passed."""
        return last_tick(self.due - self._horizon, self.table.every, self.table.start)

    @property
    def code(self) -> str:
        """Hash of the function and the grid: another one makes every snapshot anew."""
        table = self.table
        parts = (table.compute, table.keys, table.every, table.start, table.time, table.sources)
        horizon = table.horizon if isinstance(table, LabelTable) else None
        return fingerprint(*parts, horizon, *([table.windows] if table.windows else []))

    @property
    def fingerprint(self) -> str:
        """Code, source versions and the last tick."""
        return fingerprint(
            "refresh",
            self.table.name,
            self.code,
            self.last,
            {k: str(v) for k, v in self.pinned.items()},
            self.identities,
        )

    def stands(self, services: Services) -> bool:
        """Whether the table still is what this code made; it is not where the page was edited, run, and edited back."""
        state = load_state(services, self.table.name)
        if state is None:
            return True
        return state.code == self.code and (state.rebuild is None or state.rebuild.code != self.code)

    def run(self, context: RunContext) -> Outcome:
        """Compute and write what is missing or would differ; labels may be too young for any, features may not.

        Raises:
            InvalidInput: a feature table has no snapshot at the time that is asked for, or somebody else filled it.
        """
        services = context.services
        state = load_state(services, self.table.name)
        if state is None:
            self._check_ours(services)
        done = _Done()
        if state is not None and state.rebuild is not None and not self.aside:
            state = self._finish_rebuild(context, state, state.rebuild, done)
        first = self._first(services)
        anew = None if state is None else self._anew(services, state, first)
        if anew is not None and state is not None and self.aside:
            version = self._compute_aside(context, state, first, done)
            done.why.append(f"all anew because {anew.why}")
            return self._outcome(services, done, version)
        if anew is not None and state is not None:
            rebuilt = self._rebuilder(context).begin(state, anew)
            state = rebuilt.state
            done.add(rebuilt.snapshots, rebuilt.rows, _told(anew))
        if not self._go_on(context, state, first, done):
            return self._too_early(first)
        return self._outcome(services, done, int(services.lake.pin(self.table.name).version))

    @property
    def _horizon(self) -> timedelta:
        return self.table.horizon if isinstance(self.table, LabelTable) else timedelta(0)

    def _sources(self, state: SnapshotState | None = None) -> dict[str, int]:
        """Versions by table: of what the function declares, and of what this code is known to read by its name."""
        known = state is not None and state.code == self.code
        return {
            str(pin.name): int(pin.version)
            for parameter, pin in self.pinned.items()
            if known or parameter in self.table.sources
        }

    def _outcome(self, services: Services, done: _Done, version: int) -> Outcome:
        output = {
            "table": str(TableName.parse(self.table.name)),
            "version": version,
            "snapshots": done.snapshots,
            "rows": done.rows,
            "sources": done.sources,
            "warnings": self._warnings(services, done),
        }
        return Outcome(", ".join([f"{done.snapshots} snapshots, {done.rows:,} rows", *done.why]), output)

    def _too_early(self, first: datetime) -> Outcome:
        if isinstance(self.table, LabelTable):
            known = f"the first, of {iso(first)}, is known at {iso(first + self.table.horizon)}"
            return Outcome(f"no label yet: {known}", {"snapshots": 0, "rows": 0, "warnings": []})
        raise InvalidInput(
            f"{self.table.name} has no snapshot yet: its first is of {iso(first)}, and {iso(self.due)} is asked for",
            hint="ask for a later time, or import earlier rows",
            table=self.table.name,
        )

    def _warnings(self, services: Services, done: _Done) -> list[str]:
        without = [text for source in self.table.sources.values() if (text := source_rules.warning(source))]
        pins = {name: TableVersion(TableName.parse(name), Version(version)) for name, version in done.sources.items()}
        declared = {str(TableName.parse(source.name)) for source in self.table.sources.values()}
        by_name = {name: pin for name, pin in pins.items() if name not in declared}
        late = [
            f"{name} was loaded after {self.due:%Y-%m-%d}: what was known then is told by event times alone"
            for name in pins
            if not loaded_by(services, name, self.due)
        ]
        return [*without, *implied_warnings(services, self.table, by_name), *late]

    def _rebuilder(self, context: RunContext) -> Rebuilder:
        return Rebuilder(
            context.services,
            self.table,
            self.chunk,
            lambda done, total: context.progress.advance(self.name, done, total),
        )

    def _finish_rebuild(
        self, context: RunContext, state: SnapshotState, rebuild: Rebuild, done: _Done
    ) -> SnapshotState:
        """Go on with a rebuild that was interrupted; forget it where it was of other code, or its sources are gone."""
        rebuilder = self._rebuilder(context)
        there = all(
            still_there(context.services, TableName.parse(name), version) for name, version in rebuild.sources.items()
        )
        now = identities(context.services, rebuild.sources)
        is_same = all(now.get(name) == known for name, known in rebuild.identities.items())
        if not (there and is_same) or rebuild.code != self.code or not (rebuild.whole or state.code == self.code):
            rebuilder.discard()
            left = replace(state, rebuild=None)
            save_state(context.services, self.table.name, left)
            return left
        rebuilt = rebuilder.go_on(state, rebuild)
        done.add(rebuilt.snapshots, rebuilt.rows, f"{_told(rebuild)} (gone on with where it stopped)")
        return rebuilt.state

    def _compute_aside(self, context: RunContext, state: SnapshotState, first: datetime, done: _Done) -> int:
        """Number of a version that holds what was asked for; the newest version is again what it was before."""
        services, name = context.services, self.table.name
        missing = ticks(first, self.last, self.table.every)
        if not missing:  # nothing could be known then; what the table has is later, and is cut by its time
            return int(services.lake.pin(name).version)
        before = services.lake.read(name)
        snapshots = self._snapshots(context)
        parts = [rows for _, rows in self._chunks(context, snapshots, missing)]
        rows = together(parts, name)
        # Killed from here on, the next run that is not pinned makes all anew.
        save_state(services, name, replace(state, code=_ASIDE))
        services.lake.overwrite(name, rows, why="all snapshots anew")
        version = int(services.lake.pin(name).version)
        services.lake.overwrite(name, before, why=f"as it was before a run as of {iso(self.due)}")
        save_state(services, name, state)
        done.add(len(missing), rows.num_rows)
        done.sources = self._sources(state) | read_by_name(snapshots)
        return version

    def _go_on(self, context: RunContext, state: SnapshotState | None, first: datetime, done: _Done) -> bool:
        """Add the snapshots after the newest, each chunk with its state; False where there is none and can be none yet."""
        services, table = context.services, self.table
        begin = first if state is None or state.last is None else state.last + table.every
        snapshots, done.sources = self._snapshots(context), self._sources(state)
        for some, rows in self._chunks(context, snapshots, ticks(begin, self.last, table.every)):
            if state is None:
                if not services.lake.exists(table.name):  # a run that was killed may have come so far
                    self._create(services, rows.schema)
                save_state(services, table.name, SnapshotState(self.code, first, None))
            _put(services, table, some, rows, fresh=state is None or state.last is None)
            done.sources |= read_by_name(snapshots)
            known = identities(services, done.sources)
            state = SnapshotState(self.code, first, some[-1], done.sources, identities=known)
            save_state(services, table.name, state)
            done.add(len(some), rows.num_rows)
        if state is None or state.last is None:
            return False
        known = identities(services, done.sources)
        if (state.sources, state.identities) != (done.sources, known):
            save_state(services, table.name, replace(state, sources=done.sources, identities=known))
        return True

    def _snapshots(self, context: RunContext) -> Snapshots:
        as_of = context.pins.as_of if self.aside else None
        return Snapshots(context.services, self.table, self.pinned, as_of, context.pins.versions)

    def _chunks(
        self, context: RunContext, snapshots: Snapshots, missing: list[datetime]
    ) -> Iterator[tuple[Sequence[datetime], pa.Table]]:
        report = context.progress.advance
        for some, rows in snapshots.chunks(missing, self.chunk, lambda n: report(self.name, n, len(missing))):
            check_identity(rows, (*self.table.keys, self.table.time), self.table.name)
            yield some, rows

    def _create(self, services: Services, schema: pa.Schema) -> None:
        features = None if isinstance(self.table, LabelTable) else self.table
        create_feature_table(
            services.lake,
            self.table.name,
            schema,
            primary_keys=self.table.keys,
            timeseries_column=self.table.time,
            available_after=self._horizon,
            description=self.table.description,
            tags=features.tags if features else {},
            freshness=(features.freshness or 2 * features.every) if features else None,
            role="features" if features else "labels",
        )

    def _first(self, services: Services) -> datetime:
        if self.table.start is not None:
            return self.table.start
        times = [
            time
            for name, source in self.table.sources.items()
            if (time := _earliest(services, source, self.pinned[name]))
        ]
        if not times:
            raise InvalidInput(
                f"the sources of {self.table.name} have no rows", hint="import some first: millrace table import"
            )
        return first_tick(max(times), self.table.every)

    def _check_ours(self, services: Services) -> None:
        if services.lake.exists(self.table.name) and services.lake.rows(self.table.name):
            raise InvalidInput(
                f"table {self.table.name} has rows that no pipeline made",
                hint="give the pipeline's table another name, or look these rows up without computing them",
                table=self.table.name,
            )

    def _anew(self, services: Services, state: SnapshotState, first: datetime) -> Rebuild | None:
        """What has to be made anew: from the first snapshot that would differ now; None where none would."""
        if state.last is None:
            return None
        why, begin, end = self._differs(services, state, first, state.last)
        if self.again is not None:
            asked = first_tick(max(self.again.first or first, first), self.table.every, first)
            end = min(self.again.last or state.last, state.last) if begin is None else end
            why = why or "it was asked for"
            begin = asked if begin is None else min(asked, begin)
        if begin is None or begin > end:
            return None
        end = last_tick(end, self.table.every, first)
        newest = max(self.last, state.last)
        whole = begin <= first and end == state.last
        # All at once where all is made anew; else the rest is added behind.
        last = newest if whole else end
        sources = self._sources(state)
        return Rebuild(self.code, begin, last, whole, sources, why, identities=identities(services, sources))

    def _differs(
        self, services: Services, state: SnapshotState, first: datetime, last: datetime
    ) -> tuple[str, datetime | None, datetime]:
        """Why snapshots differ now, the first one that does, and the last."""
        if state.code != self.code:
            return "its code changed", first, last
        if state.first != first:
            return f"it begins on {first:%Y-%m-%d} now", first, last
        found: list[tuple[datetime, str]] = []
        now = identities(services, state.identities)
        for name, pin in self.pinned.items():
            source = self.table.sources.get(name) or rule_of(services, self.table, pin.name)
            table = str(pin.name)
            if now.get(table) != state.identities.get(table):
                return f"{table} was made anew, or its rows can be seen at other times", first, last
            at = changed_from(services, source, state.sources.get(table), pin, last + self._horizon)
            if at is not None:
                tick = first if at == EVER else first_tick(at - self._horizon, self.table.every, first)
                found.append((max(first, tick), f"rows of {pin.name} changed"))
        begin, why = min(found, default=(None, ""))
        return why, begin, last


class _Done:
    """What a run has done so far."""

    def __init__(self) -> None:
        self.snapshots = 0
        self.rows = 0
        self.why: list[str] = []
        self.sources: dict[str, int] = {}

    def add(self, snapshots: int, rows: int, why: str | None = None) -> None:
        """Count some more."""
        self.snapshots += snapshots
        self.rows += rows
        self.why += [why] if why else []


def _told(rebuild: Rebuild) -> str:
    if rebuild.whole:
        return f"all anew because {rebuild.why}"
    return f"those of {rebuild.first:%Y-%m-%d} to {rebuild.last:%Y-%m-%d} anew because {rebuild.why}"


def _put(
    services: Services, table: FeatureTable | LabelTable, some: Sequence[datetime], rows: pa.Table, *, fresh: bool
) -> None:
    """Write the rows of some snapshots, in place of what a killed run may have left of them."""
    import pyarrow.compute as pc

    lake = services.lake
    if fresh:
        lake.overwrite(table.name, rows, "first snapshots")
        return
    time = pc.field(table.time)
    if lake.read(table.name, columns=[table.time], where=(time >= some[0]) & (time <= some[-1])).num_rows:
        lake.overwrite(table.name, rows, "snapshots", between(table.time, some[0], some[-1]))
    elif rows.num_rows:
        lake.append(table.name, rows, "snapshots")


def _earliest(services: Services, source: Source, pin: TableVersion) -> datetime | None:
    # Of the sources that are events: others say nothing about when there was something to see.
    if source.event_time is None or source.history != "append":
        return None
    return source_rules.earliest(services.lake.read(pin.name, pin.version, [source.event_time]), source.event_time)
