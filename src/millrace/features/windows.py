"""Aggregates of events over the time before: declared once, computed for any time by the same rule.

At a time `t` a window of length `d` holds the events that became available in `(t - d, t]`, both to the microsecond. A key
is there while it has an event in the longest of its windows. Nulls and NaN count as in Spark's aggregates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from millrace.core.errors import InvalidInput
from millrace.core.names import did_you_mean
from millrace.features.conditions import Condition, parse_condition
from millrace.features.types import FeatureSource

if TYPE_CHECKING:
    import pyarrow as pa

Kind = Literal["sum", "mean", "count", "min", "max", "stddev", "count_distinct", "last"]
TICK = "__tick"
_MICROSECOND = timedelta(microseconds=1)
_LONGEST_US = 2**61  # 73,000 years: what int64 microseconds can be added to


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One feature: what is made of a column's values in the window.

    Attributes:
        column: the column; only `Count` does without.
        days: length of the window in days; or
        over: its length as a timedelta.
        where: a condition on the source's columns (`features/conditions.py` says what it may be): other rows don't count.
    """

    column: str | None = None
    days: float | None = None
    over: timedelta | None = None
    where: str = ""

    kind: ClassVar[Kind]

    def __post_init__(self) -> None:
        called = type(self).__name__
        if self.column is None and self.kind != "count":
            raise InvalidInput(f"{called} of no column", hint=f'name one, as {called}("amount", days=90)')
        if (self.days is None) == (self.over is None):
            raise InvalidInput(
                f"{called} needs the length of its window", hint="give days=90, or over=timedelta(hours=6)"
            )
        if not timedelta(0) < self.length < timedelta(microseconds=_LONGEST_US):
            raise InvalidInput(f"the window of {called} is {self.length} long", hint="give a positive length")

    @property
    def length(self) -> timedelta:
        """How far back the window goes."""
        return self.over if self.over is not None else timedelta(days=self.days or 0)


class Sum(Aggregate):
    """Sum of the values: bigint of whole numbers, decimal(38, s) of decimals, else double; null without a value."""

    __slots__ = ()
    kind = "sum"


class Mean(Aggregate):
    """Mean of the values, double; null without a value."""

    __slots__ = ()
    kind = "mean"


class Count(Aggregate):
    """Number of events, or of those whose column is not null, bigint; 0 where there is none."""

    __slots__ = ()
    kind = "count"


class Min(Aggregate):
    """Smallest value, of the column's type; NaN counts as the greatest; null without a value."""

    __slots__ = ()
    kind = "min"


class Max(Aggregate):
    """Greatest value, of the column's type; NaN counts as the greatest; null without a value."""

    __slots__ = ()
    kind = "max"


class Stddev(Aggregate):
    """Standard deviation of a sample (n - 1), double; null with fewer than two values."""

    __slots__ = ()
    kind = "stddev"


class CountDistinct(Aggregate):
    """Number of different values, nulls left out, bigint; 0 where there is none."""

    __slots__ = ()
    kind = "count_distinct"


class Last(Aggregate):
    """Value of the newest event, of the column's type; the greatest where several are equally new; null where that is null."""

    __slots__ = ()
    kind = "last"


@dataclass(frozen=True, slots=True)
class WindowFeature:
    """An aggregate checked against its source: what an engine needs.

    Attributes:
        length_us: window length in microseconds.
        type: Arrow type of the result.
    """

    name: str
    kind: Kind
    column: str | None
    length_us: int
    where: Condition | None
    type: pa.DataType


@dataclass(frozen=True, slots=True)
class ResolvedWindows:
    """Window features over one pinned source; its `primary_keys` are the keys, its `timeseries_column` the event time."""

    source: FeatureSource
    features: tuple[WindowFeature, ...]

    @property
    def longest_us(self) -> int:
        """Length of the longest window in microseconds."""
        return max(feature.length_us for feature in self.features)


@dataclass(frozen=True, slots=True)
class Ticks:
    """`count` times, `every` apart, from `first` on."""

    first: datetime
    every: timedelta
    count: int


class WindowEngine(Protocol):
    """Computes window features for many times in one pass over the events. Stateless, thread-safe."""

    def compute(self, windows: ResolvedWindows, ticks: Ticks) -> pa.Table:
        """The keys (types of the source), `TICK` (timestamp[us, UTC]) and the features, in no order.

        One row for each tick and key that has an event in the longest window. Events with a null in a key or in the time
        are left out. Equal on every engine: exactly, floats to the last bits of a sum in another order.

        Raises:
            InvalidInput: a sum does not fit its type.
            InvalidState: the files of the source could not be read.
        """
        ...


def resolve_features(source: FeatureSource, declared: Sequence[tuple[str, Aggregate]]) -> ResolvedWindows:
    """Check aggregates against the columns of their source.

    Raises:
        InvalidInput: no such column, a column that can't be aggregated so, or a condition that can't be read.
    """
    return ResolvedWindows(source, tuple(_resolve(source, name, aggregate) for name, aggregate in declared))


def _resolve(source: FeatureSource, name: str, aggregate: Aggregate) -> WindowFeature:
    about = f"window feature '{name}' of {source.table.name}"
    condition = parse_condition(aggregate.where, source.schema, about) if aggregate.where else None
    kind = _type(aggregate, source.schema, about)
    length_us = aggregate.length // _MICROSECOND
    return WindowFeature(name, aggregate.kind, aggregate.column, length_us, condition, kind)


def _type(aggregate: Aggregate, schema: pa.Schema, about: str) -> pa.DataType:
    import pyarrow as pa

    column = aggregate.column
    if column is not None and column not in schema.names:
        raise InvalidInput(f"{about}: there is no column '{column}'", hint=did_you_mean(column, schema.names))
    if aggregate.kind in {"count", "count_distinct"}:
        return pa.int64()
    given = schema.field(str(column)).type
    if aggregate.kind in {"min", "max", "last"}:
        if pa.types.is_nested(given):
            raise InvalidInput(f"{about}: '{column}' is {given}, which has no order", hint="choose a plain column")
        return given
    if not (pa.types.is_integer(given) or pa.types.is_floating(given) or pa.types.is_decimal(given)):
        raise InvalidInput(
            f"{about}: '{column}' is {given}, not a number", hint="count it, or take its newest value with Last"
        )
    if aggregate.kind != "sum" or pa.types.is_floating(given):
        return pa.float64()
    return pa.decimal128(38, given.scale) if pa.types.is_decimal(given) else pa.int64()


def output_schema(windows: ResolvedWindows) -> pa.Schema:
    """Columns of a result: keys, `TICK`, features."""
    import pyarrow as pa

    source = windows.source
    keys = [pa.field(key, source.schema.field(key).type) for key in source.primary_keys]
    features = [pa.field(feature.name, feature.type) for feature in windows.features]
    return pa.schema([*keys, pa.field(TICK, pa.timestamp("us", "UTC")), *features])


def described(features: Sequence[tuple[str, Aggregate]]) -> Mapping[str, str]:
    """What each feature is, in a few words: `sum of amount over 90 days, 0:00:00`."""
    return {name: _described(aggregate) for name, aggregate in features}


def _described(aggregate: Aggregate) -> str:
    of = f" of {aggregate.column}" if aggregate.column else ""
    where = f" where {aggregate.where}" if aggregate.where else ""
    days = aggregate.length / timedelta(days=1)
    return f"{aggregate.kind.replace('_', ' ')}{of} over {days:g} days{where}"
