"""The as-of times of an audit, where neither given: spread over the history, each with a future to change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from millrace.core.clock import iso, utc
from millrace.core.errors import InvalidInput
from millrace.core.names import TableName
from millrace.pipeline import sources as source_rules
from millrace.pipeline.audit.rules import declared_sources
from millrace.pipeline.audit.training import feature_times, spread
from millrace.pipeline.declare import LabelTable, Pipeline, Source
from millrace.pipeline.grid import last_tick
from millrace.pipeline.labels import read_known
from millrace.pipeline.port import Services

_NO_TIME = timedelta(0)


@dataclass(frozen=True, slots=True)
class Times:
    """When an audit asks.

    Attributes:
        cuts: after these the future is changed, and as of these features are computed.
        labels: label times whose label is known at a cut, one for each cut; empty where the pipeline computes no labels.
        samples: further times of which features are computed, so that there is a training set.
    """

    cuts: Sequence[datetime]
    labels: Sequence[datetime]
    samples: Sequence[datetime]


def choose_times(services: Services, pipeline: Pipeline, given: Sequence[datetime], count: int) -> Times:
    """The times that were given, or `count` of them spread over the sources' history on the features' grid.

    Raises:
        InvalidInput: the sources have no rows, or no time lies in their history.
    """
    horizon = pipeline.label.horizon if isinstance(pipeline.label, LabelTable) else None
    computes = bool(pipeline.features) or horizon is not None
    cuts = [utc(time) for time in given] or (
        _spread(services, pipeline, horizon or _NO_TIME, count) if computes else []
    )
    if horizon is not None:
        labels = [cut - horizon for cut in cuts]
        return Times(cuts, labels, labels)
    known = read_known(services, pipeline.labels, services.lake.pin(pipeline.labels.name), services.clock.now())
    asked = spread(known, pipeline.labels.time, count)
    return Times(cuts, [], feature_times(pipeline, asked))


def _spread(services: Services, pipeline: Pipeline, horizon: timedelta, count: int) -> list[datetime]:
    first, last = _history(services, pipeline)
    table = pipeline.features[0] if pipeline.features else None
    every = (
        table.every if table else pipeline.label.every if isinstance(pipeline.label, LabelTable) else timedelta(days=1)
    )
    start = table.start if table else None
    begin = first + horizon
    if begin >= last:
        raise InvalidInput(
            f"the sources' history from {iso(first)} to {iso(last)} is shorter than the label's horizon of {horizon.days} days",
            hint="import more history, or name times with --as-of",
        )
    wanted = [begin + (last - begin) * n / (count + 1) for n in range(1, count + 1)]
    ticks = sorted({last_tick(time, every, start) for time in wanted})
    return [tick for tick in ticks if tick >= first] or [wanted[len(wanted) // 2]]


def _history(services: Services, pipeline: Pipeline) -> tuple[datetime, datetime]:
    """From when on all sources have rows, and the newest row that has come."""
    bounds = [found for source in declared_sources(pipeline) if (found := _bounds(services, source)) is not None]
    if not bounds:
        raise InvalidInput(
            f"no source of {pipeline.name} has rows with a time", hint="import some first, or name times with --as-of"
        )
    starts = [table.start for table in (*pipeline.features, pipeline.label) if getattr(table, "start", None)]
    first = max([*(begin for begin, _ in bounds), *(start for start in starts if start)])
    return first, min(services.clock.now(), max(end for _, end in bounds))


def _bounds(services: Services, source: Source) -> tuple[datetime, datetime] | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    if source.event_time is None or source.history != "append":
        return None
    rows = services.lake.read(TableName.parse(source.name), None, [source.event_time])
    begin = source_rules.earliest(rows, source.event_time)
    end = pc.max(rows.column(source.event_time).cast(pa.timestamp("us"))).as_py()
    return None if begin is None or end is None else (begin, utc(end))
