"""A sample of what champion and challenger did in a step, read from inference tables that may be far larger than memory.

A step is a generation of the endpoint, and each captured request names its generation and its caller, so that what is compared is
exactly what the router has assigned in this step, whatever the clock says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from millrace.core.clock import from_epoch_us
from millrace.lake.lake import Lake
from millrace.serving.canary.types import CanaryRun
from millrace.serving.capture.inference_tables import CALLER, GENERATION
from millrace.serving.types import Capture

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.compute as pc

_OK = 200
_MOST_PREDICTIONS = 200_000  # of all requests together: of one with many rows the first ones
_PAYLOAD = ["databricks_request_id", "request_time", "status_code", "served_entity_id", "request_metadata"]
_PREDICTIONS = ["request_id", "timestamp", "prediction", "probability", "actual_label"]
_MODEL = ["model_name", "model_version"]


class StepSample:
    """Reads as many requests, and as many labelled rows, of champion and challenger as are enough.

    Where there are more it is a random sample of the newest, of both from the same time: since when each has had enough.

    Args:
        lake: has the inference tables; one that is not there yet is empty.
        capture: where the endpoint's traffic is logged.
        generation: the endpoint's.
        run: the canary.
        enough: how many of each.
    """

    def __init__(self, lake: Lake, capture: Capture, generation: int, run: CanaryRun, enough: int) -> None:
        self._lake, self._generation, self._run, self._enough = lake, generation, run, enough
        self._in_shadow = run.share == 0
        self._tables = capture.tables
        self._its_tables = capture.shadow_tables if self._in_shadow else capture.tables

    def requests(self) -> pa.Table:
        """What reached the two: id, time, failed, duration_ms, caller, entity."""
        import pyarrow as pa

        canary = self._run.canary
        # In shadow the champion's are those of callers that are not copied: twice as many as make up for the others are looked at.
        more = 1 + 200 // max(1, 100 - canary.settings.shadow) if self._in_shadow else 1
        span = _Span(
            min(
                self._enough_since(self._its_tables, canary.challenger, self._enough),
                self._enough_since(self._tables, canary.champion, self._enough * more),
            )
        )
        its = self._requests(self._its_tables, canary.challenger, span)
        # Callers are copied or not at random, as they are split in the later steps: those that are not stand for the champion.
        copied = its.column("caller") if self._in_shadow else None
        return pa.concat_tables([self._requests(self._tables, canary.champion, span, without=copied), its])

    def predictions(self, requests: pa.Table) -> list[pa.Table]:
        """What the champion and what the challenger predicted of the requests: request_id to actual_label, caller, entity."""
        import pyarrow.compute as pc

        rows_each = max(1, _MOST_PREDICTIONS // max(1, requests.num_rows))
        second = pc.equal(requests.column("entity"), self._run.canary.challenger)
        return [
            self._predictions(prefix, requests.filter(mine), rows_each)
            for prefix, mine in ((self._tables, pc.invert(second)), (self._its_tables, second))
        ]

    def labelled(self, requests: pa.Table) -> list[pa.Table]:
        """As `predictions`, of rows whose label has come: those may be far older than the newest requests."""
        canary = self._run.canary
        both = ((self._its_tables, True), (self._tables, False))
        span = _Span(min(self._labelled_since(prefix, its=its) for prefix, its in both))
        rows, its_rows = self._labelled(self._tables, span, its=False), self._labelled(self._its_tables, span, its=True)
        its = self._with_requests(self._its_tables, canary.challenger, its_rows)
        champions = self._with_requests(self._tables, canary.champion, rows)
        if self._in_shadow:
            for copied in (its, requests.filter(_is(requests.column("entity"), canary.challenger))):
                champions = champions.filter(_not_among(champions.column("caller"), copied.column("caller")))
        return [champions, its]

    def _enough_since(self, prefix: str, entity: str, enough: int) -> datetime:
        """Since when an entity has had enough requests; else since when the step runs."""
        newest = _Newest(enough)
        for rows in self._batches(f"{prefix}_payload", ["request_time", "served_entity_id"], _Span(self._run.since)):
            newest.add(rows.filter(_is(rows.column("served_entity_id"), entity)).column("request_time"))
        return newest.since(self._run.since)

    def _labelled_since(self, prefix: str, *, its: bool) -> datetime:
        newest = _Newest(self._enough)
        columns = ["timestamp", "actual_label", *_MODEL]
        for rows in self._batches(f"{prefix}_predictions", columns, _Span(self._run.since)):
            newest.add(self._with_label(rows, its=its).column("timestamp"))
        return newest.since(self._run.since)

    def _with_label(self, rows: pa.Table, *, its: bool) -> pa.Table:
        """Those rows with a label that are the challenger's model's, or those that are not."""
        import pyarrow.compute as pc

        rows = rows.filter(pc.is_valid(rows.column("actual_label")))
        name, version = (
            _is(rows.column(column), value)
            for column, value in zip(_MODEL, (self._run.model, self._run.version), strict=True)
        )
        is_its = pc.and_(name, version)
        return rows.filter(is_its if its else pc.invert(is_its))

    def _requests(
        self,
        prefix: str,
        entity: str,
        span: _Span,
        *,
        among: pa.ChunkedArray | None = None,
        without: pa.ChunkedArray | None = None,
    ) -> pa.Table:
        """Requests that reached one entity in this step."""
        import pyarrow as pa
        import pyarrow.compute as pc

        name = f"{prefix}_payload"
        columns = ["id", "time", "failed", "duration_ms", "caller", "entity"]
        kinds = [pa.string(), pa.timestamp("us", "UTC"), pa.bool_(), pa.float64(), pa.string(), pa.string()]
        sample = _Sample(self._enough, self._run.step)
        # Tables from before the microseconds have whole milliseconds.
        fine = self._lake.exists(name) and "execution_duration_us" in self._lake.schema(name).names
        column, unit = ("execution_duration_us", 1000.0) if fine else ("execution_duration_ms", 1.0)
        for batch in self._batches(name, [*_PAYLOAD, column], span):
            rows = batch.filter(_is(batch.column("served_entity_id"), entity))
            if among is not None:
                rows = rows.filter(pc.is_in(rows.column("databricks_request_id"), value_set=among))
            facts = rows.column("request_metadata")
            rows = rows.filter(_is(pc.map_lookup(facts, GENERATION, "first"), str(self._generation)))
            ids, facts = rows.column("databricks_request_id"), rows.column("request_metadata")
            values = [
                ids,
                rows.column("request_time"),
                pc.not_equal(rows.column("status_code"), _OK),
                pc.divide(rows.column(column).cast(pa.float64()), unit),
                pc.coalesce(pc.map_lookup(facts, CALLER, "first"), ids),
                rows.column("served_entity_id"),
            ]
            found = pa.table(dict(zip(columns, values, strict=True)))
            if without is not None:
                found = found.filter(_not_among(found.column("caller"), without))
            sample.add(found)
        result = sample.rows()
        return pa.schema(list(zip(columns, kinds, strict=True))).empty_table() if result is None else result

    def _predictions(self, prefix: str, requests: pa.Table, rows_each: int) -> pa.Table:
        import pyarrow as pa
        import pyarrow.compute as pc

        found = [self._none(prefix)]
        if requests.num_rows:
            ids = requests.column("id").combine_chunks()
            for rows in self._batches(f"{prefix}_predictions", [*_PREDICTIONS, "row"], _span(requests, "time")):
                first = rows.filter(pc.less(rows.column("row"), rows_each))
                found.append(first.filter(pc.is_in(first.column("request_id"), value_set=ids)).select(_PREDICTIONS))
        return _join(pa.concat_tables(found), requests)

    def _labelled(self, prefix: str, span: _Span, *, its: bool) -> pa.Table:
        sample = _Sample(self._enough, self._run.step)
        for rows in self._batches(f"{prefix}_predictions", [*_PREDICTIONS, *_MODEL], span):
            sample.add(self._with_label(rows, its=its).select(_PREDICTIONS))
        found = sample.rows()
        return self._none(prefix) if found is None else found

    def _with_requests(self, prefix: str, entity: str, rows: pa.Table) -> pa.Table:
        span = _Span(self._run.since) if rows.num_rows == 0 else _span(rows, "timestamp")
        ids = rows.column("request_id").combine_chunks()
        # Without rows no request is looked for.
        requests = self._requests(prefix if rows.num_rows else "", entity, span, among=ids)
        return _join(rows, requests)

    def _none(self, prefix: str) -> pa.Table:
        import pyarrow as pa

        name = f"{prefix}_predictions"
        if self._lake.exists(name):
            return pa.schema([self._lake.schema(name).field(column) for column in _PREDICTIONS]).empty_table()
        kinds = [pa.string(), pa.timestamp("us", "UTC"), pa.float64(), pa.float64(), pa.float64()]
        return pa.schema(list(zip(_PREDICTIONS, kinds, strict=True))).empty_table()

    def _batches(self, name: str, columns: Sequence[str], span: _Span) -> Iterator[pa.Table]:
        import pyarrow as pa

        if name and self._lake.exists(name):
            time = "request_time" if name.endswith("_payload") else "timestamp"
            for batch in self._lake.batches(name, columns, span.where(time)):
                yield pa.table(batch)


@dataclass(frozen=True, slots=True)
class _Span:
    """From when to when, both included; None has no end."""

    first: datetime
    last: datetime | None = None

    def where(self, column: str) -> pc.Expression:
        import pyarrow as pa
        import pyarrow.compute as pc

        kind = pa.timestamp("us", "UTC")
        since = pc.field(column) >= pa.scalar(self.first, kind)
        return since if self.last is None else since & (pc.field(column) <= pa.scalar(self.last, kind))


class _Newest:
    """The newest of the times that go by."""

    def __init__(self, most: int) -> None:
        self._most, self._times = most, np.empty(0, dtype=np.int64)

    def add(self, times: pa.ChunkedArray) -> None:
        import pyarrow as pa

        every = np.concatenate([self._times, times.cast(pa.int64()).to_numpy()])
        self._times = np.partition(every, -self._most)[-self._most :] if len(every) > self._most else every

    def since(self, otherwise: datetime) -> datetime:
        """The oldest of them; another time where there are not so many."""
        return from_epoch_us(int(self._times.min())) if len(self._times) == self._most else otherwise


class _Sample:
    """So many of the rows that go by, each as likely as any other; there is memory for three times as many."""

    def __init__(self, size: int, seed: int) -> None:
        self._size, self._rng, self._count = size, np.random.default_rng(seed), 0
        self._parts: list[pa.Table] = []

    def add(self, rows: pa.Table) -> None:
        import pyarrow as pa

        if rows.num_rows:
            self._parts.append(rows.append_column("draw", pa.array(self._rng.random(rows.num_rows))))
            self._count += rows.num_rows
            if self._count > 2 * self._size:
                self._cut()

    def rows(self) -> pa.Table | None:
        """The sample; None where no row went by."""
        if not self._parts:
            return None
        self._cut()
        return self._parts[0].drop_columns("draw")

    def _cut(self) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        rows = pa.concat_tables(self._parts)
        kept = pc.select_k_unstable(rows, k=min(self._size, rows.num_rows), sort_keys=[("draw", "descending")])
        self._parts, self._count = [rows.take(kept)], len(kept)


def _span(rows: pa.Table, column: str) -> _Span:
    import pyarrow.compute as pc

    ends = pc.min_max(rows.column(column))
    return _Span(ends["min"].as_py(), ends["max"].as_py())


def _join(rows: pa.Table, requests: pa.Table) -> pa.Table:
    known = requests.select(["id", "caller", "entity"])
    return rows.drop_columns("timestamp").join(known, "request_id", "id", join_type="inner")


def _is(column: pa.ChunkedArray, value: str) -> pa.ChunkedArray:
    import pyarrow.compute as pc

    return pc.fill_null(pc.equal(column, value), fill_value=False)


def _not_among(column: pa.ChunkedArray, others: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow.compute as pc

    return pc.invert(pc.is_in(column, value_set=others.combine_chunks()))
