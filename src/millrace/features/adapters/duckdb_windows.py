"""Window features on DuckDB: range windows over the events and one mark per result, sorted together once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import duckdb  # noqa: TID253 - this is its adapter
import pyarrow as pa

from millrace.core.clock import epoch_us, from_epoch_us
from millrace.core.errors import InvalidInput
from millrace.features.adapters.duckdb_open import opened, reading, text
from millrace.features.conditions import (
    All,
    AnyOf,
    Column,
    Compare,
    Condition,
    Constant,
    IsNull,
    Like,
    Not,
    Operand,
    columns_of,
)
from millrace.features.identity import DAY_US, MICROSECOND
from millrace.features.types import FeatureSource
from millrace.features.windows import Kind, ResolvedWindows, Ticks, WindowFeature, output_schema

_NEVER_US = 2**62
_EARLIEST_US = epoch_us(datetime(1, 1, 3, tzinfo=UTC))
# The newest is the greatest of structs that begin with the time.
_FUNCTIONS: Mapping[Kind, str] = {
    "sum": "sum",
    "mean": "avg",
    "stddev": "stddev_samp",
    "min": "min",
    "max": "max",
    "count": "count",
    "count_distinct": "count",
    "last": "max",
}


@dataclass(frozen=True, slots=True)
class DuckDbWindows:
    """WindowEngine over `read_parquet`; one in-memory connection per call, at most `threads` threads.

    A key's results are as many as there are, whatever the windows' length: each event accounts for the ticks from itself
    to the next event or to its window's end. Over the events and these marks, in order of time, DuckDB's segment trees
    give each aggregate in logarithmic time. Times are int64 microseconds, so that no time zone takes part.
    """

    threads: int

    def compute(self, windows: ResolvedWindows, ticks: Ticks) -> pa.Table:
        """See `WindowEngine.compute`."""
        if ticks.count <= 0:
            return output_schema(windows).empty_table()
        with opened(self.threads) as connection:
            connection.register("nothing", windows.source.schema.empty_table())
            nothing = connection.table("nothing")
            types = dict(zip(nothing.columns, (str(kind) for kind in nothing.types), strict=True))
            try:
                with reading(windows.source):
                    found: pa.Table = connection.sql(_query(windows, ticks, types)).to_arrow_table()
            except (duckdb.ConversionException, duckdb.OutOfRangeException) as error:
                raise InvalidInput(
                    f"a sum over {windows.source.table} does not fit its type: {str(error).splitlines()[0]}",
                    hint="take the mean, or sum a column of doubles",
                ) from error
        return _typed(found, windows)


def _query(windows: ResolvedWindows, ticks: Ticks, types: Mapping[str, str]) -> str:
    keys = [f"k{number}" for number in range(len(windows.source.primary_keys))]
    by = ", ".join(keys)
    numbered = list(enumerate(windows.features))
    values = [f"v{number}" for number, _ in numbered]
    lengths = sorted({feature.length_us for feature in windows.features})
    frames = ", ".join(
        f"w{length} AS (PARTITION BY {by} ORDER BY at_us RANGE BETWEEN {length - 1} PRECEDING AND CURRENT ROW)"
        for length in lengths
    )
    results = ", ".join(f"{_result(feature, number)} AS f{number}" for number, feature in numbered)
    counts = [f"c{number}" for number, _ in numbered]
    everything = ", ".join([*values, *counts])
    nothing = ", ".join([*(f"NULL AS {value}" for value in values), *(f"false AS {count}" for count in counts)])
    return (
        f"WITH events AS MATERIALIZED ({_events(windows, ticks, types)}), marks AS ({_marks(by, windows, ticks)}) "
        f"SELECT {by}, at_us, {results} FROM ("
        f"SELECT {by}, at_us, false AS is_mark, {everything} FROM events "
        f"UNION ALL BY NAME SELECT {by}, at_us, true AS is_mark, {nothing} FROM marks"
        f") WINDOW {frames} QUALIFY is_mark"
    )


def _events(windows: ResolvedWindows, ticks: Ticks, types: Mapping[str, str]) -> str:
    """Keys, time and, for each feature, its value and whether the row counts, of the rows that any tick may see."""
    source = windows.source
    first_us, last_us = epoch_us(ticks.first), epoch_us(ticks.first + ticks.every * (ticks.count - 1))
    columns = [f"{_quoted(key)} AS k{number}" for number, key in enumerate(source.primary_keys)]
    columns.append(f"{_seen_us(source)} AS at_us")
    for number, feature in enumerate(windows.features):
        columns.append(f"{_value(feature, source)} AS v{number}")
        columns.append(f"{_counts(feature)} AS c{number}")
    present = " AND ".join(f"{_quoted(key)} IS NOT NULL" for key in (*source.primary_keys, _time(source)))
    # Beside the exact bound, one on the column itself, by which files and row groups are left out unread.
    present += f" AND {_roughly_within(source, first_us - windows.longest_us, last_us)}"
    return (
        f"SELECT * FROM (SELECT {', '.join(columns)} FROM ({_rows(windows, types)}) WHERE {present}) "
        f"WHERE at_us > {first_us - windows.longest_us} AND at_us <= {last_us}"
    )


def _marks(by: str, windows: ResolvedWindows, ticks: Ticks) -> str:
    first, every = epoch_us(ticks.first), ticks.every // MICROSECOND
    nth = (
        f"unnest(generate_series(greatest(0, (at_us - {first} + {every - 1}) // {every}), "
        f"least({ticks.count - 1}, (end_us - 1 - {first}) // {every})))"
    )
    following = f"lead(at_us) OVER (PARTITION BY {by} ORDER BY at_us)"
    return (
        f"SELECT {by}, {first} + {every} * {nth} AS at_us FROM ("
        f"SELECT {by}, at_us, least(at_us + {windows.longest_us}, coalesce({following}, {_NEVER_US})) AS end_us "
        f"FROM (SELECT DISTINCT {by}, at_us FROM events)) WHERE end_us > {first}"
    )


def _result(feature: WindowFeature, number: int) -> str:
    distinct = "DISTINCT " if feature.kind == "count_distinct" else ""
    aggregate = f"{_FUNCTIONS[feature.kind]}({distinct}v{number}) FILTER (WHERE c{number}) OVER w{feature.length_us}"
    # Whole numbers are summed in 128 bits.
    return f"CAST({aggregate} AS BIGINT)" if feature.kind == "sum" and pa.types.is_int64(feature.type) else aggregate


def _value(feature: WindowFeature, source: FeatureSource) -> str:
    if feature.column is None:
        return "1"
    column = _quoted(feature.column)
    kind = source.schema.field(feature.column).type
    if feature.kind in {"mean", "stddev"}:
        return f"CAST({column} AS DOUBLE)"
    if pa.types.is_floating(kind) and feature.kind in {"sum", "count_distinct"}:
        return f"CAST({column} AS DOUBLE) + 0.0::DOUBLE"  # -0.0 is 0.0
    if feature.kind == "last":
        # The newest, and of several that are equally new the greatest, any value before null.
        return f"struct_pack(at := {_seen_us(source)}, there := {column} IS NOT NULL, value := {column})"
    return column


def _counts(feature: WindowFeature) -> str:
    return "true" if feature.where is None else f"coalesce({condition_sql(feature.where)}, false)"


def condition_sql(condition: Condition) -> str:
    """A condition in DuckDB's SQL."""
    match condition:
        case Compare(operator, left, right):
            return f"({_operand(left)} {operator} {_operand(right)})"
        case IsNull(operand):
            return f"({_quoted(operand.name)} IS NULL)"
        case Like(operand, pattern):
            return f"({_quoted(operand.name)} LIKE {text(pattern)})"
        case Not(inner):
            return f"(NOT {condition_sql(inner)})"
        case All(parts):
            return "(" + " AND ".join(map(condition_sql, parts)) + ")"
        case AnyOf(parts):
            return "(" + " OR ".join(map(condition_sql, parts)) + ")"


