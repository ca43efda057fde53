"""The as-of times of an audit, where neither given: spread over the history, each with a future to change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from millrace.core.clock import iso, utc
from millrace.core.errors import InvalidInput
from millrace.core.names import TableName
from millrace.pipeline import sources as source_rules
from millrace.pipeline.audit.rerun import computed_tables
from millrace.pipeline.audit.rules import declared_sources
from millrace.pipeline.audit.samples import feature_times, spread
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
        InvalidInput: no source has rows with a time, or their history is too short.
    """
    if isinstance(pipeline.label, LabelTable):
        horizon = pipeline.label.horizon
        cuts = [utc(time) for time in given] or _spread(services, pipeline, horizon, count)
        labels = [cut - horizon for cut in cuts]
        return Times(cuts, labels, labels)
    known = read_known(services, pipeline.labels, services.lake.pin(pipeline.labels.name), services.clock.now())
    samples = feature_times(pipeline, spread(known, pipeline.labels.time, count))
    if not pipeline.features:
        return Times([], [], samples)
    cuts = [utc(time) for time in given] or _spread(services, pipeline, _NO_TIME, count)
    return Times(cuts, [], samples)


def _spread(services: Services, pipeline: Pipeline, horizon: timedelta, count: int) -> list[datetime]:
    first, last = _history(services, pipeline)
    begin = first + horizon
    if begin >= last:
        raise InvalidInput(
            f"the history of {pipeline.name} from {iso(first)} to {iso(last)} is no longer than its label's horizon",
            hint="import more history, or name times with --as-of",
        )
    wanted = [begin + (last - begin) * n / (count + 1) for n in range(1, count + 1)]
    ticks = sorted({_tick(pipeline, time) for time in wanted})
    # A grid that is coarser than the history has no tick in it: functions can be asked at any time.
    return [tick for tick in ticks if tick >= begin] or [wanted[len(wanted) // 2]]


def _tick(pipeline: Pipeline, time: datetime) -> datetime:
    tables = computed_tables(pipeline)
    return last_tick(time, tables[0].every, tables[0].start)


def _history(services: Services, pipeline: Pipeline) -> tuple[datetime, datetime]:
    """From when on all sources of events have rows, and the newest row that has come."""
    timed = [source for source in declared_sources(pipeline) if source.event_time and source.history != "none"]
    events = [source for source in timed if source.history == "append"] or timed
    bounds = [found for source in events if (found := _bounds(services, source, str(source.event_time))) is not None]
    if not bounds:
        raise InvalidInput(
            f"no source of {pipeline.name} has rows with a time", hint="import some first, or name times with --as-of"
        )
    starts = [table.start for table in computed_tables(pipeline) if table.start is not None]
    first = max([*(begin for begin, _ in bounds), *starts])
    return first, min(services.clock.now(), max(end for _, end in bounds))


def _bounds(services: Services, source: Source, column: str) -> tuple[datetime, datetime] | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = services.lake.read(TableName.parse(source.name), None, [column])
    begin = source_rules.earliest(rows, column)
    end = pc.max(rows.column(column).cast(pa.timestamp("us"))).as_py()
    return None if begin is None or end is None else (begin, utc(end))
