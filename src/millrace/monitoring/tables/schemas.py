"""The metric tables: profile and drift with Databricks' columns, and one summary row per window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import pyarrow as pa

from millrace.core.names import TableName
from millrace.monitoring.tables.statistics import Row
from millrace.monitoring.types import Kind, MonitorSpec

_TIME = pa.timestamp("us", tz="UTC")
_WINDOW = pa.struct([("start", _TIME), ("end", _TIME)])
_TEST = pa.struct([("statistic", pa.float64()), ("pvalue", pa.float64())])
_BY_CLASS = pa.struct(
    [("one_vs_all", pa.map_(pa.string(), pa.float64())), ("macro", pa.float64()), ("weighted", pa.float64())]
)
_ITEM = pa.struct([("item", pa.string()), ("count", pa.int64())])
_CONFUSION = pa.struct([("prediction", pa.string()), ("label", pa.string()), ("count", pa.int64())])
_CHANGED = pa.struct([("added", pa.int32()), ("missing", pa.int32())])
_FIGURES = pa.map_(pa.string(), pa.float64())
_PER_CLASS = pa.map_(pa.string(), pa.float64())
FAIRNESS = ("predictive_parity", "predictive_equality", "equal_opportunity", "statistical_parity")
KINDS = get_args(Kind)


@dataclass(frozen=True, slots=True)
class MetricTables:
    """The names of a monitor's tables."""

    profile: TableName
    drift: TableName
    summary: TableName
    verdicts: TableName

    @classmethod
    def of(cls, spec: MonitorSpec) -> MetricTables:
        """`<output_schema>.<table>_profile_metrics`, `_drift_metrics`, `_drift_summary`, `_verdicts`."""
        prefix = f"{spec.output_schema}.{TableName.parse(spec.table).table}"
        kinds = ("profile_metrics", "drift_metrics", "drift_summary", "verdicts")
        names = (TableName.parse(f"{prefix}_{kind}") for kind in kinds)
        return cls(*names)


def profile_schema(spec: MonitorSpec) -> pa.Schema:
    """One row per window, model version and column; `:table` for the whole. `window_start` is ours, for fast reading."""
    return pa.schema(
        [
            *_of(_WINDOW, "window"),
            *_of(pa.string(), "log_type"),
            *_of(pa.int32(), "logging_table_commit_version"),
            *_identity(spec),
            *_of(pa.int64(), "count"),
            *_of(pa.string(), "data_type"),
            *_of(pa.int64(), "num_nulls"),
            *_of(pa.float64(), "avg"),
            *_of(pa.list_(pa.float64()), "quantiles"),
            *_of(pa.float64(), "min", "max", "stddev"),
            *_of(pa.int64(), "num_zeros", "num_nan", "min_length", "max_length"),
            *_of(pa.float64(), "avg_length"),
            *_of(pa.list_(pa.string()), "non_null_columns"),
            *_of(pa.list_(_ITEM), "frequent_items"),
            *_of(pa.float64(), "median"),
            *_of(pa.int64(), "distinct_count"),
            *_of(pa.float64(), "percent_nan", "percent_null", "percent_zeros", "percent_distinct", "accuracy_score"),
            *_of(pa.list_(_CONFUSION), "confusion_matrix"),
            *_of(_BY_CLASS, "precision", "recall", "f1_score"),
            *_of(pa.float64(), "log_loss", "roc_auc_score"),
            *_of(pa.float64(), "mean_squared_error", "root_mean_squared_error", "mean_average_error"),
            *_of(pa.float64(), "mean_absolute_percentage_error", "r2_score"),
            *_of(_PER_CLASS, *FAIRNESS),
            *_of(pa.float64(), *(metric.name for metric in spec.metrics if metric.kind != "drift")),
            *_of(_TIME, "window_start"),
        ]
    )


def drift_schema(spec: MonitorSpec) -> pa.Schema:
    """One row per window, model version, column and drift type (BASELINE, CONSECUTIVE)."""
    return pa.schema(
        [
            *_of(_WINDOW, "window"),
            *_identity(spec),
            *_of(pa.string(), "data_type"),
            *_of(_WINDOW, "window_cmp"),
            *_of(pa.string(), "drift_type"),
            *_of(pa.int64(), "count_delta"),
            *_of(pa.float64(), "avg_delta", "percent_null_delta", "percent_zeros_delta", "percent_distinct_delta"),
            *_of(_CHANGED, "non_null_columns_delta"),
            *_of(pa.float64(), "js_distance"),
            *_of(_TEST, "ks_test"),
            *_of(pa.float64(), "wasserstein_distance", "population_stability_index"),
            *_of(_TEST, "chi_squared_test"),
            *_of(pa.float64(), "tv_distance", "l_infinity_distance"),
            *_of(pa.float64(), *(metric.name for metric in spec.metrics if metric.kind == "drift")),
            *_of(_TIME, "window_start"),
        ]
    )


def verdicts_schema(spec: MonitorSpec) -> pa.Schema:
    """One row per window, model version and kind of verdict."""
    return pa.schema(
        [
            *_of(_WINDOW, "window"),
            *_of(pa.string(), "granularity", spec.model_id_col, "kind", "status", "severity"),
            *_of(pa.float64(), "score"),
            *_of(pa.list_(pa.string()), "columns"),
            *_of(pa.string(), "reason"),
            *_of(_FIGURES, "figures"),
            *_of(_TIME, "window_start"),
        ]
    )


def summary_schema(spec: MonitorSpec) -> pa.Schema:
    """One row per window and model version, for a person or an alert to read.

    `drift_score`, `drifted_columns`, `status` (`ok`, `explained`, `drift`, `insufficient_data`) and `reason` are of the drift verdict; for each other
    kind there are `<kind>_status` and `<kind>_reason`, null where it says nothing (no labels yet, say).
    """
    others = [name for kind in KINDS if kind != "drift" for name in (f"{kind}_status", f"{kind}_reason")]
    return pa.schema(
        [
            *_of(pa.date32(), "date"),
            *_of(_WINDOW, "window"),
            *_of(pa.string(), "granularity", spec.model_id_col),
            *_of(pa.float64(), "drift_score"),
            *_of(pa.list_(pa.string()), "drifted_columns"),
            *_of(pa.string(), "status", "reason"),
            *_of(pa.float64(), "performance_score"),
            *_of(pa.string(), *others),
            *_of(_TIME, "window_start"),
        ]
    )


def as_table(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    """Rows as an Arrow table; what a row does not have is null."""
    return pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema=schema)


def _identity(spec: MonitorSpec) -> Sequence[pa.Field]:
    texts = _of(pa.string(), "granularity", spec.model_id_col, "slice_key", "slice_value", "column_name")
    return [*_of(pa.int64(), "monitor_version"), *texts]


def _of(type_: pa.DataType, *names: str) -> Sequence[pa.Field]:
    return [pa.field(name, type_) for name in names]
