"""Bringing a computed table up to date: the snapshots that are missing, or all of them where an old one would differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, cast

from millrace.core.clock import iso, parse_time
from millrace.core.errors import InvalidInput
from millrace.core.names import TableName
from millrace.features.tables import create_feature_table, write_feature_rows
from millrace.lake.types import TableVersion
from millrace.pipeline import sources as source_rules
from millrace.pipeline.context import RunContext
from millrace.pipeline.declare import FeatureTable, LabelTable, Source
from millrace.pipeline.fingerprint import fingerprint
from millrace.pipeline.grid import first_tick, last_tick, ticks
from millrace.pipeline.port import Services
from millrace.pipeline.snapshots import Snapshots, loaded_by
from millrace.pipeline.stages.stage import Outcome

if TYPE_CHECKING:
    import pyarrow as pa

_STATE = "snapshots"  # the key in a table's properties under which its state is kept
_CHUNK = 26
_BEGUN = "begun"  # in place of the code's hash, until the first run is complete


@dataclass(frozen=True, slots=True)
class RefreshSnapshots:
    """Compute the snapshots of a table up to `due`.

    Attributes:
        pinned: source versions by parameter name.
        aside: whether somebody asked for a time or for versions: what differs from the table as it is then becomes a version
            of its own, and the table goes on as it was, for production lives on it.
    """

    table: FeatureTable | LabelTable
    due: datetime
    pinned: Mapping[str, TableVersion]
    aside: bool = False

    @property
    def name(self) -> str:
        """`features <table>` or `labels <table>`."""
        return f"{'labels' if isinstance(self.table, LabelTable) else 'features'} {TableName.parse(self.table.name)}"

    @property
    def last(self) -> datetime:
        """The newest tick that can be computed at `due`: labels need their horizon to have passed."""
        horizon = self.table.horizon if isinstance(self.table, LabelTable) else None
        return last_tick(self.due - horizon if horizon else self.due, self.table.every, self.table.start)

    @property
    def code(self) -> str:
        """Hash of the function and the grid: another one makes every snapshot anew."""
        parts = (
            self.table.compute,
            self.table.keys,
            self.table.every,
            self.table.start,
            self.table.time,
            self.table.sources,
        )
        horizon = self.table.horizon if isinstance(self.table, LabelTable) else None
        return fingerprint(*parts, horizon)

    @property
    def fingerprint(self) -> str:
        """Code, source versions and the last tick."""
        return fingerprint(
            "refresh", self.table.name, self.code, self.last, {k: str(v) for k, v in self.pinned.items()}
        )

    def stands(self, services: Services) -> bool:
        """Whether the table still is what this code made; it is not where the page was edited, run, and edited back."""
        state = _state(services, self.table.name)
        return state is None or state["code"] == self.code

    def run(self, context: RunContext) -> Outcome:
        """Compute and write what is missing; labels may be too young for any, features may not.

        Raises:
            InvalidInput: a feature table has no snapshot at the time that is asked for.
        """
        services = context.services
        state = _state(services, self.table.name)
        rebuild = self._rebuild_reason(services, state)
        first = self._first(services)
        done_to = None if rebuild or state is None else parse_time(str(state["last"]))
        missing = ticks(first if done_to is None else done_to + self.table.every, self.last, self.table.every)
        if rebuild and self.aside and state is not None:
            rows, version = self._compute_aside(context, missing, state)
        else:
            rows = self._compute(context, missing, replace=bool(rebuild)) if missing else 0
            if not services.lake.exists(self.table.name):
                return self._too_early(first)
            _remember(services, self.table.name, self._new_state(first, done_to))
            version = int(services.lake.pin(self.table.name).version)
        output = {
            "table": str(TableName.parse(self.table.name)),
            "version": version,
            "snapshots": len(missing),
            "rows": rows,
            "sources": {str(pin.name): int(pin.version) for pin in self.pinned.values()},
            "warnings": self._warnings(services),
        }
        again = f", all anew because {rebuild}" if rebuild else ""
        return Outcome(f"{len(missing)} snapshots, {rows:,} rows{again}", output)

    def _too_early(self, first: datetime) -> Outcome:
        if isinstance(self.table, LabelTable):
            known = f"the first, of {iso(first)}, is known at {iso(first + self.table.horizon)}"
            return Outcome(f"no label yet: {known}", {"snapshots": 0, "rows": 0, "warnings": []})
        raise InvalidInput(
            f"{self.table.name} has no snapshot yet: its first is of {iso(first)}, and {iso(self.due)} is asked for",
            hint="ask for a later time, or import earlier rows",
            table=self.table.name,
        )

    def _warnings(self, services: Services) -> list[str]:
        without = [text for source in self.table.sources.values() if (text := source_rules.warning(source))]
        return without + [
            f"{pin.name} was loaded after {self.due:%Y-%m-%d}: what was known then is told by event times alone"
            for pin in self.pinned.values()
            if not loaded_by(services, str(pin.name), self.due)
        ]

    def _compute_aside(
        self, context: RunContext, missing: list[datetime], state: Mapping[str, object]
    ) -> tuple[int, int]:
        """Rows and number of a version that holds what was asked for; the newest version is again what it was before."""
        services, name = context.services, self.table.name
        if not missing:  # nothing could be known then; what the table has is later, and is cut by its time
            return 0, int(services.lake.pin(name).version)
        before = services.lake.read(name)
        # Killed from here on, the next run that is not pinned makes all anew.
        _remember(services, name, {**state, "code": "set aside"})
        rows = self._compute(context, missing, replace=True)
        version = int(services.lake.pin(name).version)
        services.lake.overwrite(name, before, why=f"as it was before a run as of {iso(self.due)}")
        _remember(services, name, state)
        return rows, version

    def _compute(self, context: RunContext, missing: list[datetime], *, replace: bool) -> int:
        snapshots = Snapshots(context.services, self.table, self.pinned)
        written = 0
        size = len(missing) if replace else _CHUNK
        for _, rows in snapshots.chunks(missing, size, lambda n: context.progress.advance(self.name, n, len(missing))):
            written += rows.num_rows
            self._write(context.services, rows, replace=replace)
        return written

    def _write(self, services: Services, rows: pa.Table, *, replace: bool) -> None:
        lake = services.lake
        if not lake.exists(self.table.name):
            self._create(services, rows.schema)
        if replace:
            lake.overwrite(self.table.name, rows, why="all snapshots anew")
        elif rows.num_rows:
            write_feature_rows(lake, self.table.name, rows, why="snapshots")

    def _create(self, services: Services, schema: pa.Schema) -> None:
        is_label = isinstance(self.table, LabelTable)
        create_feature_table(
            services.lake,
            self.table.name,
            schema,
            primary_keys=self.table.keys,
            timeseries_column=self.table.time,
            available_after=self.table.horizon if isinstance(self.table, LabelTable) else timedelta(0),
            description=self.table.description,
            tags={} if isinstance(self.table, LabelTable) else self.table.tags,
            role="labels" if is_label else "features",
        )
        # Killed before its first run is complete, the table is told from a complete one, and made anew.
        _remember(services, self.table.name, {"code": _BEGUN, "last": iso(self.last), "sources": {}})

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

    def _rebuild_reason(self, services: Services, state: Mapping[str, object] | None) -> str | None:
        if state is None:
            self._check_ours(services)
            return None
        if state["code"] == _BEGUN:
            return "its first run was interrupted"
        if state["code"] != self.code:
            return "its code changed"
        seen_to = parse_time(str(state["last"]))
        horizon = self.table.horizon if isinstance(self.table, LabelTable) else seen_to - seen_to
        old = cast("Mapping[str, int]", state["sources"])
        for name, source in self.table.sources.items():
            pin = self.pinned[name]
            if _past_changed(services, source, old.get(str(pin.name)), pin, seen_to + horizon):
                return f"rows of {pin.name} up to {seen_to + horizon:%Y-%m-%d} changed"
        return None

    def _new_state(self, first: datetime, done_to: datetime | None) -> dict[str, object]:
        last = max(self.last, done_to) if done_to else self.last
        sources = {str(pin.name): int(pin.version) for pin in self.pinned.values()}
        return {"code": self.code, "first": iso(first), "last": iso(last), "sources": sources}


def _state(services: Services, name: str) -> Mapping[str, object] | None:
    if not services.lake.exists(name):
        return None
    return cast("Mapping[str, object] | None", services.lake.entry(name).definition.properties.get(_STATE))


def _remember(services: Services, name: str, state: Mapping[str, object]) -> None:
    if services.lake.exists(name):
        properties = services.lake.entry(name).definition.properties
        services.lake.describe(name, properties={**properties, _STATE: state})


def _earliest(services: Services, source: Source, pin: TableVersion) -> datetime | None:
    # Of the sources that are events: others say nothing about when there was something to see.
    if source.event_time is None or source.history != "append":
        return None
    return source_rules.earliest(services.lake.read(pin.name, pin.version, [source.event_time]), source.event_time)


def _past_changed(services: Services, source: Source, old: int | None, new: TableVersion, until: datetime) -> bool:
    """Whether rows up to a time may differ between two versions: other than appends did it, or appended rows are that old."""
    if old is None or old == new.version:
        return old is None
    if source.history == "none" or source.event_time is None:
        return True
    between = [info for info in services.lake.history(new.name) if old < info.version <= new.version]
    if any(info.operation not in {"WRITE", "OPTIMIZE"} for info in between):
        return True
    return _count_seen(services, source, new.name, old, until) != _count_seen(
        services, source, new.name, new.version, until
    )


def _count_seen(services: Services, source: Source, name: TableName, version: int, until: datetime) -> int:
    times = services.lake.read(name, version, [str(source.event_time)]).column(str(source.event_time))
    return source_rules.count_seen(times, source, until, services.lake.entry(name).definition)
