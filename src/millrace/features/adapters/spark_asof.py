"""The as-of join on Spark, embedded or a cluster: a window over the union of keys and times only, then an equi-join of the wide rows.

Only keys and times go through the window's sort; the features are fetched once, for the rows that were chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.errors import PySparkException  # noqa: TID253 - this is its adapter
from pyspark.sql import Window  # noqa: TID253 - this is its adapter
from pyspark.sql import functions as sf  # noqa: TID253 - this is its adapter

from millrace.core.clock import epoch_us
from millrace.core.errors import InvalidState, LawBroken
from millrace.features.identity import DAY_US, MICROSECOND, key_column, key_family, question_us, same_decimals
from millrace.features.types import FeatureSource, ResolvedLookup
from millrace.lake.port import SparkEngine

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_ORDER = "order_"
_ASKED = "asked_us"
_SEEN = "seen_us"
_FOUND = "found_us"
_INT64 = pa.int64()
_LONGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class SparkAsOfJoin:
    """AsOfJoin over the pinned Delta versions, as the engine reads them. Thread-safe.

    Times are compared as int64 microseconds, so that no time zone and no engine's rounding takes part.
    """

    engine: SparkEngine

    def lookup(self, requests: pa.Table, lookup: ResolvedLookup, as_of: datetime) -> pa.Table:
        """See `AsOfJoin.lookup`. The questions travel to Spark with nothing but keys and times, and the answers back.

        Raises:
            InvalidState: Spark gave up, as where the table's files are gone.
            LawBroken: two rows of the table answer one question, as where its keys are not unique.
        """
        asked = _asked(requests, lookup, epoch_us(as_of))
        if not len(asked) or not lookup.source.files:
            return _typed(pa.nulls(len(requests), _INT64), None, lookup)
        try:
            found = self._answers(self.engine.session().createDataFrame(asked), lookup, epoch_us(as_of)).toArrow()
        except PySparkException as error:
            raise InvalidState(
                f"Spark can't look up {lookup.source.table}: {str(error).splitlines()[0]}",
                hint="where its files are gone, as after a vacuum, choose a newer version; else the reason is Spark's own",
                table=str(lookup.source.table),
            ) from error
        return _typed(_places(found.column(_ORDER), len(requests), lookup), found, lookup)

    def _answers(self, asked: DataFrame, lookup: ResolvedLookup, as_of_us: int) -> DataFrame:
        """Ordinal and features of the questions that have an answer."""
        source = lookup.source
        keys = [f"k{number}" for number in range(len(source.primary_keys))]
        rows = _features(self.engine.read(source.location, source.table.version), lookup)
        if source.timeseries_column is None:
            return asked.join(rows, keys).select(_ORDER, *_names(lookup))
        rows = rows.where(sf.col(_SEEN) <= as_of_us)
        chosen = _newest(asked, rows.select(*keys, _SEEN), keys)
        if lookup.lookback is not None:
            window = min(lookup.lookback // MICROSECOND, _LONGEST)
            chosen = chosen.where(sf.col(_ASKED) - sf.col(_FOUND) <= window)
        return chosen.withColumnRenamed(_FOUND, _SEEN).join(rows, [*keys, _SEEN]).select(_ORDER, *_names(lookup))


def _asked(requests: pa.Table, lookup: ResolvedLookup, as_of_us: int) -> pa.Table:
    """Ordinal, keys and time of the questions that can have an answer: those without a null in them."""
    source, columns = lookup.source, {_ORDER: pa.array(np.arange(len(requests)))}
    for number, (name, key) in enumerate(zip(lookup.keys, source.primary_keys, strict=True)):
        columns[f"k{number}"] = _comparable(requests.column(name), source.schema.field(key).type, name)
    if lookup.timestamp_key is None:
        columns[_ASKED] = pa.repeat(pa.scalar(as_of_us, _INT64), len(requests))
    else:
        columns[_ASKED] = question_us(requests.column(lookup.timestamp_key), lookup.timestamp_key)
    return pa.table(columns).drop_null()


def _comparable(column: pa.ChunkedArray, stored: pa.DataType, name: str) -> pa.ChunkedArray:
    """A request's keys in a type that Spark has and that equals the stored one's; what that can't hold matches nothing: null."""
    column, family = key_column(column, stored, name), key_family(stored)
    if family == "integer" and pa.types.is_uint64(column.type):
        fits = pc.less_equal(column, pa.scalar(2**63 - 1, pa.uint64()))
        return pc.if_else(fits, column, pa.scalar(None, pa.uint64())).cast(_INT64)
    if family == "integer":
        return column.cast(_INT64)
    if family == "text":
        return column.cast(pa.string())
    if family == "binary":
        return column.cast(pa.binary())
    if family == "decimal" and column.type != stored:
        return same_decimals(column, stored)
    return column