def _operand(operand: Operand) -> str:
    if isinstance(operand, Column):
        column = _quoted(operand.name)
        if operand.floating:
            return f"CAST({column} AS DOUBLE)"
        return f"epoch_us({column})" if operand.family == "timestamp" else column
    return _constant(operand)


def _constant(constant: Constant) -> str:
    value = constant.value
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return text(value)
        case datetime():
            return str(epoch_us(value))
        case date():
            return f"DATE '{value.isoformat()}'"
        case float():
            return f"CAST('{value!r}' AS DOUBLE)"
        case _:
            return str(value)


def _time(source: FeatureSource) -> str:
    if source.timeseries_column is None:
        raise InvalidInput(f"{source.table.name} has no event time", hint="windows need a source of events")
    return source.timeseries_column


def _seen_us(source: FeatureSource) -> str:
    time, after = _time(source), source.available_after // timedelta(microseconds=1)
    if pa.types.is_date(source.schema.field(time).type):
        after += DAY_US if source.date_stands_for == "end" else 0
        return f"(epoch_us(CAST({_quoted(time)} AS TIMESTAMP)) + {after})"
    return f"(epoch_us({_quoted(time)}) + {after})"


def _roughly_within(source: FeatureSource, after_us: int, until_us: int) -> str:
    """The time column between whole days that hold the bounds and a day more, for dates that stand for their end."""
    late = source.available_after // MICROSECOND + DAY_US
    column, kind = _quoted(_time(source)), source.schema.field(_time(source)).type
    bounds = [us // DAY_US * DAY_US for us in (max(after_us, _EARLIEST_US) - late, until_us + DAY_US)]
    first, last = (from_epoch_us(max(us, _EARLIEST_US)).date().isoformat() for us in bounds)
    if pa.types.is_date(kind):
        return f"{column} BETWEEN DATE '{first}' AND DATE '{last}'"
    zone = "TZ" if kind.tz else ""
    return f"{column} BETWEEN TIMESTAMP{zone} '{first} 00:00:00' AND TIMESTAMP{zone} '{last} 00:00:00'"


def _rows(windows: ResolvedWindows, types: Mapping[str, str]) -> str:
    """The source's rows, of the columns that are used; the empty frame brings columns that no file has."""
    source = windows.source
    used = _used(windows)
    names = ", ".join(_quoted(name) for name in source.schema.names if name in used)
    if not source.files:
        return f"SELECT {names} FROM nothing"
    folders = {part.partition("=")[0] for part in source.files[0].split("/")[:-1] if "=" in part}
    partitions = [name for name in source.schema.names if name in folders]
    options = "union_by_name = true, hive_partitioning = false"
    if partitions:
        texts = ", ".join(f"{_quoted(name)}: VARCHAR" for name in partitions)
        options = f"union_by_name = true, hive_partitioning = true, hive_types = {{{texts}}}"
    casts = ", ".join(f"CAST({_quoted(name)} AS {types[name]}) AS {_quoted(name)}" for name in partitions)
    columns = f"* REPLACE ({casts})" if casts else "*"
    files = ", ".join(text(_no_glob(path)) for path in source.files)
    return (
        f"SELECT {names} FROM (SELECT * FROM nothing UNION ALL BY NAME "
        f"SELECT {columns} FROM read_parquet([{files}], {options}))"
    )


def _used(windows: ResolvedWindows) -> set[str]:
    used = {*windows.source.primary_keys, _time(windows.source)}
    for feature in windows.features:
        used |= {feature.column} if feature.column else set()
        used |= columns_of(feature.where) if feature.where else frozenset()
    return used


def _typed(found: pa.Table, windows: ResolvedWindows) -> pa.Table:
    schema = output_schema(windows)
    keys = [found.column(f"k{number}") for number in range(len(windows.source.primary_keys))]
    features = [
        _last(found.column(f"f{number}")) if feature.kind == "last" else found.column(f"f{number}")
        for number, feature in enumerate(windows.features)
    ]
    columns = [*keys, found.column("at_us").cast(pa.timestamp("us", "UTC")), *features]
    return pa.table([column.cast(field.type) for column, field in zip(columns, schema, strict=True)], schema=schema)


def _last(column: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow.compute as pc

    return pc.struct_field(column, "value")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _no_glob(path: str) -> str:
    """The path with what read_parquet would take for a pattern made literal."""
    return "".join(f"[{mark}]" if mark in "*?[" else mark for mark in path)
