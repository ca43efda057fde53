"""Window features on PySpark: each event is given to the ticks that see it, and these are grouped."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import pyarrow as pa

from millrace.core.clock import epoch_us
from millrace.core.errors import InvalidInput
from millrace.features.conditions import All, AnyOf, Column, Compare, Condition, IsNull, Like, Not, Operand
from millrace.features.identity import DAY_US, MICROSECOND
from millrace.features.types import FeatureSource
from millrace.features.windows import ResolvedWindows, Ticks, WindowFeature, output_schema
from millrace.lake.port import SparkEngine

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn
    from pyspark.sql import DataFrame


@dataclass(frozen=True, slots=True)
class SparkWindows:
    """WindowEngine over a Spark session. Thread-safe as the session is.

    An event is copied to each tick in its longest window, so cost grows with the window's length over the ticks' distance.
    No range windows: engines differ in how they take values out of a moving sum, and lose digits at it.
    """

    engine: SparkEngine

    def compute(self, windows: ResolvedWindows, ticks: Ticks) -> pa.Table:
        """See `WindowEngine.compute`."""
        from pyspark.sql import functions as F  # noqa: N812 - the name that everybody uses

        schema = output_schema(windows)
        if ticks.count <= 0:
            return schema.empty_table()
        keys = [f"k{number}" for number in range(len(windows.source.primary_keys))]
        seen = _seen_by_tick(self.engine.read(windows.source.location, windows.source.table.version), windows, ticks)
        results = [
            _result(feature, number, ticks).alias(f"f{number}") for number, feature in enumerate(windows.features)
        ]
        found = seen.groupBy(*keys, "nth").agg(*results)
        found = found.select(*keys, _at_us(F.col("nth"), ticks).alias("at_us"), *(f"f{n}" for n in range(len(results))))
        return _typed(found.toArrow(), schema)


def _seen_by_tick(frame: DataFrame, windows: ResolvedWindows, ticks: Ticks) -> DataFrame:
    from pyspark.sql import functions as F  # noqa: N812 - the name that everybody uses

    source = windows.source
    columns = [_column(key).alias(f"k{number}") for number, key in enumerate(source.primary_keys)]
    columns.append(_seen_us(source).alias("seen_us"))
    for number, feature in enumerate(windows.features):
        columns.append(_value(feature, source).alias(f"v{number}"))
        counts = F.lit(True) if feature.where is None else condition_column(feature.where)
        columns.append(F.coalesce(counts, F.lit(False)).alias(f"c{number}"))
    present = reduce(lambda a, b: a & b, (_column(name).isNotNull() for name in (*source.primary_keys, _time(source))))
    first, every = epoch_us(ticks.first), ticks.every // MICROSECOND
    # Rows before the first tick count as of it; floor() of a double would not be exact.
    from_nth = F.expr(f"greatest(0L, (seen_us - {first}L + {every - 1}L) div {every}L)")
    to_nth = F.expr(f"least({ticks.count - 1}L, (seen_us + {windows.longest_us - 1}L - {first}L) div {every}L)")
    events = frame.where(present).select(*columns).where(F.col("seen_us") > F.lit(first - windows.longest_us))
    bounded = events.withColumn("from_nth", from_nth).withColumn("to_nth", to_nth)
    # A sequence from 1 to 0 would count down.
    return bounded.where(F.col("from_nth") <= F.col("to_nth")).withColumn(
        "nth", F.explode(F.sequence("from_nth", "to_nth"))
    )


def _result(feature: WindowFeature, number: int, ticks: Ticks) -> SparkColumn:
    from pyspark.sql import functions as F  # noqa: N812 - the name that everybody uses

    inside = F.col("seen_us") > _at_us(F.col("nth"), ticks) - F.lit(feature.length_us)
    value = F.when(F.col(f"c{number}") & inside, F.col(f"v{number}"))
    if feature.kind == "last":
        return F.max(value).getField("value")
    if feature.kind in {"min", "max"} and pa.types.is_floating(feature.type):
        # Engines differ in where NaN stands; here it is the greatest.
        number_only, any_nan = F.when(~F.isnan(value), value), F.max(F.when(F.isnan(value), value))
        if feature.kind == "min":
            return F.coalesce(F.min(number_only), any_nan)
        return F.coalesce(any_nan, F.max(number_only))
    functions = {
        "sum": F.sum,
        "mean": F.avg,
        "stddev": F.stddev_samp,
        "min": F.min,
        "max": F.max,
        "count": F.count,
        "count_distinct": F.count_distinct,
    }
    return functions[feature.kind](value)


def _at_us(nth: SparkColumn, ticks: Ticks) -> SparkColumn:
    from pyspark.sql import functions as F  # noqa: N812 - the name that everybody uses

    return nth * F.lit(ticks.every // MICROSECOND) + F.lit(epoch_us(ticks.first))


def _value(feature: WindowFeature, source: FeatureSource) -> SparkColumn:
    from pyspark.sql import functions as F  # noqa: N812 - the name that everybody uses

    if feature.column is None:
        return F.lit(1)
    column = _column(feature.column)
    if feature.kind in {"mean", "stddev"}:
        return column.cast("double")
    if pa.types.is_floating(source.schema.field(feature.column).type) and feature.kind in {"sum", "count_distinct"}:
        return column.cast("double") + F.lit(0.0)  # -0.0 is 0.0
    if feature.kind == "last":
        # The newest, and of several that are equally new the greatest, any value before null.
        there = column.isNotNull().alias("there")
        return F.struct(_seen_us(source).alias("at"), there, column.alias("value"))
    return column


def condition_column(condition: Condition) -> SparkColumn:
    """A condition as a Spark column."""
    match condition:
        case Compare(operator, left, right):
            a, b = _operand(left), _operand(right)
            compared = {"=": a == b, "<>": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}
            return compared[operator]
        case IsNull(operand):
            return _column(operand.name).isNull()
        case Like(operand, pattern):
            return _column(operand.name).like(pattern)
        case Not(inner):
            return ~condition_column(inner)
        case All(parts):
            return reduce(lambda a, b: a & b, map(condition_column, parts))
        case AnyOf(parts):
            return reduce(lambda a, b: a | b, map(condition_column, parts))


def _operand(operand: Operand) -> SparkColumn:
    from pyspark.sql import functions as F  # noqa: N812 - the name that everybody uses

    if isinstance(operand, Column):
        return _column(operand.name).cast("double") if operand.floating else _column(operand.name)
    return F.lit(operand.value)


def _time(source: FeatureSource) -> str:
    if source.timeseries_column is None:
        raise InvalidInput(f"{source.table.name} has no event time", hint="windows need a source of events")
    return source.timeseries_column


def _seen_us(source: FeatureSource) -> SparkColumn:
    from pyspark.sql import functions as F  # noqa: N812 - the name that everybody uses

    time, after = _time(source), source.available_after // MICROSECOND
    if pa.types.is_date(source.schema.field(time).type):
        after += DAY_US if source.date_stands_for == "end" else 0
        # Not as a timestamp: a day would begin in the session's time zone, which anybody may set.
        return F.unix_date(_column(time)).cast("bigint") * F.lit(DAY_US) + F.lit(after)
    return F.unix_micros(_column(time).cast("timestamp")) + F.lit(after)


def _column(name: str) -> SparkColumn:
    from pyspark.sql import functions as F  # noqa: N812 - the name that everybody uses

    return F.col("`" + name.replace("`", "``") + "`")


def _typed(found: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        column.cast(pa.int64()).cast(field.type) if name == "at_us" else column.cast(field.type)
        for name, column, field in zip(found.column_names, found.columns, schema, strict=True)
    ]
    return pa.table(columns, schema=schema)
