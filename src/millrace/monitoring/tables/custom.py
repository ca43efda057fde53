"""Metrics of the user's own: SQL over the rows of a window, over its other metrics, or over the metrics of two windows.

Aggregates can't be added up, so the rows of changed windows are read again for them; nothing is where a monitor has no metrics.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from math import isfinite

import pyarrow as pa
import pyarrow.compute as pc

from millrace.core.errors import InvalidInput
from millrace.lake.lake import Lake
from millrace.monitoring.counts.table import Part
from millrace.monitoring.sql import mentioned, open_sql, quoted, refusal, without_zones
from millrace.monitoring.tables.schemas import drift_schema, profile_schema
from millrace.monitoring.types import Metric, MonitorSpec
from millrace.monitoring.windows import Granularity

Values = Mapping[str, float | None]
_TIME = pa.timestamp("us", tz="UTC")
_CURRENT, _BASE = re.compile(r"\{\{\s*current_df\s*\}\}"), re.compile(r"\{\{\s*base_df\s*\}\}")


@dataclass(slots=True)
class Metrics:
    """A monitor's metrics over one version of its log.

    Attributes:
        failed: metric to why it could not be computed; its values are null.
    """

    lake: Lake
    spec: MonitorSpec
    log_version: int
    failed: dict[str, str] = field(default_factory=dict)

    def of(self, kind: str) -> Sequence[Metric]:
        """Those of a kind that have not failed."""
        return [one for one in self.spec.metrics if one.kind == kind and one.name not in self.failed]

    def windows(
        self, version: str, granularity: Granularity, numbers: AbstractSet[int]
    ) -> Mapping[tuple[Part, int], Values]:
        """Aggregates and derived metrics of windows, whole and by slice. A metric that fails is left out, and says why in `failed`."""
        found: dict[tuple[Part, int], Values] = {}
        for number in sorted(numbers) if self.of("aggregate") or self.of("derived") else ():
            rows = self._rows(version, granularity, number)
            for key in (None, *self.spec.slices) if rows.num_rows else ():
                for value, metrics in self._values(rows, key):
                    found[Part(version, key, value), number] = metrics
        return found

    def drift(self, base: Values, current: Values) -> Values:
        """Drift metrics of two windows by their other metrics."""
        found: dict[str, float | None] = {}
        for metric in self.of("drift"):
            sql = _CURRENT.sub("current_df", _BASE.sub("base_df", metric.sql))
            tables = {"current_df": _one_row(current), "base_df": _one_row(base)}
            rows = self._run(metric, f"SELECT CAST(({sql}) AS DOUBLE) AS metric FROM current_df, base_df", tables)
            found[metric.name] = _number(rows[0]["metric"]) if rows else None
        return found

    def notes(self) -> list[str]:
        """What a user should hear of metrics that failed."""
        return [f"metric {name} can't be computed: {why}" for name, why in self.failed.items()]

    def _values(self, rows: pa.Table, key: str | None) -> Iterator[tuple[str | None, Values]]:
        by_value: dict[str | None, dict[str, float | None]] = {}
        for metric in self.of("aggregate"):
            select = f"SELECT CAST(({metric.sql}) AS DOUBLE) AS metric"
            sliced = "" if key is None else f", CAST(({_sliced(key, rows)}) AS VARCHAR) AS slice"
            grouped = "" if key is None else " GROUP BY slice"
            for row in self._run(metric, f"{select}{sliced} FROM log{grouped}", {"log": rows}):
                if key is None or row["slice"] is not None:
                    value = None if key is None else str(row["slice"])
                    by_value.setdefault(value, {})[metric.name] = _number(row["metric"])
        for value, metrics in by_value.items():
            yield value, {**metrics, **self._derived(metrics)}

    def _derived(self, aggregates: Values) -> Values:
        found: dict[str, float | None] = {}
        for metric in self.of("derived"):
            sql = f"SELECT CAST(({metric.sql}) AS DOUBLE) AS metric FROM metrics"
            rows = self._run(metric, sql, {"metrics": _one_row({**aggregates, **found})})
            found[metric.name] = _number(rows[0]["metric"]) if rows else None
        return found

    def _run(self, metric: Metric, sql: str, tables: Mapping[str, pa.Table]) -> list[dict[str, object]]:
        import duckdb

        if metric.name in self.failed:
            return []
        try:
            with open_sql() as connection:
                for name, rows in tables.items():
                    connection.register(name, rows)
                found: list[dict[str, object]] = connection.sql(sql).to_arrow_table().to_pylist()
                return found
        except duckdb.Error as error:
            self.failed[metric.name] = refusal(error)
            return []

    def _rows(self, version: str, granularity: Granularity, number: int) -> pa.Table:
        schema = self.lake.schema(self.spec.table, self.log_version)
        words = " ".join([*(metric.sql for metric in self.of("aggregate")), *self.spec.slices])
        wanted = {self.spec.timestamp_col, self.spec.model_id_col, *mentioned(words, schema.names)}
        wanted |= {key for key in self.spec.slices if key in schema.names}
        kind, at = schema.field(self.spec.timestamp_col).type, pc.field(self.spec.timestamp_col)
        low, high = (pa.scalar(granularity.start(n), _TIME).cast(kind, safe=False) for n in (number, number + 1))
        columns = [name for name in schema.names if name in wanted]
        rows = self.lake.read(self.spec.table, self.log_version, columns, (at >= low) & (at < high))
        return without_zones(rows.filter(pc.equal(rows.column(self.spec.model_id_col).cast(pa.string()), version)))


def check(spec: MonitorSpec) -> None:
    """Raise InvalidInput for a metric with the name of another column of the tables. SQL that fails is told when it does."""
    bare = replace(spec, metrics=())
    taken = {*profile_schema(bare).names, *drift_schema(bare).names}
    for metric in spec.metrics:
        if metric.name in taken:
            raise InvalidInput(
                f"metric '{metric.name}' has the name of a column of the tables", hint="choose another name"
            )


def _sliced(key: str, rows: pa.Table) -> str:
    return quoted(key) if key in rows.column_names else key


def _one_row(values: Values) -> pa.Table:
    return pa.table({name: pa.array([value], pa.float64()) for name, value in values.items()} or {"nothing": [None]})


def _number(value: object) -> float | None:
    return value if isinstance(value, float) and isfinite(value) else None
