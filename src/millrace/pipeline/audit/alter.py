"""Changing the future of a table: its rows after a time removed, or their values moved far and rows invented; the past stays.

All of it is deterministic: the same rows and rule give the same change.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from millrace.core.clock import epoch_us, from_epoch_us
from millrace.pipeline.audit.rules import TableRule, View

Change = Literal["none", "removed", "altered", "whole", "shuffled"]

_DAY_US = 86_400_000_000
_INVENTED = 20_000  # of the newest known rows, at most so many get a successor
_LATER_DAYS = (0, 1, 30)  # when the invented rows happen: the first instant after the cut, soon, and much later
_SHIFT_DAYS = 400
_US = pa.timestamp("us", "UTC")


def changed(rows: pa.Table, rule: TableRule, change: Change, cut: datetime | None) -> pa.Table:
    """The rows after a change.

    Args:
        rows: all rows of a table.
        rule: which of them are of the past, and what stays.
        change: `removed`: what is not known at `cut` is not there; `altered`: it is other, and there is more of it; `whole`:
            every value that does not identify a row is another, for tables without time; `shuffled`: another order.
        cut: needed for `removed` and `altered`.
    """
    if change == "shuffled":
        return rows.take(pa.array(np.random.default_rng(1).permutation(len(rows))))
    if change == "whole":
        return rows if rule.is_timed else _whole(rows, rule)
    if cut is None or change == "none" or not rule.is_timed:
        return rows
    known = known_rows(rows, rule, cut)
    past = _with_open_ends(rows.filter(known), rule, cut, later=change == "altered")
    if change == "removed":
        return past
    fixed = {*rule.keep, *(view.time for view in rule.views)}
    future = _moved(rows.filter(pc.invert(known)), fixed)
    return pa.concat_tables([past, future, *_invented(past, future, rule, cut)])


def known_rows(rows: pa.Table, rule: TableRule, cut: datetime) -> pa.Array:
    """For each row whether it is of the past: some view shows it at `cut`. A row without time is never shown."""
    masks = [
        pc.less_equal(_happened_us(rows.column(view.time), rule), epoch_us(cut - view.delay)) for view in rule.views
    ]
    mask = masks[0]
    for other in masks[1:]:
        mask = pc.or_kleene(mask, other)
    return pc.fill_null(mask, fill_value=False).combine_chunks()


def _happened_us(times: pa.ChunkedArray, rule: TableRule) -> pa.ChunkedArray:
    us = times.cast(pa.timestamp("us")) if pa.types.is_date(times.type) else times
    values = us.cast(pa.timestamp("us", us.type.tz)).cast(pa.int64())
    is_end = pa.types.is_date(times.type) and rule.date_stands_for == "end"
    return pc.add(values, _DAY_US) if is_end else values


def _with_open_ends(rows: pa.Table, rule: TableRule, cut: datetime, *, later: bool) -> pa.Table:
    # That a row will end is of the future too: as of the cut it is open.
    for view in rule.views:
        if view.valid_to is not None:
            rows = _open_end(rows, view, rule, cut, later=later)
    return rows


def _open_end(rows: pa.Table, view: View, rule: TableRule, cut: datetime, *, later: bool) -> pa.Table:
    index = rows.column_names.index(cast("str", view.valid_to))
    ends = rows.column(index)
    unknown = pc.fill_null(pc.greater(_happened_us(ends, rule), epoch_us(cut - view.delay)), fill_value=False)
    other = _shifted(ends) if later else pa.nulls(len(rows), ends.type)
    return rows.set_column(index, rows.schema.field(index), pc.if_else(unknown, other, ends))


def _whole(rows: pa.Table, rule: TableRule) -> pa.Table:
    if set(rows.column_names) <= set(rule.keep):  # nothing but keys: that some are missing is the change
        return rows.take(pa.array(np.arange(0, len(rows), 2)))
    return _moved(rows, set(rule.keep))


def _invented(past: pa.Table, future: pa.Table, rule: TableRule, cut: datetime) -> list[pa.Table]:
    """Rows that never were, for keys that are known: copies of the newest known rows, at later times, with other values."""
    pattern = past if len(past) else future
    if not len(pattern):
        return []
    order = pc.sort_indices(pattern, sort_keys=[(rule.views[0].time, "descending")])
    newest = _one_per_key(pattern.take(order.slice(0, _INVENTED)), rule)
    moved = _moved(newest, {*rule.keep, *(view.time for view in rule.views)})
    return [_at_times(moved, rule, cut, days) for days in _LATER_DAYS]


def _one_per_key(rows: pa.Table, rule: TableRule) -> pa.Table:
    times = {view.time for view in rule.views}
    keys = [name for name in rule.unique if name not in times]
    if not keys:
        return rows
    numbered = rows.select(keys).append_column("__row", pa.array(np.arange(len(rows))))
    first = numbered.group_by(keys).aggregate([("__row", "min")]).column("__row_min")
    return rows.take(first.combine_chunks().sort())


def _at_times(rows: pa.Table, rule: TableRule, cut: datetime, days: int) -> pa.Table:
    # No view may show an invented row at the cut: the one with the shortest delay decides.
    bound = cut - min(view.delay for view in rule.views)
    for view in rule.views:
        index = rows.column_names.index(view.time)
        kind = rows.schema.field(index).type
        when = pa.scalar(_after(bound, kind, rule) + days * _DAY_US, pa.int64())
        value = pa.scalar(from_epoch_us(when.as_py()), _US).cast(pa.timestamp("us"))
        stamped = pa.repeat(value, len(rows)).cast(
            kind if pa.types.is_date(kind) else pa.timestamp("us", kind.tz), safe=False
        )
        rows = rows.set_column(index, rows.schema.field(index), stamped.cast(kind))
    return rows


def _after(bound: datetime, kind: pa.DataType, rule: TableRule) -> int:
    """The first instant, or day, whose row is not known at the bound."""
    if not pa.types.is_date(kind):
        return epoch_us(bound) + 1
    day = epoch_us(bound) // _DAY_US
    return (day if rule.date_stands_for == "end" else day + 1) * _DAY_US


def _moved(rows: pa.Table, fixed: set[str]) -> pa.Table:
    for index, field in enumerate(rows.schema):
        if field.name not in fixed and len(rows):
            rows = rows.set_column(index, field, _other(rows.column(index)))
    return rows


def _other(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """As many values of the same type: those of other rows, moved far where they are numbers or times."""
    kind = values.type
    rolled = values.take(pa.array(np.roll(np.arange(len(values)), len(values) // 2 + 1)))
    if pa.types.is_boolean(kind):
        return pc.invert(values)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _other_text(values, rolled)
    move = next((move for belongs, move in _MOVES if belongs(kind)), None)
    return rolled if move is None else move(rolled)


def _far_floats(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.add(values, pa.scalar(_offset(values), pa.float64()).cast(values.type))


def _offset(values: pa.ChunkedArray) -> float:
    import math

    finite = values.filter(pc.fill_null(pc.is_finite(values), fill_value=False))
    bounds = pc.min_max(finite).as_py()
    if bounds["min"] is None:
        return 7.0
    spread = 3.0 * (float(bounds["max"]) - float(bounds["min"])) + 7.0
    return spread if math.isfinite(spread) else 7.0


def _far_integers(values: pa.ChunkedArray) -> pa.ChunkedArray:
    bounds = pc.min_max(values).as_py()
    if bounds["min"] is None:
        return values
    low, high, kind = bounds["min"], bounds["max"], np.iinfo(values.type.to_pandas_dtype())
    far = 3 * (high - low) + 7
    for by in (far, 1):  # where there is no room for far, near
        if by <= kind.max and high + by <= kind.max:
            return pc.add(values, pa.scalar(by, values.type))
        if by <= kind.max and low - by >= kind.min:
            return pc.subtract(values, pa.scalar(by, values.type))
    return values


def _far_decimals(values: pa.ChunkedArray) -> pa.ChunkedArray:
    from decimal import Decimal

    bounds = pc.min_max(values).as_py()
    if bounds["min"] is None:
        return values
    wide = pa.decimal256(76, max(values.type.scale, 0))
    offset = pa.scalar(3 * (bounds["max"] - bounds["min"]) + Decimal(7), wide)
    try:
        return pc.add(values.cast(pa.decimal256(75, wide.scale)), offset.cast(pa.decimal256(75, wide.scale))).cast(
            values.type
        )
    except pa.ArrowInvalid:  # more digits than the column has
        return pc.negate(values)


def _shifted(values: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_date(values.type):
        days = values.cast(pa.date32()).cast(pa.int32())
        return pc.add(days, pa.scalar(_SHIFT_DAYS, pa.int32())).cast(pa.date32()).cast(values.type)
    return pc.add(values, pa.scalar(timedelta(days=_SHIFT_DAYS), pa.duration(values.type.unit)))


def _other_text(values: pa.ChunkedArray, rolled: pa.ChunkedArray) -> pa.ChunkedArray:
    text = rolled.cast(pa.large_string())
    same = pc.fill_null(pc.equal(text, values.cast(pa.large_string())), fill_value=False)
    marked = pc.binary_join_element_wise(text, pa.scalar("~", pa.large_string()), pa.scalar("", pa.large_string()))
    return pc.if_else(same, marked, text).cast(values.type)


_MOVES: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.ChunkedArray], pa.ChunkedArray]], ...] = (
    (pa.types.is_integer, _far_integers),
    (pa.types.is_floating, _far_floats),
    (pa.types.is_decimal, _far_decimals),
    (pa.types.is_timestamp, _shifted),
    (pa.types.is_date, _shifted),
)
