"""Computing snapshots: a PySpark function, called once per time, seeing only what was known then."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from millrace.core.clock import epoch_us, utc
from millrace.core.errors import InvalidInput, MillraceError
from millrace.core.interruption import interruptions
from millrace.core.names import TableName, did_you_mean
from millrace.lake.frames import is_frame, to_arrow
from millrace.lake.types import TableVersion
from millrace.pipeline import sources as source_rules
from millrace.pipeline.declare import FeatureTable, LabelTable, Source
from millrace.pipeline.port import Services
from millrace.pipeline.windows import OnlyWindows, to_frame, window_rows

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from pyspark.sql import DataFrame

SIGNIFICANT_DIGITS = 12
STATE = "snapshots"  # the key in a computed table's properties under which its state is kept


@dataclass(frozen=True, slots=True)
class Snapshots:
    """A feature or label function with its pinned sources, ready to be asked for any time.

    Attributes:
        table: the declaration.
        pinned: source versions by parameter name, and those of other tables that it is known to read by their names, as
            `pin_sources` gives them.
        as_of: which version of a table that nobody knew of is read: the one at that time; None: the newest.
        versions: versions that were asked for.
        used: the tables beyond its parameters that the function has read by their names so far, each at one version.
    """

    services: Services
    table: FeatureTable | LabelTable
    pinned: Mapping[str, TableVersion]
    as_of: datetime | None = None
    versions: Mapping[TableName, int] = field(default_factory=dict)
    used: dict[TableName, TableVersion] = field(default_factory=dict)

    def at(self, tick: datetime) -> pa.Table:
        """The rows of one snapshot: keys, time, and what the function returned, in its order.

        Raises:
            InvalidInput: the function failed, or did not return a frame with the keys.
        """
        return self._at(tick, self._window_rows([tick]))

    def _at(self, tick: datetime, windowed: Mapping[str, Mapping[datetime, pa.Table]]) -> pa.Table:
        seen_until = self._seen_until(tick)
        if isinstance(self.table.compute, OnlyWindows):
            (rows,) = (found[seen_until] for found in windowed.values())
            return _finish(rows, self.table, tick)
        frames = {
            name: self._frame(source, self.pinned[name], seen_until)
            for name, source in self.table.sources.items()
            if name not in windowed
        }
        named = {self.pinned[name].name: frame for name, frame in frames.items()}
        with self.services.spark.at(seen_until, named, lambda name: self._named(name, seen_until)) as session:
            for name, found in windowed.items():
                frames[name] = to_frame(session, found[seen_until])
            rows = self._call(tick, seen_until, frames)
        return _finish(rows, self.table, tick)

    @property
    def warnings(self) -> list[str]:
        """What a training record must say of the tables that were read by their names."""
        return _warnings(self.services, self.table, self.used.values())

    def _named(self, name: TableName, seen_until: datetime) -> DataFrame:
        """A table that the function reads by its name: cut by the rule of its Source, or by what the catalog knows."""
        if name == TableName.parse(self.table.name):
            raise InvalidInput(
                f"the function of {name} reads {name} itself",
                hint="compute from its sources, or make a second table from this one",
            )
        source = rule_of(self.services, self.table, name)
        pin = self.used.get(name) or next((pin for pin in self.pinned.values() if pin.name == name), None)
        self.used[name] = pin = pin or _pin(self.services, str(name), self.as_of, self.versions)
        return self._frame(source, pin, seen_until)

    def _seen_until(self, tick: datetime) -> datetime:
        return tick + self.table.horizon if isinstance(self.table, LabelTable) else tick

    def _window_rows(self, ticks: Sequence[datetime]) -> Mapping[str, Mapping[datetime, pa.Table]]:
        """Window features by parameter name, as of what each tick sees: of all ticks in one pass."""
        times = [self._seen_until(tick) for tick in ticks]
        return {
            name: window_rows(self.services, windows, self.pinned[name], times)
            for name, windows in self.table.windows.items()
        }

    def chunks(
        self, ticks: Sequence[datetime], size: int, report: Callable[[int], None]
    ) -> Iterator[tuple[Sequence[datetime], pa.Table]]:
        """Snapshots of many times, some at once, so that a long backfill can be written as it goes; `report` hears how many are done."""
        for start in range(0, len(ticks), size):
            some, parts = ticks[start : start + size], []
            windowed = self._window_rows(some)
            for tick in some:
                parts.append(self._at(tick, windowed))
                report(start + len(parts))
            yield some, together(parts, self.table.name)

    def _call(self, tick: datetime, seen_until: datetime, frames: Mapping[str, DataFrame]) -> pa.Table:
        times = (tick, seen_until) if isinstance(self.table, LabelTable) else (tick,)
        try:
            # Ctrl-C ends the embedded Spark too, and what the client says of that is not the function's error.
            with interruptions():
                result = self.table.compute(*times, **frames)
                rows = to_arrow(result) if is_frame(result) else None
        except MillraceError:
            raise
        except Exception as error:  # the adapter edge to the user's code: whatever it raises is theirs to see
            raise InvalidInput(
                f"the function of {self.table.name} failed at {tick:%Y-%m-%d %H:%M}: {_told(error, self.table.compute)}",
                hint="it is called once per time, with the frames cut at that time; try it alone on one",
                table=self.table.name,
            ) from error
        if rows is None:
            kind, library = type(result).__name__, type(result).__module__.partition(".")[0]
            kind = kind if library == "builtins" else f"{library}.{kind}"
            raise InvalidInput(
                f"the function of {self.table.name} returned {kind}",
                hint="return a frame: PySpark, pandas, Polars or Arrow",
            )
        return rows

    def _frame(self, source: Source, pinned: TableVersion, as_of: datetime) -> DataFrame:
        lake = self.services.lake
        entry = lake.entry(pinned.name)
        frame = self.services.spark.read(entry.location, pinned.version)
        return source_rules.cut(frame, source, as_of, lake.schema(pinned.name, pinned.version), entry.definition)


def pin_sources(
    services: Services, table: FeatureTable | LabelTable, as_of: datetime | None, versions: Mapping[TableName, int]
) -> dict[str, TableVersion]:
    """The version of each source to read, by parameter name, columns checked.

    A table that was loaded after `as_of` is read at its newest version: its rows are then cut by their event time alone.

    Raises:
        NotFound: a source does not exist.
        InvalidInput: a source lacks its time column.
    """
    pinned = {}
    for name, source in table.sources.items():
        pinned[name] = _pin(services, source.name, as_of, versions)
        source_rules.check(source, services.lake.schema(source.name, pinned[name].version))
    declared = {pin.name for pin in pinned.values()}
    others = [name for name in _read_before(services, table.name) if name not in declared]
    return pinned | {str(name): _pin(services, str(name), as_of, versions) for name in others}


def rule_of(services: Services, table: FeatureTable | LabelTable, name: TableName) -> Source:
    """How a table is cut for a function: by the Source that declares it, else by what the catalog knows of it.

    Raises:
        NotFound: no such table.
    """
    declared = (source for source in table.sources.values() if TableName.parse(source.name) == name)
    return next(declared, None) or source_rules.implied(services.lake.entry(name))


def implied_warnings(
    services: Services, table: FeatureTable | LabelTable, pinned: Mapping[str, TableVersion]
) -> list[str]:
    """What a training record must say of the tables that a function is known to read by their names."""
    return _warnings(services, table, [pin for name, pin in pinned.items() if name not in table.sources])


def _warnings(services: Services, table: FeatureTable | LabelTable, pins: Iterable[TableVersion]) -> list[str]:
    found = (source_rules.warning(rule_of(services, table, pin.name), is_implied=True) for pin in pins)
    return [text for text in found if text]


def _pin(services: Services, name: str, as_of: datetime | None, versions: Mapping[TableName, int]) -> TableVersion:
    known = as_of if as_of is not None and loaded_by(services, name, as_of) else None
    return services.lake.pin(name, known, versions)


def _read_before(services: Services, name: str) -> list[TableName]:
    """The tables that a computed table was made from, as its last run left word; without those that are gone."""
    if not services.lake.exists(name):
        return []
    state = services.lake.entry(name).definition.properties.get(STATE)
    sources = state.get("sources", {}) if isinstance(state, Mapping) else {}
    return [TableName.parse(source) for source in sources if services.lake.exists(source)]


def preview(services: Services, table: FeatureTable | LabelTable, at: datetime) -> pa.Table:
    """What a feature or label function gives for one time, over the newest sources; nothing is stored."""
    return Snapshots(services, table, pin_sources(services, table, None, {})).at(utc(at))


def loaded_by(services: Services, name: str, as_of: datetime) -> bool:
    """Whether a table had a version at a time."""
    first = next((info.at for info in services.lake.history(name) if info.at is not None), None)
    return first is None or first <= as_of


def together(parts: Sequence[pa.Table], name: str) -> pa.Table:
    """Snapshots of several times as one table.

    Raises:
        InvalidInput: a column has types at two times that don't fit into one.
    """
    import pyarrow as pa

    try:
        return pa.concat_tables(parts, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InvalidInput(
            f"the function of {name} returned columns whose types at several times don't fit together: {error}",
            hint="give each column the same type at each time: cast it, or in pandas use astype, as in astype('Int64')",
            table=name,
        ) from error


def _finish(rows: pa.Table, table: FeatureTable | LabelTable, tick: datetime) -> pa.Table:
    import pyarrow as pa

    for key in table.keys:
        if key not in rows.column_names:
            raise InvalidInput(
                f"the function of {table.name} returned no column '{key}'",
                hint=did_you_mean(key, rows.column_names),
                column=key,
            )
    twice = next((name for name in rows.column_names if rows.column_names.count(name) > 1), None)
    if twice is not None:
        raise InvalidInput(
            f"the function of {table.name} returned two columns '{twice}'",
            hint="give each its own name, with alias()",
            column=twice,
        )
    if table.time in rows.column_names:
        raise InvalidInput(
            f"the function of {table.name} returned '{table.time}', which millrace adds",
            hint="leave it out, or set time= to another name",
        )
    time = pa.array([epoch_us(tick)] * rows.num_rows, pa.int64()).cast(pa.timestamp("us", "UTC"))
    values = [name for name in rows.column_names if name not in table.keys]
    rows = rows.select([*table.keys, *values]).sort_by([(key, "ascending") for key in table.keys])
    return round_floats(rows.add_column(len(table.keys), table.time, time))


def round_floats(table: pa.Table) -> pa.Table:
    """Floats to 12 significant digits: parallel sums differ in the last bits from run to run, stored features must not."""
    import pyarrow as pa

    for index, column in enumerate(table.schema):
        if pa.types.is_float64(column.type):
            values = table.column(index).combine_chunks()
            rounded = _round(values.fill_null(0.0).to_numpy(zero_copy_only=False))
            table = table.set_column(
                index, column, pa.array(rounded, mask=values.is_null().to_numpy(zero_copy_only=False))
            )
    return table


def _round(values: np.ndarray) -> np.ndarray:
    import numpy as np

    finite = np.isfinite(values) & (values != 0)
    digits = SIGNIFICANT_DIGITS - 1 - np.floor(np.log10(np.abs(values[finite]))).astype(int)
    result = values.copy()
    # Through text: the nearest double of the rounded decimal, which scaling by powers of ten would miss.
    result[finite] = [
        round(value, place) for value, place in zip(values[finite].tolist(), digits.tolist(), strict=True)
    ]
    return result


def _told(error: Exception, compute: object) -> str:
    """One line of an error, and where in the file of the function it came from, if it came from there."""
    text = str(error).strip()
    first = text.split("\n")[-1 if "Traceback" in text else 0][:300]
    file = getattr(getattr(compute, "__code__", None), "co_filename", None)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    where = f" ({Path(str(file)).name}, line {lines[-1]})" if lines else ""
    return f"{type(error).__name__}: {first}{where}" if first else f"{type(error).__name__}{where}"
