"""Window features in plain Python, slowly: what every engine is measured against."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from statistics import stdev

from millrace.core.clock import utc
from millrace.features.conditions import All, AnyOf, Column, Compare, Condition, IsNull, Like, Not, Operand
from millrace.features.windows import ResolvedWindows, Ticks, WindowFeature

Row = Mapping[str, object]
_MICROSECOND = timedelta(microseconds=1)


def window_rows(rows: Sequence[Row], windows: ResolvedWindows, ticks: Ticks) -> dict[tuple[object, ...], list[object]]:
    """The features, in the order of `windows.features`, by `(*keys, tick)`."""
    found: dict[tuple[object, ...], list[object]] = {}
    longest = timedelta(microseconds=windows.longest_us)
    for number in range(ticks.count):
        tick = ticks.first + ticks.every * number
        by_key: dict[tuple[object, ...], list[tuple[datetime, Row]]] = {}
        for row in rows:
            key, seen = tuple(row[name] for name in windows.source.primary_keys), _seen(row, windows)
            if seen is not None and None not in key and tick - longest < seen <= tick:
                by_key.setdefault(key, []).append((seen, row))
        for key, events in by_key.items():
            found[*key, tick] = [_feature(events, feature, tick) for feature in windows.features]
    return found


def _seen(row: Row, windows: ResolvedWindows) -> datetime | None:
    source = windows.source
    value = row[str(source.timeseries_column)]
    if isinstance(value, datetime):
        return utc(value) + source.available_after
    if isinstance(value, date):
        start = datetime.combine(value, time(), UTC)
        return start + source.available_after + timedelta(days=1 if source.date_stands_for == "end" else 0)
    return None


def _feature(events: Sequence[tuple[datetime, Row]], feature: WindowFeature, tick: datetime) -> object:
    after = tick - feature.length_us * _MICROSECOND
    inside = [(seen, row) for seen, row in events if seen > after]
    counted = [(seen, row) for seen, row in inside if feature.where is None or holds(feature.where, row) is True]
    if feature.column is None:
        return len(counted)
    if feature.kind == "last":
        return _last([(seen, row[feature.column]) for seen, row in counted])
    values = [value for _, row in counted if (value := row[feature.column]) is not None]
    return _aggregate(feature, values)


def _aggregate(feature: WindowFeature, values: Sequence[object]) -> object:
    match feature.kind:
        case "count":
            return len(values)
        case "count_distinct":
            return len({"nan" if value != value else value for value in values})  # noqa: PLR0124 - NaN is one value
        case "min" | "max":
            pick = min if feature.kind == "min" else max
            return pick(values, key=_order) if values else None
        case _:
            return _moment(feature, values)


def _moment(feature: WindowFeature, values: Sequence[object]) -> object:
    numbers = [value for value in values if isinstance(value, int | float | Decimal)]
    least = 2 if feature.kind == "stddev" else 1
    if len(numbers) < least:
        return None
    if feature.kind == "sum":
        return sum(numbers, start=type(numbers[0])(0))
    doubles = [float(number) for number in numbers]
    if not all(map(math.isfinite, doubles)):
        return math.nan if feature.kind == "stddev" else sum(doubles) / len(doubles)
    return stdev(doubles) if feature.kind == "stddev" else math.fsum(doubles) / len(doubles)


def _last(values: Sequence[tuple[datetime, object]]) -> object:
    newest = max((seen for seen, _ in values), default=None)
    there = [value for seen, value in values if seen == newest and value is not None]
    return max(there, key=_order) if there else None


def _order(value: object) -> tuple[bool, object]:
    return (isinstance(value, float) and math.isnan(value), value)


def holds(condition: Condition, row: Row) -> bool | None:
    """Whether a condition is true, false, or null of a row."""
    match condition:
        case Compare(operator, left, right):
            return _compare(operator, _value(left, row), _value(right, row))
        case IsNull(operand):
            return row[operand.name] is None
        case Like(operand, pattern):
            parts = ("." if mark == "_" else ".*" if mark == "%" else re.escape(mark) for mark in pattern)
            text = row[operand.name]
            return None if text is None else re.fullmatch("".join(parts), str(text), re.DOTALL) is not None
        case Not(inner):
            found = holds(inner, row)
            return None if found is None else not found
        case All(parts_):
            return _all([holds(part, row) for part in parts_])
        case AnyOf(parts_):
            opposite = _all([None if (found := holds(part, row)) is None else not found for part in parts_])
            return None if opposite is None else not opposite


def _all(found: Sequence[bool | None]) -> bool | None:
    return False if False in found else None if None in found else True


def _value(operand: Operand, row: Row) -> object:
    return row[operand.name] if isinstance(operand, Column) else operand.value


def _compare(operator: str, left: object, right: object) -> bool | None:
    if left is None or right is None:
        return None
    if isinstance(left, float) or isinstance(right, float):
        left, right = float(left), float(right)  # type: ignore[arg-type]
    a, b = _order(left), _order(right)
    same = (a[0] and b[0]) or left == right
    less = not same and (b[0] or (not a[0] and left < right))  # type: ignore[operator]
    answers = {"=": same, "<>": not same, "<": less, "<=": less or same, ">": not less and not same, ">=": not less}
    return bool(answers[operator])
