"""Which label rows, and which times of them, an audit looks at."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from millrace.core.clock import epoch_us, from_epoch_us
from millrace.pipeline.declare import LabelTable, Pipeline
from millrace.pipeline.grid import last_tick
from millrace.pipeline.labels import read_known
from millrace.pipeline.port import Services

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_ROWS = 200_000


def label_rows(services: Services, pipeline: Pipeline, times: Sequence[datetime]) -> pa.Table:
    """Label rows that are known now, as training sets take them: at most 200,000, evenly thinned.

    Where others fill the label table and the pipeline computes features, those that fall into a grid step after one of `times`.
    """
    import numpy as np
    import pyarrow as pa

    label = pipeline.labels
    rows = read_known(services, label, services.lake.pin(label.name), services.clock.now())
    if pipeline.features and not isinstance(pipeline.label, LabelTable):
        at = rows.column(label.time).cast(pa.int64()).to_numpy()
        every = min(table.every for table in pipeline.features)
        steps = [(epoch_us(time), epoch_us(time + every)) for time in times]
        near = [(at >= start) & (at < end) for start, end in steps]
        rows = rows.filter(pa.array(np.any(near, axis=0) if near else np.zeros(len(at), dtype=bool)))
    if len(rows) > _MOST_ROWS:
        rows = rows.take(pa.array(np.linspace(0, len(rows) - 1, _MOST_ROWS).astype(np.int64)))
    return rows


def spread(rows: pa.Table, column: str, count: int) -> list[datetime]:
    """At most `count` of the times in a column, evenly spread over its rows, in order."""
    import pyarrow as pa

    times = sorted(value for value in rows.column(column).cast(pa.int64()).to_pylist() if value is not None)
    picked = {times[len(times) * n // (count + 1)] for n in range(1, count + 1)} if times else set()
    return [from_epoch_us(time) for time in sorted(picked)]


def feature_times(pipeline: Pipeline, labels: Sequence[datetime]) -> list[datetime]:
    """The newest time on the features' grid at or before each label time."""
    if not pipeline.features:
        return list(labels)
    table = pipeline.features[0]
    return sorted({last_tick(time, table.every, table.start) for time in labels})