def _features(frame: DataFrame, lookup: ResolvedLookup) -> DataFrame:
    """Keys, time and features under names of our own, without the rows that can't be found."""
    source = lookup.source
    keys = [_key(source, name).alias(f"k{number}") for number, name in enumerate(source.primary_keys)]
    wide = [_named(name).alias(f"f{number}") for number, name in enumerate(lookup.columns)]
    time = source.timeseries_column
    seen = [] if time is None else [_seen_us(source, time).alias(_SEEN)]
    for name in (*source.primary_keys, *([] if time is None else [time])):
        frame = frame.where(_named(name).isNotNull())
    return frame.select(*keys, *seen, *wide)


def _key(source: FeatureSource, name: str) -> Column:
    """The stored key in the form that `_comparable` gives a request's."""
    family, column = key_family(source.schema.field(name).type), _named(name)
    if family == "timestamp":
        return sf.unix_micros(column.cast("timestamp"))
    return column.cast("bigint") if family == "integer" else column


def _seen_us(source: FeatureSource, time: str) -> Column:
    after, column = source.available_after // MICROSECOND, _named(time)
    if pa.types.is_date(source.schema.field(time).type):
        after += DAY_US if source.date_stands_for == "end" else 0
        return sf.unix_date(column).cast("bigint") * DAY_US + after
    # A time without a zone is UTC, which is the session's zone.
    return sf.unix_micros(column.cast("timestamp")) + after


def _newest(asked: DataFrame, seen: DataFrame, keys: list[str]) -> DataFrame:
    """The questions (ordinal, keys, time) that have a row at or before their time, with the newest such row's time."""
    nothing = sf.lit(None).cast("bigint")
    events = seen.select(*keys, sf.col(_SEEN).alias(_ASKED), nothing.alias(_ORDER), sf.col(_SEEN))
    questions = asked.select(*keys, _ASKED, _ORDER, nothing.alias(_SEEN))
    # By range, not by row: what is seen at the very time of the question counts, wherever the sort has put it.
    until = Window.partitionBy(*keys).orderBy(_ASKED).rangeBetween(Window.unboundedPreceding, Window.currentRow)
    both = events.unionAll(questions).withColumn(_FOUND, sf.max(_SEEN).over(until))
    return both.where(sf.col(_ORDER).isNotNull() & sf.col(_FOUND).isNotNull()).drop(_SEEN)


def _places(order: pa.ChunkedArray, asked: int, lookup: ResolvedLookup) -> pa.Array:
    """For each request the place of its answer, null where it has none."""
    given = order.to_numpy()
    places = np.full(asked, -1, dtype=np.int64)
    places[given] = np.arange(len(given))
    if np.count_nonzero(places >= 0) != len(given):
        raise LawBroken(
            f"the lookup of {lookup.source.table} gave {len(given)} rows for {np.count_nonzero(places >= 0)}",
            hint="its primary keys may not be unique; write it through millrace, which refuses duplicates",
            table=str(lookup.source.table),
        )
    return pa.array(places, mask=places < 0)


def _typed(places: pa.Array, found: pa.Table | None, lookup: ResolvedLookup) -> pa.Table:
    columns, fields = [], []
    for number, (feature, output) in enumerate(lookup.columns.items()):
        kind = lookup.source.schema.field(feature).type
        answers = pa.chunked_array([], kind) if found is None else found.column(f"f{number}").cast(kind)
        column = answers.take(places) if len(answers) else pa.chunked_array([pa.nulls(len(places), kind)])
        default = lookup.defaults.get(output)
        columns.append(column if default is None else pc.fill_null(column, pa.scalar(default, kind)))
        fields.append(pa.field(output, kind))
    return pa.table(columns, schema=pa.schema(fields))


def _names(lookup: ResolvedLookup) -> list[str]:
    return [f"f{number}" for number in range(len(lookup.columns))]


def _named(name: str) -> Column:
    return sf.col(f"`{name.replace('`', '``')}`")
