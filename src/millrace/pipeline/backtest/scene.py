"""Who would have asked when: every row that the label is about, with the features that were known then.

A row of the label table is a request at its time. Where a pipeline computes its labels on a grid, ticks whose labels are not known
yet have no rows; there the keys of the feature snapshot of that tick ask, if on the last ticks with labels these were the same.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from millrace.core.clock import epoch_us
from millrace.pipeline import training_parts
from millrace.pipeline.backtest.store import Kept, read_table, write_table
from millrace.pipeline.backtest.types import Prepared, Scene
from millrace.pipeline.context import Pins, RunContext
from millrace.pipeline.declare import FeatureTable, Label, LabelTable, Pipeline
from millrace.pipeline.definition import computed_tables
from millrace.pipeline.grid import last_tick, ticks
from millrace.pipeline.labels import read_known
from millrace.pipeline.port import Progress, Services
from millrace.pipeline.snapshots import pin_sources
from millrace.pipeline.split import no_label
from millrace.pipeline.stages.refresh import RefreshSnapshots

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import pyarrow as pa

    from millrace.targets.port import DeploymentTarget

_CHUNK = 8  # snapshots between two marks: what a kill may cost
_ALIKE = 0.95
_COMPARED = 3
_KEY = "__key"


def compute_tables(services: Services, pipeline: Pipeline, prepared: Prepared, progress: Progress) -> None:
    """Features and labels at every tick up to the end, each once; what a killed backtest has made is not made again."""
    end = prepared.ask.end
    for table in computed_tables(pipeline):
        pinned = pin_sources(services, table, None, prepared.versions)
        stage = RefreshSnapshots(table, end, pinned, chunk=_CHUNK)
        context = RunContext(services, pipeline, Pins(end, prepared.versions), no_server, progress)
        stage.run(context)


def build_scene(services: Services, pipeline: Pipeline, prepared: Prepared, kept: Kept) -> Scene:
    """The rows, made once and kept."""
    folder = kept.folder("scene", lambda path: _write(services, pipeline, prepared, path))
    table, label = read_table(folder / "rows.parquet"), pipeline.labels
    notes = (table.schema.metadata or {}).get(b"notes", b"").decode()
    inputs = (table.schema.metadata or {}).get(b"inputs", b"").decode().split("\n")
    return Scene(
        times_us=table.column(label.time).cast("int64").to_numpy(),
        labels=np.asarray(table.column(label.column).cast("float64").to_numpy(zero_copy_only=False), dtype=np.float64),
        keys=table.column(_KEY).to_numpy(),
        features=table.select(inputs),
        notes=tuple(filter(None, notes.split("\n"))),
    )


def no_server() -> AbstractContextManager[DeploymentTarget]:
    """Nothing in a backtest is served."""
    raise NotImplementedError("a backtest serves nothing")


def label_times(services: Services, pipeline: Pipeline, prepared: Prepared) -> pa.Table:
    """All label rows that are known at the end.

    Raises:
        InvalidInput: there is none.
    """
    label, end = pipeline.labels, prepared.ask.end
    if not services.lake.exists(label.name):
        raise no_label(label, end)
    rows = read_known(services, label, services.lake.pin(label.name, None, prepared.versions), end)
    if not rows.num_rows:
        raise no_label(label, end)
    return rows


def _write(services: Services, pipeline: Pipeline, prepared: Prepared, folder: Path) -> None:
    import pyarrow as pa

    known = label_times(services, pipeline, prepared)
    later, notes = _not_yet_labelled(services, pipeline, prepared, known)
    rows = pa.concat_tables([known, later], promote_options="permissive") if later is not None else known
    label = pipeline.labels
    rows = rows.sort_by([(label.time, "ascending"), *((key, "ascending") for key in label.keys)])
    end = prepared.ask.end
    versions = training_parts.pin_tables(services, pipeline, Pins(end, prepared.versions))
    found = training_parts.with_features(services, pipeline, Pins(end, versions), rows)
    table = found.table.select([*dict.fromkeys([label.time, label.column, *found.spec.inputs])])
    table = table.append_column(_KEY, pa.array(_codes(rows, label)))
    write_table(folder / "rows.parquet", table, {"notes": "\n".join(notes), "inputs": "\n".join(found.spec.inputs)})


def _codes(rows: pa.Table, label: Label) -> np.ndarray:
    """One number for each combination of keys, by first appearance."""
    codes = np.zeros(rows.num_rows, dtype=np.int64)
    for key in label.keys:
        values = rows.column(key).combine_chunks().dictionary_encode()
        part = values.indices.to_numpy().astype(np.int64)
        codes = np.unique(codes * (len(values.dictionary) + 1) + part, return_inverse=True)[1].astype(np.int64)
    return codes


def _not_yet_labelled(
    services: Services, pipeline: Pipeline, prepared: Prepared, known: pa.Table
) -> tuple[pa.Table | None, list[str]]:
    """Rows of the ticks after the last label, and what the report says of who is asked."""
    import pyarrow.compute as pc

    label, table = pipeline.labels, pipeline.label
    last = pc.max(known.column(label.time)).as_py()
    notes = [
        f"asked are the rows of {label.name}, each at its own time; the newest with a known label is of {last:%Y-%m-%d}"
    ]
    keyed = _keyed_like(pipeline)
    if not isinstance(table, LabelTable) or keyed is None:
        return None, [*notes, f"after {last:%Y-%m-%d} nobody is asked: whom the label is about is not known yet"]
    share = _agreement(services, keyed, label, known)
    if share < _ALIKE:
        why = f"the keys of {keyed.name} are others than those of the labels ({share:.0%} agree)"
        return None, [*notes, f"after {last:%Y-%m-%d} nobody is asked: {why}"]
    anchor = last_tick(last, table.every, table.start)
    last_asked = last_tick(prepared.ask.end, table.every, table.start)
    times = ticks(anchor + table.every, last_asked, table.every)
    parts = [rows for tick in times if (rows := _snapshot(services, keyed, label, tick)) is not None]
    notes.append(
        f"after {last:%Y-%m-%d} asked are the keys of {keyed.name}; their labels are not known by {prepared.ask.end:%Y-%m-%d}"
    )
    return (_joined(parts, known) if parts else None), notes


def _keyed_like(pipeline: Pipeline) -> FeatureTable | None:
    keys = set(pipeline.labels.keys)
    return next((table for table in pipeline.features if set(table.keys) == keys), None)


def _agreement(services: Services, table: FeatureTable, label: Label, known: pa.Table) -> float:
    """Of the keys at the last ticks with labels, the share that both the labels and the snapshot have."""
    import pyarrow.compute as pc

    shares = []
    for tick in sorted(pc.unique(known.column(label.time)).to_pylist())[-_COMPARED:]:
        labelled = _tuples(known.filter(pc.equal(known.column(label.time), tick)), label)
        rows = _snapshot(services, table, label, tick)
        there = set() if rows is None else _tuples(rows, label)
        shares.append(len(labelled & there) / max(len(labelled | there), 1))
    return min(shares)


def _snapshot(services: Services, table: FeatureTable, label: Label, at: datetime) -> pa.Table | None:
    """Keys of the newest snapshot at a time, with that time as the label's."""
    import pyarrow as pa
    import pyarrow.compute as pc

    tick = last_tick(at, table.every, table.start)
    rows = services.lake.read(table.name, columns=[*label.keys], where=pc.field(table.time) == tick)
    if not rows.num_rows:
        return None
    times = pa.array(np.full(rows.num_rows, epoch_us(at)), pa.int64()).cast(pa.timestamp("us", "UTC"))
    return rows.append_column(label.time, times)


def _joined(parts: list[pa.Table], known: pa.Table) -> pa.Table:
    import pyarrow as pa

    rows = pa.concat_tables(parts)
    for field in known.schema:
        if field.name not in rows.column_names:
            rows = rows.append_column(field.name, pa.nulls(rows.num_rows, field.type))
    return rows.select(known.column_names).cast(known.schema)


def _tuples(rows: pa.Table, label: Label) -> set[tuple[object, ...]]:
    return set(zip(*(rows.column(key).to_pylist() for key in label.keys), strict=True))
