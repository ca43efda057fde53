"""Window features of a source, in a pipeline: declared, and computed for the times of a grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from millrace.core.clock import epoch_us
from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean
from millrace.features.identity import key_family
from millrace.features.types import FeatureSource
from millrace.features.windows import TICK, Aggregate, ResolvedWindows, Ticks, resolve_features
from millrace.lake.types import TableVersion
from millrace.pipeline.port import Services
from millrace.pipeline.source import Source

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, init=False)
class Windows:
    """Aggregates over the time before, of the events of one source, by key.

    As the default of a feature function's parameter it is a frame with a row per key, as of the function's time; with
    `window_table` it is a feature table by itself. A key is there while it has an event in the longest window.

    Attributes:
        source: events, that is `history="append"`.
        keys: columns of the source that identify whom a feature is about.
        features: name and aggregate of each feature.
    """

    source: Source
    keys: tuple[str, ...]
    features: tuple[tuple[str, Aggregate], ...]

    def __init__(self, source: Source, keys: str | Sequence[str], **features: Aggregate) -> None:
        named = (keys,) if isinstance(keys, str) else tuple(keys)
        _check(source, named, features)
        object.__setattr__(self, "source", source)
        object.__setattr__(self, "keys", named)
        object.__setattr__(self, "features", tuple(features.items()))


@dataclass(frozen=True, slots=True)
class OnlyWindows:
    """The function of a feature table that is window features and nothing else."""

    windows: Windows

    def __call__(self, as_of: datetime, rows: object) -> object:
        """The rows as they are."""
        del as_of
        return rows


def resolve_windows(services: Services, windows: Windows, pinned: TableVersion) -> ResolvedWindows:
    """Window features over a pinned version of their source.

    Raises:
        InvalidInput: a key or a feature does not fit the source's columns.
    """
    lake = services.lake
    entry, schema = lake.entry(pinned.name), lake.schema(pinned.name, pinned.version)
    for key in windows.keys:
        if key not in schema.names:
            raise InvalidInput(f"source {pinned.name} has no column '{key}'", hint=did_you_mean(key, schema.names))
        if key_family(schema.field(key).type) in (None, "null"):
            raise InvalidInput(
                f"'{key}' is {schema.field(key).type}, which can't be a key", hint="choose another column"
            )
    definition = entry.definition
    source = FeatureSource(
        table=pinned,
        location=entry.location,
        files=lake.store.files(entry.location, pinned.version),
        schema=schema,
        primary_keys=windows.keys,
        timeseries_column=windows.source.event_time,
        available_after=max(windows.source.available_after, definition.available_after),
        date_stands_for=definition.date_stands_for,
    )
    return resolve_features(source, windows.features)


def window_rows(
    services: Services, windows: Windows, pinned: TableVersion, times: Sequence[datetime]
) -> Mapping[datetime, pa.Table]:
    """Keys and features as of each time (ascending), sorted by key; one pass over the events per even run of times."""
    resolved = resolve_windows(services, windows, pinned)
    found: dict[datetime, pa.Table] = {}
    for ticks in _even_runs(times):
        rows = services.windows.compute(resolved, ticks)
        found.update(_by_tick(rows, ticks, windows.keys))
    return found


def to_frame(session: SparkSession, rows: pa.Table) -> DataFrame:
    """The rows as a Spark frame; where there are none the columns have to be said."""
    from pyspark.sql.pandas.types import from_arrow_schema

    frame: DataFrame = session.createDataFrame(rows if rows.num_rows else [], schema=from_arrow_schema(rows.schema))
    return frame


def _by_tick(rows: pa.Table, ticks: Ticks, keys: Sequence[str]) -> Iterator[tuple[datetime, pa.Table]]:
    import numpy as np

    rows = rows.sort_by([(TICK, "ascending"), *((key, "ascending") for key in keys)])
    at_us = rows.column(TICK).cast("int64").to_numpy()
    rows = rows.drop_columns([TICK])
    times = [ticks.first + ticks.every * number for number in range(ticks.count)]
    wanted = [epoch_us(time) for time in times]
    starts, ends = np.searchsorted(at_us, wanted, side="left"), np.searchsorted(at_us, wanted, side="right")
    for time, start, end in zip(times, starts.tolist(), ends.tolist(), strict=True):
        yield time, rows.slice(start, end - start)


def _even_runs(times: Sequence[datetime]) -> Iterator[Ticks]:
    at = 0
    while at < len(times):
        every = times[at + 1] - times[at] if at + 1 < len(times) else _MICROSECOND
        end = at + 1
        while end < len(times) and times[end] - times[end - 1] == every:
            end += 1
        yield Ticks(times[at], every, end - at)
        at = end


def _check(source: Source, keys: tuple[str, ...], features: Mapping[str, Aggregate]) -> None:
    if source.history != "append":
        raise InvalidInput(
            f"windows over {source.name}, which keeps history as '{source.history}'",
            hint="windows are over events: a source with history='append'",
        )
    if not keys or not features:
        raise InvalidInput(
            f"windows over {source.name} without {'features' if keys else 'keys'}",
            hint='write Windows(source, keys=["customer_id"], total=Sum("amount", days=90))',
        )
    for name, aggregate in features.items():
        if name in keys:
            raise InvalidInput(f"'{name}' is a key and a window feature", hint="give the feature another name")
        if type(aggregate) not in Aggregate.__subclasses__():
            raise InvalidInput(
                f"window feature '{name}' is {aggregate!r}", hint="use Sum, Mean, Count, Min, Max, Stddev, Last, ..."
            )
