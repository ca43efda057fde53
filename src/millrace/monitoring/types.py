"""A monitor, and what it found in a window."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite
from typing import Literal, get_args

from millrace.core.errors import InvalidInput

Kind = Literal["drift", "quality", "volume", "performance", "estimate"]
Status = Literal["ok", "explained", "drift", "broken", "degraded", "insufficient_data"]
Severity = Literal["info", "warning", "critical"]
_BAD = frozenset({"drift", "broken", "degraded"})
MetricKind = Literal["aggregate", "derived", "drift"]
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of the user's own: one more column of the metric tables, a double.

    Attributes:
        name: of the column.
        sql: DuckDB's SQL. An aggregate is taken over a window's rows: `avg(amount) FILTER (region = 'north')`. A derived metric is an
            expression over the aggregates: `late / total`. A drift metric compares the metrics of two windows:
            `{{current_df}}.late_share - {{base_df}}.late_share`.
        kind: where it is computed: aggregate and derived go into the profile table, drift into the drift table.
    """

    name: str
    sql: str
    kind: MetricKind = "aggregate"

    def __post_init__(self) -> None:
        if not _IDENTIFIER.fullmatch(self.name):
            raise InvalidInput(f"'{self.name}' can't name a metric", hint="use letters, digits and underscores")
        if self.kind not in get_args(MetricKind):
            raise InvalidInput(f"a metric can't be of kind '{self.kind}'", hint="aggregate, derived or drift")
        if not self.sql.strip():
            raise InvalidInput(f"metric '{self.name}' has no SQL", hint="write an expression, as avg(amount)")


@dataclass(frozen=True, slots=True)
class MonitorSpec:
    """A monitor over an inference log.

    Attributes:
        table: the unpacked predictions table.
        output_schema: where the metric tables go, `catalog.schema` or `schema`.
        granularity: the window that is judged, as `1 day`.
        granularities: more windows that the metric tables have rows for, from `5 minutes` to `1 year`.
        slices: columns of the log (a slice per value, at most 50), or SQL expressions as `amount > 100` (a slice where it is true,
            one where it is false); the metric tables have rows for each.
        metrics: of the user's own, in SQL.
        timestamp_col, prediction_col, model_id_col, label_col, proba_col: columns of the log.
        feature_cols: the columns whose distribution is watched; empty: all that the reference has.
        false_alarms_per_year: the budget that thresholds are derived from.
        effect_floor: the smallest distance (KS, total variation) that is called drift.
        label_coverage: a window counts for performance when at least this share of its rows has a label.
    """

    table: str
    output_schema: str
    granularity: str = "1 day"
    granularities: tuple[str, ...] = ()
    slices: tuple[str, ...] = ()
    metrics: tuple[Metric, ...] = ()
    timestamp_col: str = "timestamp"
    prediction_col: str = "prediction"
    model_id_col: str = "model_version"
    label_col: str = "actual_label"
    proba_col: str = "probability"
    feature_cols: tuple[str, ...] = ()
    false_alarms_per_year: float = 1.0
    effect_floor: float = 0.05
    label_coverage: float = 0.5

    def __post_init__(self) -> None:
        names = [metric.name for metric in self.metrics]
        if len(set(names)) < len(names):
            raise InvalidInput("two metrics have the same name", hint="give each its own")
        budget = self.false_alarms_per_year
        if not (isfinite(budget) and budget > 0):
            raise InvalidInput(f"false_alarms_per_year is {budget}", hint="give a number above 0, as 1.0")
        for name, value in (("effect_floor", self.effect_floor), ("label_coverage", self.label_coverage)):
            if not 0 < value <= 1:
                raise InvalidInput(f"{name} is {value}", hint="give a share above 0 and up to 1")


@dataclass(frozen=True, slots=True)
class WindowVerdict:
    """What a monitor says at the end of one window.

    Attributes:
        kind: `drift` (distributions of features, predictions, labels), `quality` (missing values, range, new categories, schema),
            `volume` (freshness, rows), `performance` (against labels) or `estimate` (of the performance, without labels).
        start, end: the window, half-open `[start, end)`.
        score: the largest distance over its columns, or the relative change of the loss; None without enough rows.
        columns: the columns that drifted, worst first.
        reason: a sentence with the figures that decided.
        figures: the same figures for programs: rows, effect, limit, p_value, and the number of windows looked at.
        severity: `critical` is sure and large enough to open an episode at once; `warning` waits for the alert rule's count of windows;
            `info` is never told, whatever its status: of columns that the model hardly uses, say.
    """

    kind: Kind
    model_version: str
    start: datetime
    end: datetime
    status: Status
    score: float | None
    columns: tuple[str, ...] = ()
    reason: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)
    severity: Severity = "warning"

    @property
    def trouble(self) -> bool | None:
        """True for trouble, however slight; False for none (`explained` is none), None where it says nothing."""
        return None if self.status == "insufficient_data" else self.status in _BAD

    @property
    def bad(self) -> bool | None:
        """As `trouble`, of which only that counts that is told: `info` is none."""
        return self.trouble and self.severity != "info"
